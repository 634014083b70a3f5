//! Frames byte by byte: Ethernet, tags, IPv4 with options, IPv6 with extension headers, fragments, and every lie about lengths.
//!
//! A [`Packet`] is right by default; each method changes one thing. Frames go to a MAC address that no one has, so the
//! receiving stack never answers: only the firewall's verdict is seen. [`Packet::to_mac`] changes that.

use std::net::IpAddr;

/// MAC address of nobody.
pub const STRANGER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];
/// MAC address that frames come from.
pub const SENDER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x98];

/// A frame in the making.
#[derive(Debug, Clone)]
pub struct Packet {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    body: Vec<u8>,
    mac: [u8; 6],
    sender: [u8; 6],
    tags: Vec<(u16, u16)>,
    ethertype: u16,
    ttl: u8,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    fragment: Option<(u32, u16, bool)>,
    length: Option<u16>,
    version: Option<u8>,
    ihl: Option<u8>,
    cut: Option<usize>,
    raw: Option<Vec<u8>>,
    padding: usize,
}

impl Packet {
    /// An IP packet with the given protocol and everything that follows the IP header.
    pub fn ip(source: IpAddr, destination: IpAddr, protocol: u8, body: &[u8]) -> Packet {
        let ethertype = if source.is_ipv4() { 0x0800 } else { 0x86dd };
        assert_eq!(source.is_ipv4(), destination.is_ipv4(), "one family in one packet");
        Packet {
            source,
            destination,
            protocol,
            body: body.to_vec(),
            mac: STRANGER,
            sender: SENDER,
            tags: Vec::new(),
            ethertype,
            ttl: 64,
            options: Vec::new(),
            extensions: Vec::new(),
            fragment: None,
            length: None,
            version: None,
            ihl: None,
            cut: None,
            raw: None,
            padding: 0,
        }
    }

    /// A frame of any EtherType (or, below 0x600, an 802.3 length) with that content.
    pub fn other(ethertype: u16, content: &[u8]) -> Packet {
        let nobody = IpAddr::from([0, 0, 0, 0]);
        let mut packet = Packet::ip(nobody, nobody, 0, &[]);
        packet.raw = Some(content.to_vec());
        packet.ethertype = ethertype;
        packet
    }

    /// Destination MAC address.
    pub fn to_mac(mut self, mac: [u8; 6]) -> Packet {
        self.mac = mac;
        self
    }

    /// Source MAC address.
    pub fn from_mac(mut self, mac: [u8; 6]) -> Packet {
        self.sender = mac;
        self
    }

    /// The source MAC address.
    pub fn sender(&self) -> [u8; 6] {
        self.sender
    }

    /// A tag, outermost first: TPID and VID.
    pub fn tag(mut self, tpid: u16, vid: u16) -> Packet {
        self.tags.push((tpid, vid));
        self
    }

    /// 802.1Q tag.
    pub fn vlan(self, vid: u16) -> Packet {
        self.tag(0x8100, vid)
    }

    /// The EtherType, whatever is inside.
    pub fn ethertype(mut self, ethertype: u16) -> Packet {
        self.ethertype = ethertype;
        self
    }

    /// TTL or hop limit.
    pub fn ttl(mut self, ttl: u8) -> Packet {
        self.ttl = ttl;
        self
    }

    /// IPv4 options; the length must be a multiple of 4.
    pub fn options(mut self, options: &[u8]) -> Packet {
        self.options = options.to_vec();
        self
    }

    /// An IPv6 extension header; byte 0 of `content` (next header) is filled in.
    pub fn extension(mut self, header: u8, content: &[u8]) -> Packet {
        self.extensions.push((header, content.to_vec()));
        self
    }

    /// Makes it a fragment: identification, offset in bytes, more to come. The body stays as it is.
    pub fn fragment(mut self, id: u32, offset: u16, more: bool) -> Packet {
        assert_eq!(offset % 8, 0, "fragment offsets count in units of 8 bytes");
        self.fragment = Some((id, offset, more));
        self
    }

    /// The fragment of this packet that holds those bytes of its body.
    pub fn piece(&self, id: u32, from: usize, to: usize) -> Packet {
        let mut piece = self.clone();
        piece.body = self.body[from..to.min(self.body.len())].to_vec();
        piece.fragment(id, from as u16, to < self.body.len())
    }

    /// IPv4 total length or IPv6 payload length, true or not.
    pub fn length(mut self, length: u16) -> Packet {
        self.length = Some(length);
        self
    }

    /// IP version in the header.
    pub fn version(mut self, version: u8) -> Packet {
        self.version = Some(version);
        self
    }

    /// IPv4 header length in words, true or not.
    pub fn ihl(mut self, ihl: u8) -> Packet {
        self.ihl = Some(ihl);
        self
    }

    /// Cuts the frame after so many bytes of L3 (headers that speak of more stay as they are).
    pub fn cut(mut self, bytes: usize) -> Packet {
        self.cut = Some(bytes);
        self
    }

    /// Bytes behind the end of the IP packet, as short Ethernet frames have them.
    pub fn padding(mut self, bytes: usize) -> Packet {
        self.padding = bytes;
        self
    }

    /// Changes bytes of what follows the IP header.
    pub fn edit(mut self, change: impl FnOnce(&mut Vec<u8>)) -> Packet {
        change(&mut self.body);
        self
    }

    /// What follows the IP header.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The EtherTypes under which a receiver may see it.
    pub fn protocol_on_wire(&self) -> u16 {
        if self.ethertype < 0x600 { 0x0004 } else { self.ethertype }
    }

    /// Everything from the IP header on.
    pub fn l3(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut bytes = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.ipv4(source.octets(), destination.octets()),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.ipv6(source.octets(), destination.octets()),
            _ => unreachable!("checked when the packet was made"),
        };
        bytes.resize(bytes.len() + self.padding, 0xee);
        bytes.truncate(self.cut.unwrap_or(bytes.len()));
        bytes
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = [self.mac, self.sender].concat();
        for (tpid, vid) in &self.tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend(vid.to_be_bytes());
        }
        frame.extend(self.ethertype.to_be_bytes());
        frame.extend(self.l3());
        frame
    }

    fn ipv4(&self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let words = self.ihl.unwrap_or(5 + (self.options.len() / 4) as u8);
        let length = self.length.unwrap_or((20 + self.options.len() + self.body.len()) as u16);
        let (id, offset, more) = self.fragment.unwrap_or((0, 0, false));
        let fragment = (offset / 8) | if more { 0x2000 } else { 0 };
        let mut header = vec![(self.version.unwrap_or(4) << 4) | words, 0];
        header.extend(length.to_be_bytes());
        header.extend((id as u16).to_be_bytes());
        header.extend(fragment.to_be_bytes());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(source);
        header.extend(destination);
        header.extend(&self.options);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header.extend(&self.body);
        header
    }

    fn ipv6(&self, source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
        let mut chain = self.extensions.clone();
        if let Some((id, offset, more)) = self.fragment {
            let mut content = vec![0, 0];
            content.extend((offset | u16::from(more)).to_be_bytes());
            content.extend(id.to_be_bytes());
            chain.push((44, content));
        }
        let mut types: Vec<u8> = chain.iter().map(|(header, _)| *header).collect();
        types.push(self.protocol);
        let mut payload = Vec::new();
        for (i, (_, content)) in chain.iter().enumerate() {
            payload.push(types[i + 1]);
            payload.extend(&content[1..]);
        }
        payload.extend(&self.body);
        let mut bytes = vec![self.version.unwrap_or(6) << 4, 0, 0, 0];
        bytes.extend(self.length.unwrap_or(payload.len() as u16).to_be_bytes());
        bytes.extend([types[0], self.ttl]);
        bytes.extend(source);
        bytes.extend(destination);
        bytes.extend(payload);
        bytes
    }
}

/// The Internet checksum (RFC 1071) of some pieces, each of which but the last has an even length.
pub fn checksum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in pieces.iter().flat_map(|piece| piece.chunks(2)) {
        sum += (u32::from(pair[0]) << 8) | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
