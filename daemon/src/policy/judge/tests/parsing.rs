//! Stage 1: frames as bytes.

use super::*;
use crate::policy::model::Hook::Ingress;

const ETH4: &[u8] = &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];

fn read(bytes: &[u8]) -> Packet {
    parse(&Frame { hook: Ingress, device: DeviceKind::Ethernet, bytes, metadata_tag: None, gso: false })
}

fn ethernet(ethertype: u16, tags: &[u16], payload: &[u8]) -> Vec<u8> {
    let mut frame = ETH4[..12].to_vec();
    for tag in tags {
        frame.extend([0x81, 0x00]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

fn ipv4(options: &[u8], fragment: u16, protocol: u8, source: [u8; 4], l4: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut bytes = vec![0x40 | (header / 4) as u8, 0];
    bytes.extend(((header + l4.len()) as u16).to_be_bytes());
    bytes.extend([0, 9]);
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend(source);
    bytes.extend([198, 51, 100, 1]);
    bytes.extend(options);
    bytes.extend(l4);
    ethernet(0x0800, &[], &bytes)
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, 64]);
    bytes.extend("2001:db8::9".parse::<std::net::Ipv6Addr>().unwrap().octets());
    bytes.extend("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    bytes.extend(payload);
    ethernet(0x86DD, &[], &bytes)
}

const UDP_HEADER: [u8; 8] = [0, 99, 0, 53, 0, 8, 0, 0];
const FROM: [u8; 4] = [203, 0, 113, 9];

#[test]
fn tags_priority_tags_and_too_many() {
    for (tags, wanted) in [
        (&[][..], Ok([0, 0])),
        (&[7][..], Ok([7, 0])),
        (&[0, 7][..], Ok([7, 0])),
        (&[7, 8][..], Ok([7, 8])),
        (&[7, 0, 8][..], Ok([7, 8])),
        (&[0, 0, 0, 0][..], Ok([0, 0])),
        (&[0x2007][..], Ok([7, 0])),
        (&[7, 8, 9][..], Err(Reason::Malformed)),
        (&[0, 0, 0, 0, 0][..], Err(Reason::Malformed)),
    ] {
        let packet = read(&ethernet(0x88CC, tags, &[0; 20]));
        assert_eq!(packet.refusal.map_or(Ok(packet.tags), Err), wanted, "{tags:?}");
    }
    let bytes = ethernet(0x88CC, &[8], &[]);
    let frame = Frame { hook: Ingress, device: DeviceKind::Ethernet, bytes: &bytes, metadata_tag: Some(7), gso: false };
    assert_eq!(parse(&frame).tags, [7, 8]);
}

#[test]
fn llc_frames() {
    let snap = |ethertype: [u8; 2]| [&[0xAA, 0xAA, 3, 0, 0, 0][..], &ethertype].concat();
    for (payload, wanted) in [
        (vec![0x42, 0x42, 3], Ok(0x42)),
        (snap([8, 0]), Err(Reason::LlcIp)),
        (snap([0x86, 0xDD]), Err(Reason::LlcIp)),
        (snap([0x20, 0]), Ok(0)),
        (vec![6, 6, 3], Err(Reason::LlcIp)),
        (vec![0xFE, 0xFE, 3], Ok(0)),
        (vec![0x42], Err(Reason::Malformed)),
        (vec![0xAA, 0xAA, 3, 0], Err(Reason::Malformed)),
    ] {
        let packet = read(&ethernet(0x26, &[], &payload));
        assert_eq!(packet.refusal.map_or(Ok(packet.ethertype), Err), wanted, "{payload:?}");
    }
}

#[test]
fn ipv4_headers_that_lie_are_malformed() {
    let good = ipv4(&[], 0, 17, FROM, &UDP_HEADER);
    assert_eq!(read(&good).refusal, None);
    for (at, value) in [(14, 0x55), (14, 0x44), (17, 19), (17, 200), (17, 27)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(read(&bad).refusal, Some(Reason::Malformed), "byte {at} = {value}");
    }
    for length in 0..good.len() {
        assert_eq!(read(&good[..length]).refusal, Some(Reason::Malformed), "{length} bytes");
    }
    let mut gso = good.clone();
    gso[16..18].fill(0);
    assert_eq!(read(&gso).refusal, Some(Reason::Malformed));
    let frame = Frame { hook: Ingress, device: DeviceKind::Ethernet, bytes: &gso, metadata_tag: None, gso: true };
    assert_eq!(parse(&frame).refusal, None);
}

#[test]
fn ipv4_options() {
    for (options, wanted) in [
        ([1, 1, 1, 0], None),
        ([148, 4, 0, 0], None),
        ([131, 3, 4, 0], Some(Reason::SourceRoute)),
        ([137, 3, 4, 0], Some(Reason::SourceRoute)),
        ([1, 7, 1, 0], Some(Reason::Malformed)),
        ([7, 5, 0, 0], Some(Reason::Malformed)),
        ([0, 131, 3, 4], None),
    ] {
        assert_eq!(read(&ipv4(&options, 0, 17, FROM, &UDP_HEADER)).refusal, wanted, "{options:?}");
    }
}

#[test]
fn addresses_that_no_packet_carries() {
    for (source, wanted) in [
        ([127, 0, 0, 1], Reason::LoopbackAddress),
        ([224, 0, 0, 1], Reason::MulticastSource),
        ([255, 255, 255, 255], Reason::MulticastSource),
        ([0, 0, 0, 0], Reason::UnspecifiedSource),
    ] {
        let bytes = ipv4(&[], 0, 17, source, &UDP_HEADER);
        assert_eq!(read(&bytes).refusal, Some(wanted), "{source:?}");
        let frame = Frame { hook: Ingress, device: DeviceKind::Loopback, bytes: &bytes, metadata_tag: None, gso: false };
        assert_eq!(parse(&frame).refusal, None);
    }
    assert_eq!(read(&ipv4(&[], 0, 17, [0; 4], &[0, 68, 0, 67, 0, 8, 0, 0])).refusal, None, "DHCP");
}

#[test]
fn l4_headers_must_be_whole() {
    let mut tcp = [0; 20];
    tcp[12] = 0x50;
    for (protocol, l4, needed) in [
        (6, &tcp[..], 20),
        (17, &[0; 8][..], 8),
        (136, &[0; 8][..], 8),
        (33, &[0; 12][..], 12),
        (132, &[0; 12][..], 12),
        (1, &[8, 0, 0, 0, 0, 0, 0, 0][..], 8),
    ] {
        assert_eq!(read(&ipv4(&[], 0, protocol, FROM, l4)).refusal, None, "{protocol}");
        assert_eq!(read(&ipv4(&[], 0, protocol, FROM, &l4[..needed - 1])).refusal, Some(Reason::Malformed), "{protocol}");
        assert_eq!(read(&ipv4(&[], 0x2000, protocol, FROM, &l4[..needed - 1])).refusal, Some(Reason::Malformed), "first fragment");
    }
    tcp[12] = 0x40;
    assert_eq!(read(&ipv4(&[], 0, 6, FROM, &tcp)).refusal, Some(Reason::Malformed));
    tcp[12] = 0x60;
    assert_eq!(read(&ipv4(&[], 0, 6, FROM, &tcp)).refusal, Some(Reason::Malformed));
    assert_eq!(read(&ipv4(&[], 0, 47, FROM, &[])).refusal, None);
    assert_eq!(read(&ipv4(&[], 2, 6, FROM, &[0; 8])).refusal, Some(Reason::Malformed), "TCP fragment at offset 16");
    assert_eq!(read(&ipv4(&[], 3, 6, FROM, &[0; 8])).refusal, None);
}

#[test]
fn ipv6_extension_headers() {
    let options = |next: u8| vec![next, 0, 1, 4, 0, 0, 0, 0];
    let chain = |count: usize| -> Vec<u8> {
        let mut bytes: Vec<u8> = (1..=count).flat_map(|i| options(if i == count { 17 } else { 60 })).collect();
        bytes.extend(UDP_HEADER);
        bytes
    };
    assert_eq!(read(&ipv6(60, &chain(8))).ip.unwrap().ports(), Some((99, 53)));
    assert_eq!(read(&ipv6(60, &chain(9))).refusal, Some(Reason::ExtensionHeaders));
    assert_eq!(read(&ipv6(60, &[17, 1, 0, 0, 0, 0, 0, 0])).refusal, Some(Reason::Malformed));
    assert_eq!(read(&ipv6(43, &[&[17, 0, 0, 0, 0, 0, 0, 0][..], &UDP_HEADER].concat())).refusal, Some(Reason::RoutingHeader));
    assert_eq!(read(&ipv6(43, &[&[17, 0, 4, 0, 0, 0, 0, 0][..], &UDP_HEADER].concat())).refusal, None);
    for kind in [2, 3, 4, 9] {
        let with_a_segment_left = [&[17, 0, kind, 1, 0, 0, 0, 0][..], &UDP_HEADER].concat();
        assert_eq!(read(&ipv6(43, &with_a_segment_left)).refusal, Some(Reason::RoutingHeader), "type {kind}");
    }
    assert_eq!(read(&ipv6(51, &[0; 8])).ip.unwrap().protocol, 51);
    assert_eq!(read(&ipv6(59, &[])).ip.unwrap().protocol, 59);
    assert_eq!(read(&ipv6(17, &[])).refusal, Some(Reason::Malformed));
}

#[test]
fn ipv6_fragments() {
    let fragment = |next: u8, field: u16| {
        let mut bytes = vec![next, 0];
        bytes.extend(field.to_be_bytes());
        bytes.extend([0, 0, 0, 5]);
        bytes.extend(UDP_HEADER);
        read(&ipv6(44, &bytes))
    };
    assert_eq!(fragment(17, 0).ip.unwrap().fragment, None, "atomic");
    assert!(fragment(17, 1).ip.unwrap().is_first_fragment());
    let later = fragment(17, 8).ip.unwrap();
    assert!(later.is_later_fragment() && later.protocol == 17 && later.l4 == L4::None);
    assert_eq!(fragment(60, 8).ip.unwrap().protocol, PROTOCOL_UNKNOWN);
}

#[test]
fn an_error_quotes_addresses_and_ports() {
    let quoted = &ipv4(&[], 0, 17, [198, 51, 100, 1], &UDP_HEADER)[14..];
    let error = |quoted: &[u8]| {
        let l4 = [&[3, 3, 0, 0, 0, 0, 0, 0][..], quoted].concat();
        let L4::Icmp(message) = read(&ipv4(&[], 0, 1, FROM, &l4)).ip.unwrap().l4 else { panic!("ICMP") };
        message.quoted.map(|quote| quote.l4)
    };
    assert_eq!(error(quoted), Some(QuotedL4::Ports { source: 99, destination: 53 }));
    assert_eq!(error(&quoted[..27]), None);
    let later = &ipv4(&[], 1, 17, [198, 51, 100, 1], &UDP_HEADER)[14..];
    assert_eq!(error(later), None);
}

#[test]
fn no_bytes_make_the_parser_fail() {
    let mut seed = 1u32;
    let mut byte = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    let frames = [ipv4(&[1, 1, 1, 0], 0, 6, FROM, &[0; 24]), ipv6(44, &[0; 40]), ethernet(0x26, &[0, 7], &[0xAA; 12])];
    for frame in frames.iter().cycle().take(30_000) {
        let mut frame = frame.clone();
        for _ in 0..3 {
            let at = usize::from(byte()) % frame.len();
            frame[at] = byte();
        }
        frame.truncate(usize::from(byte()) % (frame.len() + 1));
        for device in [DeviceKind::Ethernet, DeviceKind::Raw] {
            parse(&Frame { hook: Ingress, device, bytes: &frame, metadata_tag: None, gso: byte() & 1 == 0 });
        }
    }
}

fn arp_packet(operation: u16) -> Vec<u8> {
    let mut bytes = vec![0, 1, 8, 0, 6, 4];
    bytes.extend(operation.to_be_bytes());
    bytes.extend([2, 0, 0, 0, 0, 7]);
    bytes.extend(FROM);
    bytes.extend([0; 10]);
    bytes
}

#[test]
fn a_frame_tells_its_sender_and_whole_arp_for_whom_it_speaks() {
    let arp = |bytes: &[u8], tags: &[u16]| read(&ethernet(0x0806, tags, bytes)).sender;
    let wanted = Some(Arp { mac: [2, 0, 0, 0, 0, 7], address: FROM.into() });
    for operation in [1, 2] {
        let sender = arp(&arp_packet(operation), &[]);
        assert_eq!((sender.mac, sender.arp), (Some([2, 0, 0, 0, 0, 2]), wanted));
        assert_eq!(arp(&arp_packet(operation), &[7]).arp, wanted);
    }
    assert_eq!(arp(&arp_packet(3), &[]).arp, None);
    assert_eq!(arp(&arp_packet(1)[..27], &[]).arp, None);
    for at in [1, 3, 4, 5] {
        let mut other = arp_packet(1);
        other[at] ^= 1;
        assert_eq!(arp(&other, &[]).arp, None, "{at}");
    }
    assert_eq!(read(&ethernet(0x0800, &[], &arp_packet(1))).sender.arp, None);
}

#[test]
fn neighbour_discovery_tells_target_and_first_link_layer_option() {
    let target = |last| {
        let mut bytes = vec![0x20, 1, 0x0D, 0xB8];
        bytes.resize(15, 0);
        bytes.push(last);
        bytes
    };
    let message = |kind: u8, fixed: usize, option: &[u8]| {
        let mut bytes = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(target(7));
        bytes.resize(fixed, 0);
        bytes.extend(option);
        read(&ipv6(58, &bytes)).sender.neighbour
    };
    let mac = [1, 1, 2, 0, 0, 0, 0, 9];
    let seven = Some("2001:db8::7".parse().unwrap());
    let wanted = |target, option| Some(Neighbour { target, option });
    let held = LinkLayerOption::Mac([2, 0, 0, 0, 0, 9]);
    assert_eq!(message(135, 24, &mac), wanted(seven, held));
    assert_eq!(message(136, 24, &[2, 1, 2, 0, 0, 0, 0, 9]), wanted(seven, held));
    assert_eq!(message(134, 16, &mac), wanted(None, held));
    assert_eq!(message(133, 8, &mac), wanted(None, held));
    assert_eq!(message(136, 24, &[]), wanted(seven, LinkLayerOption::Absent));
    assert_eq!(message(136, 24, &[14, 1, 0, 0, 0, 0, 0, 0]), wanted(seven, LinkLayerOption::Absent));
    assert_eq!(message(136, 24, &mac[..7]), wanted(seven, LinkLayerOption::Unreadable));
    assert_eq!(message(136, 23, &[]), wanted(None, LinkLayerOption::Absent));
    assert_eq!(message(137, 24, &mac), None);
    assert_eq!(message(128, 24, &mac), None);
}
