//! The life of a TCP connection, as far as a firewall follows it.
//!
//! Knows flags and sequence numbers. Knows no table and no rule.

use super::super::packet::{ACK, FIN, RST, SYN, Tcp};
use super::flow::{Flow, FlowState};

/// What a window holds without scaling: so much may have been sent and not acknowledged.
const WINDOW: u32 = 1 << 16;

/// SYN without ACK, RST and FIN: the only segment that may open a connection.
pub(super) fn opens(flags: u8) -> bool {
    flags & (SYN | ACK | RST | FIN) == SYN
}

/// The second segment of a handshake. With RST it is a reset, as the receiver takes it (RFC 9293, 3.10.7).
pub(super) fn is_syn_ack(flags: u8) -> bool {
    flags & (SYN | ACK | RST) == SYN | ACK
}

/// Whether a segment in mid-stream may begin a flow, where that is allowed at all: a RST ends something, and a SYN-ACK answers.
pub(super) fn may_begin(flags: u8) -> bool {
    flags & RST == 0 && !is_syn_ack(flags)
}

/// Whether a SYN-ACK may answer the flow: it comes from the other side and, in a new flow, acknowledges the SYN.
pub(super) fn may_answer(flow: &Flow, tcp: &Tcp, forward: bool) -> bool {
    !forward && (flow.state != FlowState::New || tcp.acknowledgement == flow.isn.wrapping_add(1))
}

/// The state that a segment leads to; the flow's numbers are noted on the way. Segments that count for nothing change nothing.
pub(super) fn advance(flow: &mut Flow, tcp: &Tcp, forward: bool) -> FlowState {
    let (side, other) = if forward { (0, 1) } else { (1, 0) };
    if tcp.flags & RST != 0 {
        return after_reset(flow, tcp, side, other);
    }
    if is_syn_ack(tcp.flags) {
        let early = matches!(flow.state, FlowState::New | FlowState::Answered);
        if early {
            flow.syn_ack_end = Some(tcp.sequence.wrapping_add(1));
            note_sent(flow, tcp, side);
            flow.acks[side] = Some(tcp.acknowledgement);
        }
        return if early { FlowState::Answered } else { flow.state };
    }
    let goes_on = ends_handshake(flow, tcp, forward) || is_doubtful(flow);
    let reached = if goes_on { FlowState::Established } else { flow.state };
    note_sent(flow, tcp, side);
    if tcp.flags & ACK != 0 {
        flow.acks[side] = Some(tcp.acknowledgement);
        flow.fins_acknowledged[other] |= flow.fins[other] == Some(tcp.acknowledgement);
    }
    match (reached, flow.fins_acknowledged) {
        (FlowState::Established | FlowState::Closing, [true, true]) => FlowState::Closed,
        (FlowState::Established, [true, false] | [false, true]) => FlowState::Closing,
        (state, _) => state,
    }
}

/// Notes the end of a segment, unless a FIN has ended what this side sends.
fn note_sent(flow: &mut Flow, tcp: &Tcp, side: usize) {
    let end = Some(tcp.sequence.wrapping_add(tcp.sequence_length));
    if tcp.flags & FIN != 0 {
        flow.fins[side] = end;
    }
    flow.sent[side] = flow.fins[side].or(end);
}

/// Where a RST leads to. It ends the flow only exactly in sequence: at what the other side has acknowledged last, and near what its own
/// side has sent. One that is not far beyond, and that acknowledges all or nearly all that the other side has sent (a keepalive probe
/// says one less), may follow data which is still on its way: it ends the flow if neither side goes on.
fn after_reset(flow: &Flow, tcp: &Tcp, side: usize, other: usize) -> FlowState {
    let Some(awaited) = flow.acks[other] else { return flow.state };
    let own = flow.acks[side].and(flow.sent[side]);
    let continues = own.is_none_or(|own| tcp.sequence.wrapping_sub(own).wrapping_add(WINDOW) < 2 * WINDOW);
    let within = |sent: u32| sent.wrapping_add(1).wrapping_sub(tcp.acknowledgement) < WINDOW;
    let knows = tcp.flags & ACK != 0 && flow.sent[other].is_some_and(within);
    match (tcp.sequence.wrapping_sub(awaited), flow.state) {
        (0, _) if continues => FlowState::Closed,
        (ahead @ 1.., FlowState::Established) if knows && ahead < WINDOW => FlowState::Closing,
        (_, state) => state,
    }
}

/// Whether a RST may have ended the flow, and nobody has gone on since.
fn is_doubtful(flow: &Flow) -> bool {
    flow.state == FlowState::Closing && flow.fins_acknowledged == [false, false]
}

/// Whether the flow is a connection with this segment: the opener acknowledges the SYN-ACK; or, where a segment in mid-stream began the
/// flow, the other side acknowledges anything. The opener's first acknowledgement may be lost and a later one, that covers data as well,
/// take its place, but no more than a window is sent to a peer that has acknowledged nothing.
pub(super) fn ends_handshake(flow: &Flow, tcp: &Tcp, forward: bool) -> bool {
    let covers = |end: u32| tcp.acknowledgement.wrapping_sub(end) < WINDOW;
    let acknowledges = tcp.flags & (ACK | RST) == ACK && !is_syn_ack(tcp.flags);
    match flow.state {
        FlowState::New => !forward && acknowledges && !opens(flow.tcp_flags),
        FlowState::Answered => forward && acknowledges && flow.syn_ack_end.is_some_and(covers),
        _ => false,
    }
}
