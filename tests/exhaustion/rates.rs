//! The memory of rates: an LRU of 65,536 sources. Whoever forges more than that makes it forget others, who begin anew: more passes
//! than their rate, never less.

use netpol_tests::policy::policy;
use netpol_tests::{Bench, Family, Hook, Packet};

/// Sources that are remembered (`NP_MAX_BUCKETS`).
const REMEMBERED: u32 = 65_536;

fn from(f: Family, net: u8, host: u8, count: u16) -> Vec<Packet> {
    (0..count).map(|n| Packet::udp(f.at(net, host, 1000 + n), f.at(1, 1, 53))).collect()
}

/// One packet each from more sources than are remembered (IPv6: a /64 each).
fn crowd(f: Family) -> impl Iterator<Item = Packet> {
    (0..REMEMBERED * 5 / 4).map(move |n| {
        let text = match f {
            Family::V4 => format!("11.{}.{}.{}:4000", n >> 16, n >> 8 & 255, n & 255),
            Family::V6 => format!("[2001:db8:{:x}:{:x}::1]:4000", n >> 16, n & 0xffff),
        };
        Packet::udp(netpol_tests::packet_l4::addr(&text), f.at(1, 1, 53))
    })
}

#[test]
fn forged_sources_without_number_take_nothing_away_from_honest_ones() {
    let keys = "policy_types = [\"ingress\"]\n[policy.xdp]\nmode = \"off\"\nrate_limit = { packets = \"1/h\", packets_burst = 10 }\n";
    let Some(bench) = Bench::start(&(policy("p", keys) + "[[policy.ingress]]\naction = \"deny\"\nprotocol = \"udp\"\n")) else { return };
    for f in Family::BOTH {
        let limited = |net, host, count| {
            let before = bench.cli().reasons();
            bench.through(Hook::Ingress, &from(f, net, host, count));
            let after = bench.cli().reasons();
            (after["rule"] - before["rule"], after["rate_limit"] - before["rate_limit"])
        };
        assert_eq!(limited(3, 3, 30), (10, 20), "{f:?}: its burst");
        assert_eq!(limited(3, 3, 5), (0, 5), "{f:?}: used up");
        assert_eq!(limited(4, 4, 4), (4, 0), "{f:?}: another one");
        let packets: Vec<Packet> = crowd(f).collect();
        let before = bench.cli().reasons();
        let passed: usize = packets.chunks(8192).map(|part| bench.through(Hook::Ingress, part)).sum();
        assert_eq!(passed, 0, "a rule denies all of them");
        let after = bench.cli().reasons();
        let (judged, refused) = (after["rule"] - before["rule"], after["rate_limit"] - before["rate_limit"]);
        assert_eq!((judged, refused), (packets.len() as u64, 0), "{f:?}: each of the crowd is within its own rate");
        assert_eq!(limited(5, 5, 10), (10, 0), "{f:?}: a new source finds its place");
        let (passed, held) = limited(4, 4, 10);
        assert!(passed >= 6 && passed + held == 10, "{f:?}: forgotten or not, an honest source has what is left of its burst: {passed}");
        let (passed, _) = limited(3, 3, 30);
        assert!(passed <= 10, "{f:?}: and no more than one burst for each time it is forgotten: {passed}");
    }
}
