//! Other tools on our interface: what they cannot remove stays, and what they can is put back.

use std::time::Duration;

use netpol_tests::policy::{VERSION, allow_port, arriving};
use netpol_tests::{Bench, Family, Packet, wait};

fn denied(bench: &Bench) -> bool {
    let f = Family::V4;
    !bench.arrives(&Packet::udp(f.at(1, 2, 4000), f.at(1, 1, 54)))
}

#[test]
fn clsact_deleted_and_made_again_by_others_opens_nothing_for_long() {
    let Some(bench) = Bench::start(&arriving(&allow_port("dns", "udp", 53))) else { return };
    assert!(denied(&bench));
    for command in ["qdisc del dev left clsact", "qdisc add dev left clsact", "qdisc del dev left clsact"] {
        // Without a clsact of its own on TCX kernels the first deletion has nothing to delete.
        let status = bench.net.dut.command("tc").args(command.split(' ')).stderr(std::process::Stdio::null()).status().expect("tc");
        wait::until(&format!("denied after tc {command} ({status})"), Duration::from_secs(3), || denied(&bench));
    }
}

#[test]
fn xdp_program_of_ours_is_not_taken_off_by_ip_link() {
    let set = "[[set]]\nname = \"bad\"\nelements = [\"10.1.0.2\"]\n";
    let text = format!(
        "{VERSION}{set}[[policy]]\nname = \"x\"\ninterfaces = [\"left\"]\ndefault_action = {{ ingress = \"allow\" }}\n\
         [policy.xdp]\nmode = \"native\"\ndeny_sets = [\"bad\"]\n"
    );
    let Some(bench) = Bench::start(&text) else { return };
    assert!(denied(&bench));
    let mut command = bench.net.dut.command("ip");
    command.args(["-force", "link", "set", "left", "xdp", "off"]).stderr(std::process::Stdio::null());
    let status = command.status().expect("ip");
    wait::until(&format!("denied after ip link set xdp off ({status})"), Duration::from_secs(3), || denied(&bench));
}
