//! The flows that both sides remember, in one form: state that differs is a verdict that will differ.

use netpol_ebpf::policy::judge::{Conntrack, Flow, FlowState};
use netpol_ebpf::policy::model::Hook;
use netpol_probes::abi;

/// What decides about later packets, without the key. Generation, epoch of the dynamic sets, state, opener, flags and code of the opening packet; TCP: last
/// acknowledgements, FINs, and what was sent by whoever has said either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remembered {
    generation: u32,
    epoch: u32,
    state: u32,
    opener: u32,
    tcp_flags: u8,
    icmp_code: u8,
    acks: [Option<u32>; 2],
    sent: [Option<u32>; 2],
    fins: [bool; 2],
}

impl Remembered {
    fn by(self, generation: bool) -> Remembered {
        if generation { self } else { Remembered { generation: 0, epoch: 0, ..self } }
    }
}

/// All flows of the judge, sorted. `by_generation`: which generation judged them last counts. Where room is scarce it may differ: a packet
/// that finds none for its flow is refused, and whether its flow has been judged again by then makes no difference.
pub fn of_judge(conntrack: &Conntrack, by_generation: bool) -> Vec<Remembered> {
    let all = conntrack.connections().chain(conntrack.half_open());
    let mut flows: Vec<Remembered> = all.map(|(_, flow)| of_flow(flow).by(by_generation)).collect();
    flows.sort_unstable();
    flows
}

fn of_flow(flow: &Flow) -> Remembered {
    let state = match flow.state {
        FlowState::New => abi::NP_FLOW_NEW,
        FlowState::Answered => abi::NP_FLOW_ANSWERED,
        FlowState::Established => abi::NP_FLOW_ESTABLISHED,
        FlowState::Closing => abi::NP_FLOW_CLOSING,
        FlowState::Closed => abi::NP_FLOW_CLOSED,
    };
    let opener = if flow.opener == Hook::Ingress { abi::NP_HOOK_INGRESS } else { abi::NP_HOOK_EGRESS };
    let Flow { generation, epoch, tcp_flags, icmp_code, acks, .. } = *flow;
    let sent = [0, 1].map(|of| flow.sent[of].filter(|_| acks[of].is_some() || flow.fins[of].is_some()));
    Remembered { generation, epoch, state, opener, tcp_flags, icmp_code, acks, sent, fins: flow.fins.map(|fin| fin.is_some()) }
}

/// All flows of the kernel, sorted.
pub fn of_kernel(flows: &[(abi::np_flow_key, abi::np_flow)], by_generation: bool) -> Vec<Remembered> {
    let side = |bits: u8, side: usize, number: [u32; 2]| (bits >> side & 1 != 0).then_some(number[side]);
    let one = |(_, flow): &(abi::np_flow_key, abi::np_flow)| Remembered {
        generation: flow.generation,
        epoch: flow.epoch,
        state: u32::from(flow.state),
        opener: u32::from(flow.opener),
        tcp_flags: flow.tcp_flags,
        icmp_code: flow.icmp_code,
        acks: [0, 1].map(|of| side(flow.acks, of, flow.ack)),
        sent: [0, 1].map(|of| side(flow.acks | flow.fins, of, flow.sent)),
        fins: [0, 1].map(|of| flow.fins >> of & 1 != 0),
    };
    let mut flows: Vec<Remembered> = flows.iter().map(|flow| one(flow).by(by_generation)).collect();
    flows.sort_unstable();
    flows
}

/// An error names the flows that only one side has.
pub fn compare(judge: &[Remembered], kernel: &[Remembered]) -> Result<(), String> {
    if judge == kernel {
        return Ok(());
    }
    let lacks = |these: &[Remembered], those: &[Remembered]| -> Vec<String> {
        let mut rest = those.to_vec();
        let missing = |flow: &&Remembered| rest.iter().position(|other| other == *flow).map(|at| rest.swap_remove(at)).is_none();
        these.iter().filter(missing).map(|flow| format!("{flow:?}")).collect()
    };
    let text = |flows: Vec<String>| flows.iter().map(|flow| format!("  {flow}\n")).collect::<String>();
    Err(format!("flows only of the judge:\n{}flows only of the programs:\n{}", text(lacks(judge, kernel)), text(lacks(kernel, judge))))
}
