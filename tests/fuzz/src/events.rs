//! Samples of the event ring: one line each, whatever numbers they hold.

use std::path::Path;
use std::sync::LazyLock;

use netpol_ebpf::compile::compile;
use netpol_ebpf::compile::ruleset::{DeviceKind, LinkFacts};
use netpol_ebpf::kernel::event;
use netpol_ebpf::policy::load_at;
use netpol_ebpf::report::events::line;
use netpol_ebpf::report::names::SharedNames;
use netpol_ebpf::source::Snapshot;

const POLICY: &str = r#"version = 1
[[policy]]
name = "p"
interfaces = ["eth0"]
default_action = { ingress = "deny", egress = "deny" }
[[policy.ingress]]
id = "one"
action = "allow"
[[policy]]
name = "tried"
interfaces = ["eth0"]
mode = "audit"
default_action = { ingress = "deny" }
[[policy.ingress]]
id = "two"
action = "deny"
"#;

/// What the numbers 0 and 1 are called.
static NAMES: LazyLock<SharedNames> = LazyLock::new(|| {
    let mut snapshot = Snapshot::of(Path::new("/policies"), &[("a.toml".into(), POLICY.into())]);
    let policies = load_at(&mut snapshot, 0).policies.expect("a good policy");
    let device = DeviceKind::Ethernet;
    let eth0 = LinkFacts { ifindex: 1, name: "eth0".into(), device, accepts_router_advertisements: true, owners: Vec::new() };
    let names = SharedNames::default();
    names.learn(1, &compile(&policies, &[eth0]).expect("a ruleset"));
    names
});

/// The input as one sample.
pub fn run(bytes: &[u8]) {
    let Some(event) = event(bytes) else {
        assert!(bytes.len() < size_of::<netpol_probes::abi::np_event>());
        return;
    };
    let line = line(&event, &NAMES.lock());
    assert!(!line.is_empty() && line.len() < 1000 && !line.contains(char::is_control), "{line:?}");
}
