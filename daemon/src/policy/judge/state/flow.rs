//! Flows and their keys.
//!
//! Knows what is remembered of a connection and which packets share a key. Knows neither rules nor capacities.

use std::net::IpAddr;

use super::super::packet::{ICMP, ICMPV6, Icmp, IpPacket, L4, Packet, Quote, QuotedL4, SCTP, Sender, TCP, Tcp, UDP, UDPLITE, family_of};
use super::icmp::{self, Kind};
use crate::policy::model::{self, Family, Hook, has_ports};

/// SCTP chunk type INIT (RFC 9260).
pub(super) const SCTP_INIT: u8 = 1;

/// What both directions of a connection have in common, seen from the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowKey {
    ifindex: u32,
    tags: [u16; 2],
    protocol: u16,
    /// ICMP only: the hook of the request.
    opener: Option<Hook>,
    /// Beyond the wire: source of arriving, destination of leaving packets.
    remote: IpAddr,
    local: IpAddr,
    /// ICMP: the identifier.
    remote_port: u16,
    /// ICMP: the type of the request.
    local_port: u16,
}

impl FlowKey {
    /// The key of a packet; `None` for ICMP messages that open and answer nothing, and without an IP header.
    pub(in super::super) fn of(ifindex: u32, packet: &Packet) -> Option<FlowKey> {
        let ip = packet.ip.as_ref()?;
        let (opener, ports) = match &ip.l4 {
            L4::Icmp(message) => {
                let request = request(ip.family(), message.icmp_type, packet.hook)?;
                (Some(request.0), (message.identifier, request.1))
            }
            _ => (None, ip.ports().unwrap_or_default()),
        };
        let seen = Seen { ifindex, tags: packet.tags, hook: packet.hook, protocol: ip.protocol };
        Some(seen.key(opener, ip.source, ip.destination, ports))
    }

    /// The key of a quoted packet, as it passed the hook opposite to the error's.
    pub(super) fn of_quote(ifindex: u32, error: &Packet, quote: &Quote) -> Option<FlowKey> {
        let hook = error.hook.opposite();
        let (opener, ports) = match quote.l4 {
            QuotedL4::None => (None, (0, 0)),
            QuotedL4::Ports { source, destination } => (None, (source, destination)),
            QuotedL4::Icmp { icmp_type, identifier } => {
                let request = request(family_of(quote.source), icmp_type, hook)?;
                (Some(request.0), (identifier, request.1))
            }
        };
        let seen = Seen { ifindex, tags: error.tags, hook, protocol: u16::from(quote.protocol) };
        Some(seen.key(opener, quote.source, quote.destination, ports))
    }

    /// The packet that opened a flow, as far as it is remembered.
    pub(super) fn opening_packet(&self, flow: &Flow) -> Packet {
        let turn = flow.opener == Hook::Egress;
        let swap = |remote, local| if turn { (local, remote) } else { (remote, local) };
        let (source, destination) = if turn { (self.local, self.remote) } else { (self.remote, self.local) };
        let (source_port, destination_port) = swap(self.remote_port, self.local_port);
        let l4 = match self.protocol {
            TCP => L4::Tcp(Tcp { source_port, destination_port, flags: flow.tcp_flags, sequence: flow.isn, ..Tcp::default() }),
            SCTP => L4::Sctp { source: source_port, destination: destination_port, first_chunk: Some(SCTP_INIT) },
            ICMP | ICMPV6 if self.opener.is_some() => L4::Icmp(Icmp {
                icmp_type: u8::try_from(self.local_port).unwrap_or_default(),
                code: flow.icmp_code,
                identifier: self.remote_port,
                quoted: None,
            }),
            protocol if u8::try_from(protocol).is_ok_and(has_ports) => L4::Ports { source: source_port, destination: destination_port },
            _ => L4::None,
        };
        let ip = IpPacket { source, destination, protocol: self.protocol, hop_limit: 64, fragment: None, l4 };
        Packet { hook: flow.opener, tags: self.tags, ethertype: 0, length: 0, sender: Sender::default(), refusal: None, ip: Some(ip) }
    }

    /// How long a flow of this key lives without packets, in nanoseconds.
    pub(super) fn timeout(&self, flow: &Flow, settings: &model::Conntrack) -> u64 {
        let seconds = match (self.protocol, flow.state) {
            (TCP, FlowState::New | FlowState::Answered) => settings.tcp_syn,
            (TCP, FlowState::Established) => settings.tcp_established,
            (TCP, FlowState::Closing | FlowState::Closed) => settings.tcp_fin,
            (UDP | UDPLITE, FlowState::New) => settings.udp,
            (UDP | UDPLITE, _) => settings.udp_stream,
            (ICMP | ICMPV6, _) if self.opener.is_some() => settings.icmp,
            _ => settings.generic,
        };
        seconds.saturating_mul(1_000_000_000)
    }
}

/// Hook and type of the request that an echo-like message is or answers.
fn request(family: Family, icmp_type: u8, hook: Hook) -> Option<(Hook, u16)> {
    match icmp::kind(family, icmp_type) {
        Kind::Request => Some((hook, u16::from(icmp_type))),
        Kind::Answer(request) => Some((hook.opposite(), u16::from(request))),
        Kind::Error | Kind::Redirect | Kind::Other => None,
    }
}

/// Where a packet passed.
struct Seen {
    ifindex: u32,
    tags: [u16; 2],
    hook: Hook,
    protocol: u16,
}

impl Seen {
    /// ICMP numbers do not change sides; ports do.
    fn key(self, opener: Option<Hook>, source: IpAddr, destination: IpAddr, ports: (u16, u16)) -> FlowKey {
        let leaving = self.hook == Hook::Egress;
        let (remote, local) = if leaving { (destination, source) } else { (source, destination) };
        let (remote_port, local_port) = if leaving && opener.is_none() { (ports.1, ports.0) } else { ports };
        let Seen { ifindex, tags, protocol, .. } = self;
        FlowKey { ifindex, tags, protocol, opener, remote, local, remote_port, local_port }
    }
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowState {
    /// Opened, not answered.
    New,
    /// TCP: SYN-ACK seen; others: established.
    Answered,
    /// TCP: the opener has acknowledged the SYN-ACK.
    Established,
    /// TCP: one side's FIN is acknowledged; or a RST was nearly in sequence, and neither side has gone on since.
    Closing,
    /// TCP: both are, or a RST in sequence.
    Closed,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Time of the last packet, ns.
    pub seen: u64,
    /// Generation that judged it last.
    pub generation: u32,
    /// The table's `set_epoch` at that time.
    pub epoch: u32,
    /// Until when (ns) what allowed it holds; `None` = for ever.
    pub expires: Option<u64>,
    /// How far it has come.
    pub state: FlowState,
    /// Hook of the opening packet.
    pub opener: Hook,
    /// Flags of the opening packet.
    pub tcp_flags: u8,
    /// ICMP code of the opening packet.
    pub icmp_code: u8,
    /// TCP: sequence number of the opening SYN.
    pub isn: u32,
    /// TCP: what acknowledges the SYN-ACK.
    pub syn_ack_end: Option<u32>,
    /// TCP: last acknowledgement number that the opener (0) and the answerer (1) sent.
    pub acks: [Option<u32>; 2],
    /// TCP: sequence number after what each side sent last; once it has sent a FIN, after that.
    pub sent: [Option<u32>; 2],
    /// TCP: sequence number after the FIN of each side.
    pub fins: [Option<u32>; 2],
    /// TCP: that FIN has been acknowledged.
    pub fins_acknowledged: [bool; 2],
}

/// When a flow was judged, and how long that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) generation: u32,
    pub(super) epoch: u32,
    pub(super) expires: Option<u64>,
}

impl Flow {
    /// Notes that the flow was judged again.
    pub(super) fn stamp(&mut self, stamp: Stamp) {
        let Stamp { generation, epoch, expires } = stamp;
        (self.generation, self.epoch, self.expires) = (generation, epoch, expires);
    }

    /// A flow that a packet opens.
    pub(super) fn opened_by(packet: &Packet, state: FlowState, now: u64, stamp: Stamp) -> Flow {
        let l4 = packet.ip.as_ref().map(|ip| &ip.l4);
        let (tcp_flags, isn) = if let Some(L4::Tcp(tcp)) = l4 { (tcp.flags, tcp.sequence) } else { (0, 0) };
        let icmp_code = if let Some(L4::Icmp(message)) = l4 { message.code } else { 0 };
        Flow {
            seen: now,
            generation: stamp.generation,
            epoch: stamp.epoch,
            expires: stamp.expires,
            state,
            opener: packet.hook,
            tcp_flags,
            icmp_code,
            isn,
            syn_ack_end: None,
            acks: [None; 2],
            sent: [None; 2],
            fins: [None; 2],
            fins_acknowledged: [false; 2],
        }
    }
}
