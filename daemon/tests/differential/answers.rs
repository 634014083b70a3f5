//! Whether a rejected packet is answered, as ARCHITECTURE.md says under `reject`: a second opinion beside the programs. The programs
//! answer only so often; frames that are to be answered are held back to that pace.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netpol_ebpf::policy::judge::{ICMP, ICMPV6, L4, Packet, RST};
use netpol_ebpf::policy::model::Hook;
use netpol_probes::abi;

/// Requests of ICMP and ICMPv6.
const REQUESTS: [(u16, bool, &[u8]); 2] = [(ICMP, true, &[8, 13, 15, 17]), (ICMPV6, false, &[128, 139])];

/// Whether the sender may be told. `own`: the device's MAC address, where what arrives for others is none of our business.
pub fn is_answered(packet: &Packet, frame: &[u8], own: Option<[u8; 6]>) -> bool {
    let Some(ip) = &packet.ip else { return false };
    let for_group = frame[0] & 1 != 0 || frame[6] & 1 != 0;
    let for_others = packet.hook == Hook::Ingress && own.is_some_and(|own| frame[..6] != own);
    let is_one = |address: IpAddr| {
        let broadcast = address == IpAddr::from([255; 4]);
        !(address.is_multicast() || address.is_unspecified() || broadcast)
    };
    let asks = match &ip.l4 {
        L4::Tcp(segment) => segment.flags & RST == 0,
        L4::Icmp(message) => REQUESTS
            .iter()
            .any(|(protocol, v4, types)| *protocol == ip.protocol && *v4 == ip.source.is_ipv4() && types.contains(&message.icmp_type)),
        _ => ip.protocol != ICMP && ip.protocol != ICMPV6,
    };
    asks && ip.fragment.is_none() && !ip.source.is_unspecified() && is_one(ip.destination) && !for_group && !for_others
}

/// Answers come no faster than one CPU gives them.
#[derive(Default)]
pub struct Pace {
    /// When all answers so far are paid for.
    paid: Option<Instant>,
}

impl Pace {
    /// Until one more answer is surely given. Half of what the programs allow, in rate and at once: their clock moves in ticks.
    pub fn wait(&mut self) {
        let (cost, burst) = (Duration::from_secs(2) / abi::NP_ANSWERS_PER_SECOND, Duration::from_millis(100));
        let now = Instant::now();
        let paid = self.paid.map_or(now, |paid| paid.max(now)) + cost;
        sleep(paid.saturating_duration_since(now + burst));
        self.paid = Some(paid);
    }
}
