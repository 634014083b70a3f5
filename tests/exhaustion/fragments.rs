//! The memory of fragments: an LRU of 16,384 datagrams. Whoever forges more first fragments than that makes it forget others: they
//! are refused then, and counted (`fragment`), and never passed.

use std::time::Duration;

use netpol_tests::flood::Flood;
use netpol_tests::policy::both_ways;
use netpol_tests::{Bench, Family, Hook, Packet, say, wait};

/// Datagrams that are remembered (`NP_MAX_FRAGMENTS`).
const REMEMBERED: u32 = 16_384;

/// Port 53 is denied, everything else is allowed: a later fragment alone must not pass, for it could be one of port 53.
const RULES: &str = "[[rule]]\nid = \"dns\"\naction = \"deny\"\nprotocol = \"udp\"\ndestination = { ports = [53] }\n\
    [[rule]]\nid = \"rest\"\naction = \"allow\"\n";

fn datagram(f: Family, hook: Hook, port: u16) -> Packet {
    let (remote, local) = (f.at(1, 2, 4000), f.at(1, 1, port));
    match hook {
        Hook::Ingress => Packet::udp_with(remote, local, &[7; 120]),
        Hook::Egress => Packet::udp_with(f.at(1, 1, 4000), f.at(1, 2, port), &[7; 120]),
    }
}

/// First fragments of allowed datagrams of as many forged sources as it takes; `first` makes the ids differ from call to call.
fn forged(f: Family, hook: Hook, first: u32) -> Vec<Packet> {
    let one = |n: u32| {
        let (far, near) = (f.at(20 + (n / 200 % 200) as u8, (n % 200) as u8, 1024), f.at(1, 1, 80));
        let (from, to) = if hook == Hook::Ingress { (far, near) } else { (near, far) };
        Packet::udp_with(from, to, &[7; 120]).piece(first + n, 0, 64)
    };
    (0..2 * REMEMBERED).map(one).collect()
}

fn flood_once(bench: &Bench, hook: Hook, packets: &[Packet]) {
    let (from, link) = if hook == Hook::Ingress { (&bench.net.src, "eth0") } else { (&bench.net.dut, "left") };
    let flood = Flood::start(from, link, packets);
    wait::until("each of them is sent", Duration::from_secs(60), || flood.rounds() > 0);
    flood.stop();
}

#[test]
fn forged_first_fragments_make_others_forgotten_and_nothing_denied_pass() {
    let Some(bench) = Bench::start(&both_ways(RULES)) else { return };
    for f in Family::BOTH {
        for hook in Hook::BOTH {
            let (good, bad) = (datagram(f, hook, 80), datagram(f, hook, 53));
            let pieces = |id| (good.piece(id, 64, 999), bad.piece(id, 64, 999));
            assert!(bench.passes(hook, &good.piece(1, 0, 64)), "{f:?} {hook:?}: first of what is allowed");
            bench.refused(hook, "rule", &bad.piece(2, 0, 64), "first of what is denied");
            bench.refused(hook, "rule", &pieces(2).1, "and its later one, as long as it is remembered");
            flood_once(&bench, hook, &forged(f, hook, 1000));
            bench.refused(hook, "fragment", &pieces(1).0, "later one of an allowed datagram that was forgotten");
            // One that was asked for meanwhile is forgotten later than others.
            assert!(!bench.passes(hook, &pieces(2).1), "{f:?} {hook:?}: later one of a denied datagram, forgotten or not");
            bench.refused(hook, "fragment", &bad.piece(4, 64, 999), "later one of a denied datagram that was never seen");
            assert!(bench.passes(hook, &good.piece(3, 0, 64)) && bench.passes(hook, &pieces(3).0), "{f:?} {hook:?}: fragments at once");
        }
    }
}

#[test]
fn fragmented_datagrams_go_on_under_a_flood_of_forged_ones() {
    for f in Family::BOTH {
        // One each: the forged flows of the other family would leave no room in the connection table.
        let Some(bench) = Bench::start(&both_ways(RULES)) else { return };
        let (good, bad) = (datagram(f, Hook::Ingress, 80), datagram(f, Hook::Ingress, 53));
        let flood = Flood::start(&bench.net.src, "eth0", &forged(f, Hook::Ingress, 1000));
        std::thread::sleep(Duration::from_millis(500));
        let before = bench.cli().drops("fragment");
        let (mut whole, mut denied) = (0, 0);
        for id in 1..=100u32 {
            let burst = [good.piece(id, 0, 64), good.piece(id, 64, 999), bad.piece(500 + id, 0, 64), bad.piece(500 + id, 64, 999)];
            whole += usize::from(bench.through(Hook::Ingress, &burst[..2]) == 2);
            denied += bench.through(Hook::Ingress, &burst[2..]);
        }
        let sent = flood.stop();
        let forgotten = bench.cli().drops("fragment") - before;
        say::aloud(&format!(
            "{f:?}: {} forged first fragments/s: {whole} of 100 datagrams in two pieces passed whole; {forgotten} pieces refused as forgotten",
            sent.rate()
        ));
        assert_eq!(denied, 0, "{f:?}: no piece of a denied datagram passes");
        assert!(whole > 50, "{f:?}: pieces that follow each other are still remembered: {whole}");
    }
}
