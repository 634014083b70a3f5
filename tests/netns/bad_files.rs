//! A bad file changes nothing: the running generation stays, the status says why.

use std::fs;
use std::time::Duration;

use netpol_tests::policy::{VERSION, allow_port, arriving, policy};
use netpol_tests::{Bench, Family, wait};

use crate::matrix::udp_to;

fn good() -> String {
    arriving(&allow_port("dns", "udp", 53))
}

fn unchanged(bench: &Bench, what: &str) {
    for f in Family::BOTH {
        assert!(bench.arrives(&udp_to(f, 53)), "{what}, {f:?}: allowed as before");
        assert!(!bench.arrives(&udp_to(f, 54)), "{what}, {f:?}: denied as before");
    }
}

/// What is wrong, the second file, and a word that the error must hold besides the file's name.
fn bad_files() -> Vec<(&'static str, String, &'static str)> {
    let with = |text: &str| format!("{VERSION}{text}");
    vec![
        ("an empty file", String::new(), ""),
        ("no version", "[[set]]\nname = \"s\"\nelements = [\"10.0.0.1\"]\n".into(), "version"),
        ("another version", "version = 2\n".into(), "version"),
        ("half a line", with("[[policy]]\nname = \"x\"\ninterfa"), ""),
        ("an unknown key", with("[[policy]]\nname = \"x\"\ninterfaces = [\"left\"]\ninterfacess = [\"left\"]\n"), "interfaces"),
        ("an unknown set", policy("x", "[[policy.ingress]]\naction = \"allow\"\nsource = { sets = [\"nobody\"] }"), "nobody"),
        ("a policy of the same name", policy("arriving", "policy_types = [\"ingress\"]"), "arriving"),
        ("a missing set file", with("[[set]]\nname = \"s\"\nfiles = [\"absent.txt\"]\n"), "absent.txt"),
        ("an empty selector", policy("x", "[[policy.ingress]]\naction = \"allow\"\nsource = { nets = [] }"), "nets"),
        ("a bad address", with("[[set]]\nname = \"s\"\nelements = [\"10.0.0.300\"]\n"), "10.0.0.300"),
        (
            "ports of a protocol without ports",
            policy("x", "[[policy.ingress]]\naction = \"allow\"\nprotocol = \"gre\"\ndestination = { ports = [1] }"),
            "ports",
        ),
        (
            "a rule for a direction outside policy_types",
            policy("x", "policy_types = [\"egress\"]\n[[policy.ingress]]\naction = \"allow\""),
            "ingress",
        ),
        ("a workload policy on the host's interface", policy("x", "endpoint = \"workload\"\npolicy_types = [\"ingress\"]"), "left"),
        (
            "an IPv6 net in an IPv4 rule",
            policy("x", "[[policy.ingress]]\naction = \"allow\"\nip_version = 4\nsource = { nets = [\"fd00::/8\"] }"),
            "fd00::/8",
        ),
        (
            "two rules with one id",
            policy("x", "[[policy.ingress]]\nid = \"twin\"\naction = \"allow\"\n[[policy.ingress]]\nid = \"twin\"\naction = \"deny\""),
            "twin",
        ),
        ("no TOML at all", "\u{1}\u{2}\u{3}\n".into(), ""),
    ]
}

#[test]
fn bad_file_leaves_the_running_generation_and_is_named_in_the_status() {
    let Some(bench) = Bench::start(&good()) else { return };
    let generation = bench.cli().generation();
    for (what, text, word) in bad_files() {
        bench.net.write("20-bad.toml", &text);
        let error = wait::poll(Duration::from_secs(5), || Some(bench.cli().last_error()).filter(|error| !error.is_empty()));
        let error = error.unwrap_or_else(|| panic!("{what}: no error within 5 s"));
        assert!(error.contains("20-bad.toml"), "{what}: the error names the file: {error}");
        assert!(error.contains(word), "{what}: the error names {word}: {error}");
        assert_eq!(bench.cli().generation(), generation, "{what}");
        unchanged(&bench, what);
        bench.net.remove("20-bad.toml");
        wait::until("the error is gone with its file", Duration::from_secs(5), || bench.cli().last_error().is_empty());
    }
    unchanged(&bench, "in the end");
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let Some(bench) = Bench::start(&good()) else { return };
    fs::write(bench.net.policy_dir().join("20-bad.toml"), [0xff, 0xfe, 0x00, 0x80]).expect("a file");
    wait::until("an error", Duration::from_secs(5), || bench.cli().last_error().contains("20-bad.toml"));
    unchanged(&bench, "binary file");
}

#[test]
fn file_written_byte_by_byte_goes_live_only_when_it_is_whole() {
    let Some(bench) = Bench::start(&good()) else { return };
    let wanted = arriving(&(allow_port("dns", "udp", 53) + &allow_port("ntp", "udp", 123)));
    let path = bench.net.policy_dir().join("10-test.toml");
    let half = &wanted[..wanted.len() / 2];
    for end in (0..half.len()).step_by(7) {
        fs::write(&path, &half[..end]).expect("a file");
        std::thread::sleep(Duration::from_millis(5));
        assert!(bench.arrives(&udp_to(Family::V4, 53)), "after {end} bytes");
        assert!(!bench.arrives(&udp_to(Family::V4, 54)), "after {end} bytes");
    }
    fs::write(&path, &wanted).expect("a file");
    wait::until("the whole file is enforced", Duration::from_secs(5), || bench.arrives(&udp_to(Family::V4, 123)));
    unchanged(&bench, "in the end");
}

#[test]
fn emptied_directory_is_not_an_empty_policy() {
    let Some(bench) = Bench::start(&good()) else { return };
    let path = bench.net.policy_dir();
    fs::rename(&path, bench.net.scratch("away")).expect("moved away");
    std::thread::sleep(Duration::from_millis(1500));
    unchanged(&bench, "the directory is gone");
    fs::rename(bench.net.scratch("away"), &path).expect("moved back");
    bench.change(&arriving(&(allow_port("dns", "udp", 53) + &allow_port("ntp", "udp", 123))));
    assert!(bench.arrives(&udp_to(Family::V4, 123)), "the directory is watched again");
}

#[test]
fn editor_droppings_are_not_read() {
    let Some(bench) = Bench::start(&good()) else { return };
    for name in [".hidden.toml", "10-test.toml~", "10-test.toml.swp", ".10-test.toml.swp", "x.tmp", "notes.txt", "README"] {
        fs::write(bench.net.policy_dir().join(name), "this is no policy").expect("a file");
    }
    std::thread::sleep(Duration::from_millis(1000));
    assert_eq!(bench.cli().last_error(), "");
    unchanged(&bench, "droppings");
}
