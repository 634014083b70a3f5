//! Whether a rejected packet is answered, as ARCHITECTURE.md says under `reject`: a second opinion beside the programs.

use std::net::IpAddr;

use netpol_ebpf::policy::judge::{ICMP, ICMPV6, L4, Packet, RST};
use netpol_ebpf::policy::model::Hook;

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
