//! Published ports, as Docker and Podman make them: destination NAT on the way in. On the card a policy sees the port that the client
//! asked for, on the container's veth the one that it has become; each refuses on its own.

use std::time::Duration;

use netpol_tests::policy::VERSION;
use netpol_tests::{Bench, Family, say, sock, wait};

/// The card is `left`, the container `dst` behind `right`; 8080 of the card is published as 80 of the container.
const NAT: &str = "\
table inet published {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        iifname \"left\" meta nfproto ipv4 tcp dport 8080 dnat ip to 10.2.0.2:80
        iifname \"left\" meta nfproto ipv6 tcp dport 8080 dnat ip6 to [fd00:2::2]:80
    }
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname \"right\" masquerade
    }
}
";

/// What the card lets in, and what goes to the container.
fn policies(card: u16, container: u16) -> String {
    let policy = |name: &str, link: &str, endpoint: &str, port: u16| {
        format!(
            "[[policy]]\nname = \"{name}\"\ninterfaces = [\"{link}\"]\nendpoint = \"{endpoint}\"\ndefault_action = {{ ingress = \"deny\", egress = \"deny\" }}\n\
             [[policy.ingress]]\nid = \"{name}\"\naction = \"allow\"\nprotocol = \"tcp\"\ndestination = {{ ports = [{port}] }}\n"
        )
    };
    format!("{VERSION}{}{}", policy("card", "left", "host", card), policy("container", "right", "workload", container))
}

#[test]
fn card_judges_before_destination_nat_and_the_veth_after_it() {
    let Some(bench) = Bench::start(&policies(8080, 80)) else { return };
    let rules = bench.net.scratch("nat.nft");
    std::fs::write(&rules, NAT).expect("a file");
    let made = bench.net.dut.command("nft").arg("-f").arg(&rules).output().expect("nft starts");
    if !made.status.success() {
        return say::aloud(&format!("SKIPPED published ports: no NAT here ({})", String::from_utf8_lossy(&made.stderr).trim()));
    }
    for f in Family::BOTH {
        let listener = sock::listen(&bench.net.dst, f.at(2, 2, 80));
        let connects = || sock::connect(&bench.net.src, f.at(1, 1, 8080)).is_ok();
        let mut standing = sock::Connection::open(&bench.net.src, &listener, f.at(1, 1, 8080)).expect("both let it through");
        assert!(standing.lives(), "{f:?}: replies pass, and are translated back");

        // The container's port on the card is not what the client asked for.
        bench.change(&policies(80, 80));
        assert!(!connects(), "{f:?}: the card sees 8080, whatever it becomes");
        assert!(standing.is_cut(), "{f:?}: and judges the running connection again");
        bench.change(&policies(8080, 8080));
        assert!(!connects(), "{f:?}: the veth sees 80, whatever it was");
        bench.change(&policies(8080, 80));
        wait::until("connections are made again", Duration::from_secs(10), connects);
    }
}
