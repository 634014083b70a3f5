//! Policies that name a container or a machine, with real packets to processes in networks of their own: on the interfaces of that owner
//! and on no other, whatever its manager's files say.

use std::time::{Duration, Instant};

use netpol_tests::cli::Cli;
use netpol_tests::contained::{Container, Engine, Host, id};
use netpol_tests::machine::patience;
use netpol_tests::policy::VERSION;
use netpol_tests::{Daemon, Family, Net, say, sock, wait};

const PATIENCE: Duration = Duration::from_secs(20);
/// The daemon looks every second whatever it is told; longer than two looks.
const LOOKS: Duration = Duration::from_millis(2500);

/// UDP to port 53 of an owner's interfaces, and nothing else.
fn policy(owner: &str) -> String {
    format!(
        "{VERSION}[[policy]]\nname = \"owned\"\n{owner}\nendpoint = \"workload\"\ndefault_action = {{ ingress = \"deny\" }}\n\
         [[policy.ingress]]\nid = \"dns\"\naction = \"allow\"\nprotocol = \"udp\"\ndestination = {{ ports = [53] }}\n"
    )
}

/// A dut with its own `/var/lib` and `/run`, and a daemon with that policy.
fn world(owner: &str) -> Option<(Daemon, Host, Net)> {
    let net = Net::new()?;
    let host = Host::new(&net)?;
    net.write("10-test.toml", &policy(owner));
    let daemon = host.daemon(&net);
    assert_eq!(Cli(&net).last_error(), "", "the test's own policy is good");
    Some((daemon, host, net))
}

/// A datagram to a port arrives within `limit`.
fn arrives(net: &Net, container: &Container, family: Family, port: u16, limit: Duration) -> bool {
    let at = container.at(family, port);
    let (server, client) = (sock::udp(&container.inside, at), sock::udp(&net.dut, family.any(0)));
    server.set_read_timeout(Some(patience(limit))).expect("a read timeout");
    sock::datagram_passes(&client, &server, at)
}

/// What must arrive may be late: a machine that stands still for a moment is no verdict.
fn passes(net: &Net, container: &Container, family: Family, port: u16) -> bool {
    arrives(net, container, family, port, PATIENCE)
}

fn is_refused(net: &Net, container: &Container, family: Family, port: u16) -> bool {
    !arrives(net, container, family, port, sock::PATIENCE)
}

/// Names of the interfaces under policy.
fn covered(net: &Net) -> Vec<String> {
    let status = Cli(net).status();
    let names = status["interfaces"].as_array().expect("interfaces").iter();
    names.filter_map(|interface| Some(interface["name"].as_str()?.to_owned())).collect()
}

fn enforced(net: &Net, container: &Container, when: &str) {
    wait::until(when, PATIENCE, || covered(net) == [container.link.as_str()]);
    for f in Family::BOTH {
        assert!(passes(net, container, f, 53), "{when}, {f:?}: allowed");
        assert!(is_refused(net, container, f, 54), "{when}, {f:?}: denied");
    }
}

fn open(net: &Net, container: &Container, when: &str) {
    for f in Family::BOTH {
        assert!(passes(net, container, f, 54), "{when}, {f:?}: {} is none of the policy's", container.link);
    }
}

#[test]
fn policy_of_an_owner_is_enforced_on_its_interface_and_on_no_other_and_follows_it() {
    for (engine, owner) in
        [(Engine::Docker, "container = \"shop\""), (Engine::Podman, "container = \"shop\""), (Engine::Machined, "machine = \"shop\"")]
    {
        let Some((_daemon, host, net)) = world(owner) else { return };
        let other = Container::start(&host, &net, engine, &id(1), "veth-other", 21);
        let shop = Container::start(&host, &net, engine, &id(2), "veth-shop", 22);
        open(&net, &shop, "nobody has told whose it is");
        let told = Instant::now();
        host.tell(engine, "shop", &id(2), shop.process.id());
        wait::until("it is under policy", PATIENCE, || covered(&net) == ["veth-shop"]);
        let first = told.elapsed();
        enforced(&net, &shop, "told");
        open(&net, &other, "told");

        // It is started again: another process, network, interface and, but for its name, nothing that was before.
        drop(shop);
        wait::until("nothing is under policy", PATIENCE, || covered(&net).is_empty());
        let shop = Container::start(&host, &net, engine, &id(3), "veth-again", 23);
        let told = Instant::now();
        host.tell(engine, "shop", &id(3), shop.process.id());
        wait::until("it is under policy again", PATIENCE, || covered(&net) == ["veth-again"]);
        let again = told.elapsed();
        enforced(&net, &shop, "started again");
        open(&net, &other, "started again");
        say::aloud(&format!(
            "{engine:?}: under policy {} ms after its manager's file, {} ms after a restart (asked by `status`)",
            first.as_millis(),
            again.as_millis()
        ));
    }
}

#[test]
fn container_that_has_ended_leaves_nothing_under_policy() {
    let Some((_daemon, host, net)) = world("container = \"shop\"") else { return };
    let shop = Container::start(&host, &net, Engine::Docker, &id(1), "veth-shop", 21);
    host.tell(Engine::Docker, "shop", &id(1), shop.process.id());
    enforced(&net, &shop, "it runs");
    host.tell_end("shop", &id(1));
    wait::until("nothing is under policy", PATIENCE, || covered(&net).is_empty());
    open(&net, &shop, "its engine says that it has ended");
}

/// `--network host`, a number that was given again, a file that outlived its container: none of them is a claim on what is the host's.
#[test]
fn nothing_but_the_owners_own_interfaces_is_ever_selected() {
    let Some((_daemon, host, net)) = world("container = \"shop\"") else { return };
    let other = Container::start(&host, &net, Engine::Docker, &id(1), "veth-other", 21);
    let in_the_hosts_network = host.process(&net, &["env"], &format!("docker-{}.scope", id(2)));
    let unproven = host.process(&net, &["unshare", "--net"], "some.service");
    for (what, number, process) in [
        ("a container in the host's network", 2, in_the_hosts_network.id()),
        ("a process of another container", 3, other.process.id()),
        ("a process of no container", 4, unproven.id()),
        ("the first process of all", 5, 1),
        ("no process", 6, 0),
        ("a process that is gone", 7, 4_194_303),
    ] {
        host.tell(Engine::Docker, "shop", &id(number), process);
        std::thread::sleep(LOOKS);
        assert_eq!(covered(&net), Vec::<String>::new(), "{what}");
        open(&net, &other, what);
        host.tell_end("shop", &id(number));
    }
}

/// `--network container:shop`: one network, two containers, and the policies of both.
#[test]
fn container_in_the_network_of_another_shares_its_interface() {
    let Some((_daemon, host, net)) = world("container = \"shop\"") else { return };
    let pod = Container::start(&host, &net, Engine::Podman, &id(1), "veth-pod", 21);
    let inside = format!("--net=/proc/{}/ns/net", pod.process.id());
    let shop = host.process(&net, &["nsenter", &inside], &format!("libpod-{}.scope", id(2)));
    host.tell(Engine::Podman, "shop", &id(2), shop.id());
    enforced(&net, &pod, "the second one is named");
}

#[test]
fn two_engines_with_one_name_are_both_under_policy() {
    let Some((_daemon, host, net)) = world("container = \"shop\"") else { return };
    let docker = Container::start(&host, &net, Engine::Docker, &id(1), "veth-docker", 21);
    let podman = Container::start(&host, &net, Engine::Podman, &id(2), "veth-podman", 22);
    host.tell(Engine::Docker, "shop", &id(1), docker.process.id());
    host.tell(Engine::Podman, "shop", &id(2), podman.process.id());
    wait::until("both are under policy", PATIENCE, || covered(&net).len() == 2);
    for (container, f) in [&docker, &podman].into_iter().flat_map(|container| Family::BOTH.map(|f| (container, f))) {
        assert!(passes(&net, container, f, 53) && is_refused(&net, container, f, 54), "{f:?}, {}", container.link);
    }
}

/// Makes the daemon look at all interfaces: another one comes and goes.
fn look_again(net: &Net) {
    std::thread::sleep(LOOKS);
    net.dut.ip("link add other7 type veth peer name other8");
    std::thread::sleep(LOOKS);
    net.dut.ip("link del other7");
}

/// Without any privilege: a user and a network namespace of its own, while its children stay where they were.
#[test]
fn container_whose_first_process_leaves_its_network_stays_under_policy() {
    let Some((_daemon, host, net)) = world("container = \"shop\"") else { return };
    let network = Container::start(&host, &net, Engine::Docker, &id(1), "veth-shop", 22);
    let inside = format!("--net=/proc/{}/ns/net", network.process.id());
    let go = net.scratch("go");
    // It is called as the sleeping process that it becomes.
    let leave = "setpriv --reuid 65534 --regid 65534 --clear-groups unshare --user --net sleep 600";
    let script = format!("echo sleep > /proc/$$/comm; until [ -e {} ]; do sleep 0.1; done; exec {leave}", go.display());
    let shop = host.process(&net, &["nsenter", &inside, "sh", "-c", &script], &format!("docker-{}.scope", id(2)));
    host.tell(Engine::Docker, "shop", &id(2), shop.id());
    enforced(&net, &network, "told");
    let before = std::fs::read_link(format!("/proc/{}/ns/net", shop.id())).expect("its network");
    std::fs::write(go, "").expect("a file");
    let left = || std::fs::read_link(format!("/proc/{}/ns/net", shop.id())).is_ok_and(|now| now != before);
    wait::until("it has left", PATIENCE, left);
    look_again(&net);
    enforced(&net, &network, "its first process has left");
}

/// With CAP_NET_ADMIN in its own network (machines, `--cap-add NET_ADMIN`).
#[test]
fn container_that_moves_its_end_into_a_nested_network_stays_under_policy() {
    let Some((_daemon, host, net)) = world("container = \"shop\"") else { return };
    let shop = Container::start(&host, &net, Engine::Docker, &id(1), "veth-shop", 22);
    host.tell(Engine::Docker, "shop", &id(1), shop.process.id());
    enforced(&net, &shop, "told");
    let from = format!("--net=/proc/{}/ns/net", shop.process.id());
    let nested = host.process(&net, &["nsenter", &from, "unshare", "--net"], "nested");
    shop.inside.ip(&format!("link set eth0 netns {}", nested.id()));
    look_again(&net);
    assert_eq!(covered(&net), ["veth-shop"]);
}
