//! `[daemon] metrics`: status and rules over HTTP, on the address that the policy names.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::{Bench, Family, wait};

use crate::matrix::udp_to;

fn serving(port: u16) -> String {
    let policy = arriving(&allow_port("one", "udp", 53));
    format!("{VERSION}[daemon]\nmetrics = {{ listen = \"127.0.0.1:{port}\" }}\n{}", policy.trim_start_matches(VERSION))
}

/// What `GET PATH` answers: status line, headers and body; empty where nobody listens.
fn get(bench: &Bench, port: u16, path: &str) -> String {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(netpol_tests::machine::patience(Duration::from_secs(5))))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok::<_, io::Error>(page)
    };
    bench.net.dut.run(ask).unwrap_or_default()
}

#[test]
fn counters_are_served_and_the_listener_follows_the_policy() {
    let Some(bench) = Bench::start(&serving(9472)) else { return };
    assert!(bench.arrives(&udp_to(Family::V4, 53)) && !bench.arrives(&udp_to(Family::V4, 54)));
    let page = get(&bench, 9472, "/metrics");
    assert!(page.contains("200 OK") && page.contains("netpol_degraded 0"), "{page}");
    assert!(page.contains("netpol_packets_dropped_total{reason=\"default\"} 1"), "{page}");
    assert!(
        page.contains("netpol_rule_packets_total{policy=\"arriving\",direction=\"ingress\",rule=\"one\",action=\"allow\"} 1"),
        "{page}"
    );
    assert!(page.contains("netpol_log_events_lost_total 0") && page.contains("netpol_log_lines_lost_total 0"), "{page}");
    wait::until("the tables are counted", Duration::from_secs(15), || {
        let page = get(&bench, 9472, "/metrics");
        page.contains("netpol_flows{table=\"half_open\"} 1\n") && page.contains("netpol_flows_max{table=\"connections\"} 262144\n")
    });
    assert!(get(&bench, 9472, "/").contains("404"));
    bench.net.write("10-test.toml", &serving(9473));
    wait::until("the other port", Duration::from_secs(8), || get(&bench, 9473, "/metrics").contains("200 OK"));
    assert!(get(&bench, 9472, "/metrics").is_empty(), "the former port is closed");
}
