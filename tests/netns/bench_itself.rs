//! The bench without any firewall: packets of both families pass both ways, and nothing is left behind.

use netpol_tests::bench::Ways;
use netpol_tests::packet_l4::addr;
use netpol_tests::{Family, Hook, Net, Packet, residue, wire};

#[test]
fn frames_without_a_firewall_pass_and_can_be_told_apart() {
    let Some(net) = Net::new() else { return };
    let observer = wire::Observer::open(&net.dut, "left", 0x0800);
    let sender = wire::Sender::open(&net.src, "eth0");
    let packet = Packet::udp(addr("10.1.0.2:4000"), addr("10.1.0.1:5000"));
    // A link that has just come up on a busy machine may lose its first frame.
    let tries = (1..=5).find(|_| {
        sender.send(&packet.frame());
        observer.wait_for(&packet.l3(), std::time::Duration::from_secs(2))
    });
    assert!(tries.is_some(), "it arrives");
    let again = observer.drain().iter().filter(|frame| frame.ends_with(&packet.l3())).count();
    assert!(Some(again) < tries, "no frame is seen twice");
}

#[test]
fn every_kind_of_frame_without_a_firewall_is_seen_behind_both_hooks() {
    let Some(net) = Net::new() else { return };
    let ways = Ways::new(&net);
    let (a, b) = (addr("10.1.0.2:4000"), addr("10.1.0.1:5000"));
    let (a6, b6) = (addr("[fd00:1::2]:4000"), addr("[fd00:1::1]:5000"));
    let frames = [
        ("UDP", Packet::udp(a, b)),
        ("UDP over IPv6", Packet::udp(a6, b6)),
        ("TCP", Packet::syn(a, b)),
        ("echo", Packet::echo(a6.ip(), b6.ip(), 128, 7)),
        ("one tag", Packet::udp(a, b).vlan(7)),
        ("priority tag", Packet::udp(a, b).vlan(0)),
        ("two tags", Packet::udp(a6, b6).tag(0x88a8, 7).vlan(8)),
        ("bad version", Packet::udp(a, b).version(5)),
        ("bad length", Packet::udp(a6, b6).length(999)),
        ("extension header", Packet::udp(a6, b6).extension(60, &[0; 8])),
        ("fragment", Packet::udp_with(a, b, &[1; 64]).piece(1, 0, 32)),
        ("EtherType", Packet::other(0x88cc, &[1; 40])),
        ("LLC", Packet::other(40, &[0x42; 40])),
    ];
    for hook in Hook::BOTH {
        for (what, packet) in &frames {
            assert!(ways.passes(&net, hook, packet), "{what} at {hook:?}");
        }
    }
}

#[test]
fn everything_made_by_a_test_is_gone_after_it() {
    let Some(net) = Net::new() else { return };
    let name = net.dut.name().to_owned();
    let owned = || residue::found(|process| process == std::process::id()).iter().any(|path| path.ends_with(&name));
    assert!(owned(), "the finder sees {name}");
    drop(net);
    assert!(!owned(), "{name} is gone");
}

#[test]
fn tcp_and_udp_between_the_namespaces_work_in_both_families() {
    let Some(net) = Net::new() else { return };
    for family in Family::BOTH {
        let listener = netpol_tests::sock::listen(&net.dst, family.at(2, 2, 80));
        let mut connection = netpol_tests::sock::Connection::open(&net.src, &listener, family.at(2, 2, 80)).expect("a connection");
        assert!(connection.lives(), "{family:?}");
    }
}
