//! `limit`: above its rate a rule does not match, and the walk goes on as if it were not there.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netpol_tests::cli::{Cli, DONE, REFUSED};
use netpol_tests::flags::SYN;
use netpol_tests::packet_l4::unique;
use netpol_tests::policy::{VERSION, arriving, both_ways};
use netpol_tests::sock::{self, Connection};
use netpol_tests::{Bench, Family, Hook, Net, Packet, Place};

/// Asks the same in both families at every place, each with a bench of its own.
fn at_each_place(rules: &str, ask: impl Fn(&Bench, Hook, Family)) {
    for place in Place::ALL {
        let Some(bench) = Bench::start(&place.policy("p", rules)) else { return };
        for family in Family::BOTH {
            println!("{place:?} {family:?}");
            ask(&bench, place.hook, family);
        }
    }
}

/// UDP to port 53 from a port that no other packet had.
fn opener(source: std::net::IpAddr, destination: std::net::IpAddr) -> Packet {
    let port = 1024 + (unique() % 60_000) as u16;
    Packet::udp(SocketAddr::new(source, port), SocketAddr::new(destination, 53))
}

/// So many openers from host `from` of net 1 to host `to` of net 2.
fn openers(f: Family, from: u8, to: u8, count: usize) -> Vec<Packet> {
    (0..count).map(|_| opener(f.host(1, from), f.host(2, to))).collect()
}

/// The same rule for each family, as ids `four` and `six`. "1/h": nothing comes back while a test runs.
fn for_each_family(action: &str, limit: &str) -> String {
    let rule = |id, version| {
        format!("[[rule]]\nid = \"{id}\"\naction = \"{action}\"\nip_version = {version}\nprotocol = \"udp\"\nlimit = {limit}\n")
    };
    rule("four", 4) + &rule("six", 6)
}

fn id(f: Family) -> &'static str {
    if f == Family::V4 { "four" } else { "six" }
}

#[test]
fn burst_of_a_rule_passes_exactly_and_the_rest_gets_the_default() {
    at_each_place(&for_each_family("allow", "{ rate = \"1/h\", burst = 5 }"), |bench, hook, f| {
        let before = bench.cli().reasons();
        assert_eq!(bench.through(hook, &openers(f, 2, 1, 20)), 5);
        assert_eq!(bench.cli().hits(id(f)), 5, "above its rate the rule has judged nothing");
        let after = bench.cli().reasons();
        assert_eq!(after["default"] - before["default"], 15);
        assert_eq!(after.values().sum::<u64>() - before.values().sum::<u64>(), 15, "each has one reason");
        bench.refused(hook, "default", &opener(f.host(1, 9), f.host(2, 9)), "one more, of anybody");
    });
}

#[test]
fn both_families_share_the_rate_of_a_rule() {
    let Some(bench) = Bench::with_rules("[[rule]]\naction = \"allow\"\nlimit = { rate = \"1/h\", burst = 6 }\n") else { return };
    for hook in Hook::BOTH {
        let [four, six] = Family::BOTH.map(|f| bench.through(hook, &openers(f, 2, 1, 4)));
        assert_eq!((four, six), (4, 2), "{hook:?}: each direction's rule has its own rate");
    }
}

#[test]
fn burst_unstated_is_what_one_period_brings() {
    let rule = |port: u16, rate: &str| {
        format!("[[rule]]\naction = \"allow\"\nprotocol = \"udp\"\nsource = {{ ports = [{port}] }}\nlimit = {{ rate = \"{rate}\" }}\n")
    };
    let rates = [(1, "7/h", 7), (2, "5/minute", 5), (3, "6/hour", 6), (4, "4/day", 4), (5, "3/d", 3), (6, "8/m", 8)];
    let rules: String = rates.iter().map(|(port, rate, _)| rule(*port, rate)).collect();
    let Some(bench) = Bench::start(&arriving(&rules)) else { return };
    let f = Family::V4;
    for (port, rate, expected) in rates {
        let packets: Vec<Packet> = (1..=20).map(|n| Packet::udp(f.at(1, n, port), f.at(2, 1, 53))).collect();
        assert_eq!(bench.through(Hook::Ingress, &packets), expected, "{rate}");
    }
}

#[test]
fn rate_comes_back_with_time_and_never_beyond_the_burst() {
    let Some(bench) = Bench::with_rules(&for_each_family("allow", "{ rate = \"20/s\", burst = 10 }")) else { return };
    for hook in Hook::BOTH {
        for f in Family::BOTH {
            let begin = Instant::now();
            let mut passed = bench.through(hook, &openers(f, 2, 1, 30));
            assert!(passed >= 10, "{f:?} {hook:?}: the burst: {passed}");
            let pause = Instant::now();
            sleep(Duration::from_millis(300));
            let rest = pause.elapsed();
            let second = bench.through(hook, &openers(f, 2, 1, 30));
            passed += second;
            let (least, most) = ((20.0 * rest.as_secs_f64()) as usize, 10 + (20.0 * begin.elapsed().as_secs_f64()) as usize);
            assert!(second >= least.saturating_sub(1).min(9), "{f:?} {hook:?}: {second} after {rest:?}");
            assert!(passed <= most + 1, "{f:?} {hook:?}: {passed} in {:?}", begin.elapsed());
            sleep(Duration::from_millis(1500));
            let full = bench.through(hook, &openers(f, 2, 1, 30));
            assert!((10..=12).contains(&full), "{f:?} {hook:?}: {full}: never more than the burst is saved up");
        }
    }
}

#[test]
fn each_source_has_a_rate_of_its_own() {
    at_each_place("[[rule]]\naction = \"allow\"\nlimit = { rate = \"1/h\", burst = 3, per = \"source\" }\n", |bench, hook, f| {
        assert_eq!(bench.through(hook, &openers(f, 2, 1, 10)), 3);
        assert_eq!(bench.through(hook, &openers(f, 2, 77, 5)), 0, "to anybody else: nothing is left of this source's");
        let other = (f.host(3, 2), f.host(2, 1));
        let packets: Vec<Packet> = (0..10).map(|_| opener(other.0, other.1)).collect();
        assert_eq!(bench.through(hook, &packets), 3, "another source");
    });
}

#[test]
fn each_destination_has_a_rate_of_its_own() {
    at_each_place("[[rule]]\naction = \"allow\"\nlimit = { rate = \"1/h\", burst = 3, per = \"destination\" }\n", |bench, hook, f| {
        assert_eq!(bench.through(hook, &openers(f, 2, 1, 10)), 3);
        assert_eq!(bench.through(hook, &openers(f, 77, 1, 5)), 0, "from anybody else: nothing is left of this destination's");
        let packets: Vec<Packet> = (0..10).map(|_| opener(f.host(1, 2), f.host(3, 1))).collect();
        assert_eq!(bench.through(hook, &packets), 3, "another destination");
    });
}

#[test]
fn ipv6_addresses_of_one_64_share_a_rate_and_ipv4_addresses_do_not() {
    for per in ["source", "destination"] {
        let rule = format!("[[rule]]\naction = \"allow\"\nlimit = {{ rate = \"1/h\", burst = 4, per = \"{per}\" }}\n");
        at_each_place(&rule, |bench, hook, f| {
            let packets: Vec<Packet> = (1..=20)
                .map(|n| if per == "source" { opener(f.host(1, n), f.host(2, n)) } else { opener(f.host(2, n), f.host(1, n)) })
                .collect();
            let expected = if f == Family::V4 { 20 } else { 4 };
            assert_eq!(bench.through(hook, &packets), expected, "per {per}: twenty neighbours");
        });
    }
}

#[test]
fn above_the_rate_the_next_rule_decides() {
    let rules = |next: &str| {
        for_each_family("allow", "{ rate = \"1/h\", burst = 2 }")
            + &format!("[[rule]]\nid = \"next\"\naction = \"{next}\"\nprotocol = \"udp\"\n")
    };
    at_each_place(&rules("allow"), |bench, hook, f| {
        let before = bench.cli().hits("next");
        assert_eq!(bench.through(hook, &openers(f, 2, 1, 10)), 10);
        assert_eq!((bench.cli().hits(id(f)), bench.cli().hits("next") - before), (2, 8));
    });
    at_each_place(&rules("deny"), |bench, hook, f| {
        assert_eq!(bench.through(hook, &openers(f, 2, 1, 10)), 2);
        bench.refused(hook, "rule", &openers(f, 2, 1, 1)[0], "the next rule denies");
    });
}

#[test]
fn limit_on_deny_denies_so_many_and_lets_the_rest_go_on() {
    let rules = for_each_family("deny", "{ rate = \"1/h\", burst = 3 }") + "[[rule]]\naction = \"allow\"\n";
    at_each_place(&rules, |bench, hook, f| {
        bench.refused(hook, "rule", &openers(f, 2, 1, 1)[0], "within the rate");
        assert_eq!(bench.through(hook, &openers(f, 2, 1, 10)), 8, "two more are denied");
        assert_eq!(bench.cli().hits(id(f)), 3);
    });
}

#[test]
fn limit_on_pass_hands_so_many_to_the_next_policy() {
    for place in Place::ALL {
        let first =
            place.policy("a", &(for_each_family("pass", "{ rate = \"1/h\", burst = 3 }") + "[[rule]]\nid = \"shut\"\naction = \"deny\"\n"));
        let second = place.policy("b", "[[rule]]\naction = \"allow\"\n");
        let Some(bench) = Bench::start(&(first + second.trim_start_matches(VERSION))) else { return };
        for f in Family::BOTH {
            assert_eq!(bench.through(place.hook, &openers(f, 2, 1, 10)), 3, "{place:?} {f:?}");
            bench.refused(place.hook, "rule", &openers(f, 2, 1, 1)[0], "the next rule of the same policy");
        }
    }
}

#[test]
fn packets_that_do_not_match_otherwise_use_nothing_up() {
    let rule = |version, net: &str| {
        format!(
            "[[rule]]\naction = \"allow\"\nip_version = {version}\nprotocol = \"udp\"\nsource = {{ nets = [\"{net}\"] }}\n\
             destination = {{ ports = [53] }}\nlimit = {{ rate = \"1/h\", burst = 3 }}\n"
        )
    };
    at_each_place(&(rule(4, "10.1.0.0/30") + &rule(6, "fd00:1::/126")), |bench, hook, f| {
        let others: Vec<Packet> = (0..10).map(|n| Packet::udp(f.at(1, 2, 2000 + n), f.at(2, 1, 54))).collect();
        assert_eq!(bench.through(hook, &others), 0, "another port");
        assert_eq!(bench.through(hook, &openers(f, 77, 1, 10)), 0, "another source");
        assert_eq!(bench.through(hook, &openers(f, 2, 1, 10)), 3);
    });
}

#[test]
fn packets_of_a_running_flow_are_not_limited() {
    at_each_place(&for_each_family("allow", "{ rate = \"1/h\", burst = 2 }"), |bench, hook, f| {
        let (a, b) = (f.at(1, 2, 4000), f.at(2, 1, 53));
        let packets: Vec<Packet> = (0..100).map(|_| Packet::udp(a, b)).collect();
        assert_eq!(bench.through(hook, &packets), 100, "one flow");
        assert_eq!(bench.through(hook, &openers(f, 2, 1, 10)), 1, "one more flow");
        assert_eq!(bench.through(hook, &packets), 100, "the first flow goes on");
        let back = if hook == Hook::Ingress { Hook::Egress } else { Hook::Ingress };
        let answers: Vec<Packet> = (0..100).map(|_| Packet::udp(b, a)).collect();
        assert_eq!(bench.through(back, &answers), 100, "and its answers");
    });
}

#[test]
fn every_syn_counts_also_a_repeated_one() {
    let rules = for_each_family("allow", "{ rate = \"1/h\", burst = 3 }").replace("udp", "tcp");
    at_each_place(&rules, |bench, hook, f| {
        let syn = Packet::tcp(f.at(1, 2, 4000), f.at(2, 1, 80), SYN, 1000, 0);
        assert_eq!(bench.through(hook, &vec![syn; 8]), 3, "each is judged by the rules");
    });
}

#[test]
fn pings_are_limited_by_their_identifier_not_by_their_number() {
    let rules =
        for_each_family("allow", "{ rate = \"1/h\", burst = 3 }").replacen("\"udp\"", "\"icmp\"", 1).replacen("\"udp\"", "\"icmpv6\"", 1);
    at_each_place(&rules, |bench, hook, f| {
        let ping = |id| Packet::echo(f.host(1, 2), f.host(2, 1), f.echo().0, id);
        assert_eq!(bench.through(hook, &(0..50).map(|_| ping(1)).collect::<Vec<_>>()), 50, "one ping of fifty requests");
        assert_eq!(bench.through(hook, &(2..20).map(ping).collect::<Vec<_>>()), 2, "two more pings");
    });
}

#[test]
fn real_connections_are_limited_and_the_standing_ones_carry_data() {
    let rule = "[[rule]]\nid = \"web\"\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = { ports = [80] }\nlimit = { rate = \"1/h\", burst = 3, per = \"source\" }\n";
    let Some(bench) = Bench::start(&arriving(rule)) else { return };
    for f in Family::BOTH {
        let listener = sock::listen(&bench.net.dut, f.at(1, 1, 80));
        let open = || Connection::open(&bench.net.src, &listener, f.at(1, 1, 80));
        let mut connections: Vec<Connection> = (0..3).map(|_| open().expect("within the rate")).collect();
        assert!(sock::connect(&bench.net.src, f.at(1, 1, 80)).is_err(), "{f:?}: the fourth");
        for connection in &mut connections {
            assert!((0..20).all(|_| connection.lives()), "{f:?}: goes on");
        }
    }
}

#[test]
fn reload_judges_running_flows_again_and_uses_nothing_up() {
    let text = |comment: &str| {
        both_ways(&format!(
            "[[rule]]\nid = \"dns\"\naction = \"allow\"\nprotocol = \"udp\"\nlimit = {{ rate = \"1/h\", burst = 5, per = \"source\" }}\ncomment = \"{comment}\"\n\
             [[rule]]\naction = \"allow\"\nprotocol = \"udp\"\nsource = {{ ports = [{}] }}\n",
            7 + comment.len()
        ))
    };
    let Some(bench) = Bench::start(&text("a")) else { return };
    let flows = |f: Family, hook: Hook| -> Vec<Packet> {
        let host = if hook == Hook::Ingress { 1 } else { 3 };
        (0..3).map(|n| Packet::udp(f.at(host, 2, 4000 + n), f.at(2, 1, 53))).collect()
    };
    for hook in Hook::BOTH {
        for f in Family::BOTH {
            assert_eq!(bench.through(hook, &flows(f, hook)), 3, "{f:?} {hook:?}");
        }
    }
    bench.change(&text("bb"));
    for hook in Hook::BOTH {
        for f in Family::BOTH {
            assert_eq!(bench.through(hook, &flows(f, hook)), 3, "{f:?} {hook:?}: allowed again");
            let host = if hook == Hook::Ingress { 1 } else { 3 };
            let fresh: Vec<Packet> = (0..10).map(|_| opener(f.host(host, 2), f.host(2, 1))).collect();
            assert_eq!(bench.through(hook, &fresh), 2, "{f:?} {hook:?}: of five, three were used up, by the openers alone");
        }
    }
    bench.change(&text("ccc"));
    for hook in Hook::BOTH {
        for f in Family::BOTH {
            assert_eq!(bench.through(hook, &flows(f, hook)), 3, "{f:?} {hook:?}: allowed although nothing is left");
        }
    }
}

#[test]
fn reload_lets_the_flows_of_an_exhausted_rule_go_on() {
    let text = |port: u16| {
        for_each_family("allow", "{ rate = \"1/h\", burst = 3 }")
            + &format!("[[rule]]\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = {{ ports = [{port}] }}\n")
    };
    for place in Place::ALL {
        let Some(bench) = Bench::start(&place.policy("p", &text(80))) else { return };
        let flows = Family::BOTH.map(|f| openers(f, 2, 1, 3));
        assert_eq!(flows.each_ref().map(|flow| bench.through(place.hook, flow)), [3, 3], "{place:?}");
        bench.change(&place.policy("p", &text(81)));
        assert_eq!(flows.each_ref().map(|flow| bench.through(place.hook, flow)), [3, 3], "{place:?}: still within their rate");
    }
}

#[test]
fn twelve_limits_that_match_one_packet_are_asked_in_a_row() {
    let rules: String =
        (1..=12).map(|n| format!("[[rule]]\nid = \"r{n}\"\naction = \"allow\"\nlimit = {{ rate = \"1/h\", burst = {n} }}\n")).collect();
    let Some(bench) = Bench::with_rules(&rules) else { return };
    for hook in Hook::BOTH {
        let mixed: Vec<Packet> = Family::BOTH.into_iter().flat_map(|f| openers(f, 2, 1, 50)).collect();
        assert_eq!(bench.through(hook, &mixed), (1..=12).sum::<usize>(), "{hook:?}");
        assert!(bench.cli().reasons()["tail_call"] == 0 && bench.cli().reasons()["internal"] == 0);
    }
}

#[test]
fn two_rules_and_two_directions_keep_their_rates_apart() {
    let rule = |id: &str, port: u16| {
        format!(
            "[[rule]]\nid = \"{id}\"\naction = \"allow\"\nprotocol = \"udp\"\ndestination = {{ ports = [{port}] }}\nlimit = {{ rate = \"1/h\", burst = 3, per = \"source\" }}\n"
        )
    };
    let Some(bench) = Bench::with_rules(&(rule("a", 53) + &rule("b", 54))) else { return };
    for hook in Hook::BOTH {
        for f in Family::BOTH {
            for port in [53, 54] {
                let first = if hook == Hook::Ingress { 2000 } else { 3000 };
                let packets: Vec<Packet> = (0..10).map(|n| Packet::udp(f.at(1, 2, first + n), f.at(2, 1, port))).collect();
                assert_eq!(bench.through(hook, &packets), 3, "{f:?} {hook:?} port {port}");
            }
        }
    }
}

#[test]
fn test_blocks_are_judged_with_fresh_rates() {
    let Some(net) = Net::new() else { return };
    let test = |name: &str, expect: &str| {
        format!(
            "[[test]]\nname = \"{name}\"\ninterface = \"left\"\ndirection = \"ingress\"\n\
             packet = {{ protocol = \"udp\", source = \"10.1.0.2:1\", destination = \"10.1.0.1:53\" }}\nexpect = \"{expect}\"\n"
        )
    };
    let rules = "[[rule]]\naction = \"allow\"\nlimit = { rate = \"1/h\", burst = 1 }\n";
    net.write("10.toml", &(arriving(rules) + &test("one", "allow") + &test("two", "allow")));
    Cli(&net).run(&["check"]).expect(DONE);
    net.write("10.toml", &(arriving(rules) + &test("one", "deny")));
    Cli(&net).run(&["check"]).expect(REFUSED);
}
