//! `[[test]]`: a packet, what comes before it, and the verdict that is wanted.

use super::{Direction, Origin, Vlan};

/// `[[test]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TestCase {
    /// Shown when it fails.
    pub name: String,
    /// Where it was defined.
    pub origin: Origin,
    /// Interface name; need not exist.
    pub interface: String,
    /// Direction of `packet`, seen from the protected thing.
    pub direction: Direction,
    /// The packet to judge.
    pub packet: TestPacket,
    /// Packets that come first and make state.
    pub after: Vec<TestPacket>,
    /// The verdict that is wanted.
    pub expect: Expect,
    /// Id of the rule that must decide.
    pub rule: Option<String>,
}

/// `expect` of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Expect {
    Allow,
    Deny,
    Reject,
}

/// `packet` of a test.
#[derive(Debug, Clone, PartialEq)]
pub struct TestPacket {
    /// Where it stands.
    pub origin: Origin,
    /// IP protocol number.
    pub protocol: u8,
    /// Sender; the port is 0 for protocols without ports.
    pub source: std::net::SocketAddr,
    /// Receiver.
    pub destination: std::net::SocketAddr,
    /// ICMP type and code (code 0 where unstated).
    pub icmp: Option<(u8, u8)>,
    /// TCP flag byte, exactly these; SYN where unstated.
    pub tcp_flags: u8,
    /// Tags.
    pub vlan: Option<Vlan>,
}
