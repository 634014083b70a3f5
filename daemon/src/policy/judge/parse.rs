//! Stage 1: bytes of a frame to a packet, or a refusal.
use super::{DeviceKind, Packet};
use crate::policy::model::Hook;

/// A frame as a program finds it.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Where it is seen.
    pub hook: Hook,
    /// What `bytes` begins with.
    pub device: DeviceKind,
    /// The frame.
    pub bytes: &'a [u8],
    /// The outermost tag's TCI where the kernel has taken it out of the bytes into skb metadata.
    pub metadata_tag: Option<u16>,
    /// A GSO packet: IP length 0 means "as long as the skb".
    pub gso: bool,
}

/// Reads a frame. The packet says in `refusal` what is wrong with it.
pub fn parse(frame: &Frame<'_>) -> Packet {
    Packet { hook: frame.hook, tags: [0, 0], ethertype: 0, length: frame.bytes.len() as u32, refusal: None, ip: None }
}
