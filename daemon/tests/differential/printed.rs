//! What is printed is read again as the same model.

use netpol_ebpf::policy::model::{Origin, PolicySet};

use crate::bench::{ROOM, policies};
use crate::policies::text;
use crate::print::{moment, toml};
use crate::random::Random;

/// The same model, wherever it was written and however its sets were spelled.
pub fn without_places(set: &PolicySet) -> PolicySet {
    let origin = Origin { file: "".into(), line: 0, column: 0 };
    let mut set = set.clone();
    let entries = set.daemon.failsafe_inbound.iter_mut().chain(&mut set.daemon.failsafe_outbound);
    entries.for_each(|entry| entry.origin = origin.clone());
    for one in &mut set.sets {
        (one.origin, one.element_count) = (origin.clone(), 0);
    }
    for policy in &mut set.policies {
        policy.origin = origin.clone();
        policy.anti_spoof.iter_mut().for_each(|checks| checks.origin = origin.clone());
        for chain in policy.ingress.iter_mut().chain(&mut policy.egress) {
            chain.default_origin = origin.clone();
            chain.rules.iter_mut().for_each(|rule| rule.origin = origin.clone());
        }
    }
    set
}

#[test]
fn what_is_printed_means_the_same() {
    let (mut read, mut seed) = (0, 0);
    while read < 250 {
        let written = text(&mut Random::new(seed), ROOM).toml();
        seed += 1;
        let Ok(model) = policies(&written) else { continue };
        let printed = format!("version = 1\n{}", toml(&model));
        let again = policies(&printed).unwrap_or_else(|errors| panic!("{written}\n--- printed as\n{printed}\n{errors}"));
        assert_eq!(without_places(&again), without_places(&model), "{written}\n--- printed as\n{printed}");
        read += 1;
    }
}

#[test]
fn what_no_generator_says_is_printed_too() {
    let every_key = "[daemon]\non_stop = \"detach\"\nreload = \"manual\"\nlog = { rate = \"30/minute\", burst = 5 }\nconfirm_timeout = \"90s\"\n\
         live_session_guard = false\nmetrics = { listen = \"127.0.0.1:9472\" }\n[daemon.conntrack]\ntcp_syn = \"7s\"\nudp = \"1h\"\n\
         [[set]]\nname = \"a\"\ndynamic = true\ntimeout = \"24h\"\nmax_entries = 1000\nelements = [\"10.0.0.1-10.0.0.9\"]\n\
         [[policy]]\nname = \"p\"\ndescription = \"\\\"all\\\" \\\\ keys\"\ncontainer = \"c\"\norder = -7\n\
         [[policy.ingress]]\naction = \"reject\"\nreject_with = \"admin-prohibited\"\ncomment = \"why\\nnot\"\nprotocol = \"tcp\"\n\
         tcp_flags = \"syn,!ack,!cwr\"\nexpires = 2400-02-29T23:59:59Z\nvlan = [1, 4094]\nlimit = { rate = \"7/second\", per = \"destination\" }\n\
         [[policy]]\nname = \"q\"\ninterfaces = [\"h?\", \"!h[1-9]\", \"lo\"]\n[policy.xdp]\nsyn_cookies = [80, \"8000-8010\"]\nmode = \"native\"\n";
    let model = policies(&format!("version = 1\n{every_key}")).unwrap();
    let printed = format!("version = 1\n{}", toml(&model));
    assert_eq!(without_places(&policies(&printed).unwrap()), without_places(&model), "{printed}");
}

#[test]
fn moments_are_printed_as_they_are_read() {
    for (unix, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (951_825_600, "2000-02-29T12:00:00Z"),
        (1_798_675_200, "2026-12-31T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ] {
        assert_eq!(moment(unix), text);
    }
}
