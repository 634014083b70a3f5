//! IPv4: options that move the ports, lengths that lie, bytes behind the end.

use super::*;
use crate::frame::*;

const ENDS: (&str, &str) = FAMILIES[0];

fn udp(port: u16) -> Vec<u8> {
    ports((1000, port), 8)
}

fn with_options(options: &[u8], port: u16) -> Vec<u8> {
    sent(ENDS, UDP, &Ip { options: options.to_vec(), ..Ip::default() }, &udp(port))
}

fn changed(port: u16, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = plain(ENDS, UDP, &udp(port));
    change(&mut bytes);
    bytes
}

fn options() -> Vec<Row> {
    let mut rows = Vec::new();
    for words in 0..=15u8 {
        let options = vec![1; usize::from(words.saturating_sub(5)) * 4];
        for (port, want) in [(53, "ok"), (54, "default")] {
            let mut bytes = with_options(&options, port);
            bytes[0] = 0x40 | words;
            rows.push(packet(bytes, if words < 5 { "malformed" } else { want }));
        }
    }
    // Options that look like a UDP header to port 53, before one to port 54; and the other way round.
    let port = |port: u16| [7, 8, 3, 232, (port >> 8) as u8, port as u8, 0, 8];
    rows.extend([
        packet(with_options(&port(53), 54), "default"),
        packet(with_options(&port(54), 53), "ok"),
        // A header length that takes the ports in: what is behind them is no header.
        packet(
            changed(0x0101, |bytes| {
                bytes[0] = 0x46;
                bytes[20..22].fill(1);
            }),
            "malformed",
        ),
        packet(
            changed(53, |bytes| {
                bytes[0] = 0x46;
                bytes[20..24].fill(1);
                bytes.extend([0; 4]);
                bytes[3] += 4;
            }),
            "default",
        ),
    ]);
    rows.extend(
        [
            (&[131, 7, 4, 10, 1, 0, 9, 0][..], "source_route"),
            (&[137, 7, 4, 10, 1, 0, 9, 0], "source_route"),
            (&[131, 3, 4, 0], "source_route"),
            (&[137, 0, 0, 0], "source_route"),
            (&[148, 4, 0, 0, 131, 3, 4, 0], "source_route"),
            (&[1, 1, 1, 131], "source_route"),
            // Behind the end of the list nothing is an option.
            (&[0, 131, 7, 4], "ok"),
            (&[1, 0, 137, 7], "ok"),
            // Inside another option it is data.
            (&[7, 7, 131, 7, 4, 1, 2, 0], "ok"),
            (&[148, 4, 0, 0], "ok"),
            (&[148, 4, 0, 1], "ok"),
            (&[148, 3, 0, 0], "ok"),
            (&[148, 1, 0, 0], "malformed"),
            (&[148, 0, 0, 0], "malformed"),
            (&[148, 5, 0, 0], "malformed"),
            (&[1, 1, 1, 148], "malformed"),
            (&[1, 1, 148, 2], "ok"),
            (&[68, 4, 5, 0], "ok"),
            (&[7, 3, 4, 0], "ok"),
            (&[130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "ok"),
            (&[130, 255, 0, 0], "malformed"),
            (&[255, 2, 255, 2], "ok"),
        ]
        .map(|(options, want)| packet(with_options(options, 53), want)),
    );
    rows
}

fn lengths() -> Vec<Row> {
    let total = |length: u16| changed(53, |bytes| bytes[2..4].copy_from_slice(&length.to_be_bytes()));
    let mut rows: Vec<Row> = [
        (0, "malformed"),
        (1, "malformed"),
        (19, "malformed"),
        (20, "malformed"),
        (27, "malformed"),
        (28, "ok"),
        (29, "malformed"),
        (256, "malformed"),
        (0x1C00, "malformed"),
        (65535, "malformed"),
    ]
    .map(|(length, want)| packet(total(length), want))
    .into();
    let behind = |length: u16, port: u16| {
        changed(port, |bytes| {
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes.extend([0xEE; 18]);
        })
    };
    rows.extend([
        // Behind the end of the packet are no headers, and no ports.
        packet(behind(28, 53), "ok"),
        packet(behind(20, 53), "malformed"),
        packet(behind(24, 53), "malformed"),
        packet(behind(46, 53), "ok"),
        packet(behind(47, 53), "malformed"),
        packet(total(0).clone(), "ok").gso(),
        packet(total(20), "malformed").gso(),
        packet(total(29), "malformed").gso(),
        // What UDP says of its own length changes no port.
        packet(changed(53, |bytes| bytes[24..26].fill(0)), "ok"),
        packet(changed(53, |bytes| bytes[24..26].fill(0xFF)), "ok"),
        packet(changed(54, |bytes| bytes[25] = 7), "default"),
        // Checksums are for the receiver.
        packet(changed(53, |bytes| bytes[10..12].fill(0xAA)), "ok"),
        packet(changed(54, |bytes| bytes[26..28].fill(0xAA)), "default"),
        // The version says what the EtherType does not.
        packet(changed(53, |bytes| bytes[0] = 0x05), "malformed"),
        packet(changed(53, |bytes| bytes[0] = 0x55), "malformed"),
        packet(changed(53, |bytes| bytes[0] = 0xF5), "malformed"),
        whole(ethernet(&[], IPV6, &plain(ENDS, UDP, &[&udp(53)[..], &[0; 40]].concat())), "malformed"),
        whole(ethernet(&[], IPV4, &plain(FAMILIES[1], UDP, &udp(53))), "malformed"),
    ]);
    for words in 0..16u8 {
        let mut segment = [tcp((1000, 80), SYN, 1, 0, b""), vec![1; 36]].concat();
        segment[12] = words << 4 | 0x0F;
        // 56 bytes of TCP are 14 words.
        rows.push(packet(plain(ENDS, TCP, &segment), if (5..=14).contains(&words) { "ok" } else { "malformed" }));
    }
    rows
}

pub fn rows() -> Vec<Row> {
    [options(), lengths()].concat()
}

pub fn all(bench: &mut Bench) -> usize {
    ask(bench, "IPv4 options", "", SERVICES, &options()) + ask(bench, "IPv4 lengths", "", SERVICES, &lengths())
}
