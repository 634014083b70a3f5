//! Questions to the kernel over netlink, answered at once: a dump of many messages, or one message.
//!
//! Knows headers and attributes, read byte by byte, so that a kernel with attributes of another shape is read as well. Knows no
//! interface, route or socket: what the messages mean is said where they are asked for.

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr};

use super::error::{Error, Result};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_DUMP_INTR`: things changed while they were told.
const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const ATTRIBUTE_FLAGS: u16 = 0xc000;
/// Bytes of one read: the kernel makes no longer datagrams in a dump.
const DATAGRAM: usize = 1 << 16;
/// Tries before a list that keeps changing is an error.
const ATTEMPTS: usize = 16;

/// A connection to one protocol of netlink.
pub struct Netlink {
    socket: Socket,
    what: &'static str,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    /// Connects. `what` names the protocol in errors.
    pub fn open(protocol: isize, what: &'static str) -> Result<Netlink> {
        let failed = |source| Error::System { what: format!("{what}: socket"), source };
        let mut socket = Socket::new(protocol).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        Ok(Netlink { socket, what, buffer: Vec::with_capacity(DATAGRAM), sequence: 0 })
    }

    /// Everything of a kind, at one moment: a dump that a change has interrupted is asked for again.
    /// `parse` gives what one message (type, body) tells; `None` is left out.
    pub fn dump<T>(&mut self, kind: u16, body: &[u8], name: &str, parse: impl Fn(u16, &[u8]) -> Option<T>) -> Result<Vec<T>> {
        for _ in 0..ATTEMPTS {
            let mut found = Vec::new();
            let whole = self.ask(kind, NLM_F_REQUEST | NLM_F_DUMP, body, &mut |kind, body| found.extend(parse(kind, body)));
            if whole.map_err(|source| self.failed(name, source))? {
                return Ok(found);
            }
        }
        Err(Error::Inconsistent(format!("{}: the {name} change faster than they can be listed", self.what)))
    }

    /// The one message that answers a question.
    pub fn get<T>(&mut self, kind: u16, body: &[u8], name: &str, parse: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>> {
        let mut found = None;
        let answered = self.ask(kind, NLM_F_REQUEST, body, &mut |_kind, body| found = parse(body));
        answered.map_err(|source| self.failed(name, source))?;
        Ok(found)
    }

    fn failed(&self, name: &str, source: io::Error) -> Error {
        Error::System { what: format!("{}: ask for the {name}", self.what), source }
    }

    /// Sends a request and reads its answer to the end; `false` = it was interrupted by a change.
    fn ask(&mut self, kind: u16, flags: u16, body: &[u8], each: &mut dyn FnMut(u16, &[u8])) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request(kind, flags, self.sequence, body), 0)?;
        let many = flags & NLM_F_DUMP != 0;
        let mut whole = true;
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Ok(length) if length > self.buffer.len() => return Err(io::Error::other("a message is longer than any should be")),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            for message in messages(&self.buffer) {
                // What was left of a request that ended early.
                if message.sequence != self.sequence {
                    continue;
                }
                whole &= message.flags & DUMP_INTERRUPTED == 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => return code(message.body).map(|()| whole),
                    kind => each(kind, message.body),
                }
                if !many {
                    return Ok(true);
                }
            }
        }
    }
}

/// The number that ends a dump, or an error: 0, or a negative errno.
fn code(body: &[u8]) -> io::Result<()> {
    match u32_at(body, 0).map(|number| number as i32) {
        None | Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number.wrapping_abs())),
    }
}

/// `struct nlmsghdr` and what follows it.
fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + body.len());
    bytes.extend((16 + body.len() as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

/// Appends an attribute.
pub fn push_attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Two bytes in the machine's order.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Four bytes in the machine's order.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// One message of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is about.
    pub kind: u16,
    flags: u16,
    sequence: u32,
    /// What follows its header.
    pub body: &'a [u8],
    after: &'a [u8],
}

/// The messages of a datagram, up to the first that is cut.
pub fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let found = message(datagram)?;
        datagram = found.after;
        Some(found)
    })
}

/// The first message of a datagram.
fn message(bytes: &[u8]) -> Option<Message<'_>> {
    let length = u32_at(bytes, 0)? as usize;
    let body = bytes.get(16..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some(Message { kind: u16_at(bytes, 4)?, flags: u16_at(bytes, 6)?, sequence: u32_at(bytes, 8)?, body, after })
}

/// The attributes that stand in `bytes`: (type, value).
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16_at(bytes, 0)? as usize;
        let found = (u16_at(bytes, 2)? & !ATTRIBUTE_FLAGS, bytes.get(4..length)?);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_messages_are_not_read_beyond_their_end() {
        assert_eq!(message(&[16, 0, 0]), None);
        assert_eq!(message(&[200, 0, 0, 0, 3, 0, 0, 0]), None);
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[9, 0, 1, 0, 1]).count(), 0);
    }

    #[test]
    fn pushed_attributes_are_read_again() {
        let mut bytes = Vec::new();
        push_attribute(&mut bytes, 3, b"eth0\0");
        push_attribute(&mut bytes, 0x8001, &7u32.to_ne_bytes());
        assert_eq!(attributes(&bytes).collect::<Vec<_>>(), [(3, b"eth0\0".as_slice()), (1, &7u32.to_ne_bytes())]);
    }

    #[test]
    fn refusals_carry_their_errno() {
        assert!(code(&0u32.to_ne_bytes()).is_ok());
        assert_eq!(code(&(-libc::EOPNOTSUPP).to_ne_bytes()).unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
    }
}
