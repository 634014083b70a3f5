//! The command line of the binary under test, and the reading of its JSON.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use crate::machine::patience;
use crate::net::Net;
use crate::wait;

/// Exit code of "done".
pub const DONE: i32 = 0;
/// Exit code of "refused, or a difference or denial was found".
pub const REFUSED: i32 = 1;
/// Exit code of "usage or bad policy".
pub const BAD: i32 = 2;
/// Exit code of "could not reach or change the kernel".
pub const KERNEL: i32 = 3;

/// How long a command may take.
const LONGEST: Duration = Duration::from_secs(60);

/// The binary: `NETPOL_BIN`, else beside the test executable.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("NETPOL_BIN") {
        return std::fs::canonicalize(&path).unwrap_or_else(|e| panic!("NETPOL_BIN {path:?}: {e}"));
    }
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/TEST");
    let path = profile.join("netpol-ebpf");
    assert!(path.exists(), "{} is missing: build it first (make build), or name it in NETPOL_BIN", path.display());
    path
}

/// The binary with another number of layout: `NETPOL_OTHER_BIN`, else where `make test-programs` puts it.
pub fn other_binary() -> PathBuf {
    let named = std::env::var_os("NETPOL_OTHER_BIN").map(PathBuf::from);
    let path = named.unwrap_or_else(|| {
        let test = std::env::current_exe().expect("the path of this test");
        test.ancestors().nth(3).expect("target/PROFILE/deps/TEST").join("other-abi/netpol-ebpf")
    });
    assert!(path.exists(), "{} is missing: run make test-programs, or name it in NETPOL_OTHER_BIN", path.display());
    path
}

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    /// Exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Answer {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answer { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

impl Answer {
    /// Both streams.
    pub fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Fails the test unless the exit code is that.
    pub fn expect(self, code: i32) -> Answer {
        assert_eq!(self.code, code, "exit code; it said:\n{}", self.text());
        self
    }
}

/// Runs commands against the daemon of one test.
#[derive(Debug, Clone, Copy)]
pub struct Cli<'a>(pub &'a Net);

impl Cli<'_> {
    /// Runs a command with its arguments, the common options put behind it.
    pub fn run(&self, arguments: &[&str]) -> Answer {
        let mut command = self.0.dut.command("timeout");
        command.arg(patience(LONGEST).as_secs().to_string()).arg(binary()).args(arguments).args(self.0.options()).env("NO_COLOR", "1");
        command.output().unwrap_or_else(|e| panic!("{arguments:?}: {e}")).into()
    }

    /// Runs a reading command with `--json`.
    pub fn json(&self, command: &str) -> Value {
        let answer = self.run(&[command, "--json"]).expect(DONE);
        serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("{command} --json: {e}\n{}", answer.text()))
    }

    /// `status --json`.
    pub fn status(&self) -> Value {
        self.json("status")
    }

    /// The running generation, whatever its form.
    pub fn generation(&self) -> Value {
        self.status()["generation"].clone()
    }

    /// The last error as text; empty where there is none.
    pub fn last_error(&self) -> String {
        match &self.status()["last_error"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// The warnings, as one text.
    pub fn warnings(&self) -> String {
        self.status()["warnings"].to_string()
    }

    /// A page of the metrics that the policy serves on that port of the loopback device; empty where nobody listens.
    pub fn metrics(&self, port: u16) -> String {
        let ask = || {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
            let mut page = String::new();
            stream.read_to_string(&mut page)?;
            Ok::<_, std::io::Error>(page)
        };
        self.0.dut.run(ask).unwrap_or_default()
    }

    /// Waits until the running generation is another than that.
    pub fn wait_for_other(&self, than: &Value) {
        let changed = wait::poll(Duration::from_secs(10), || (self.generation() != *than).then_some(()));
        assert!(changed.is_some(), "no new generation within 10 s; last error: {}", self.last_error());
    }

    /// Packets dropped for a reason so far, over all hooks and interfaces.
    pub fn drops(&self, reason: &str) -> u64 {
        count(&self.status(), reason)
    }

    /// The line of `rules --json` with that id.
    pub fn rule(&self, id: &str) -> Value {
        let rules = self.json("rules");
        let list = rules.as_array().or_else(|| rules["rules"].as_array()).unwrap_or_else(|| panic!("no list of rules in {rules}"));
        list.iter().find(|rule| rule["id"] == id).unwrap_or_else(|| panic!("no rule {id} in {rules}")).clone()
    }

    /// Every drop counter so far.
    pub fn reasons(&self) -> BTreeMap<String, u64> {
        reasons(&self.status())
    }

    /// Packets that a rule judged.
    pub fn hits(&self, id: &str) -> u64 {
        self.rule(id)["packets"].as_u64().unwrap_or_else(|| panic!("packets of {id} is not a number"))
    }
}

/// Every reason for a drop that the product names.
pub const REASONS: [&str; 30] = [
    "malformed",
    "extension_headers",
    "source_route",
    "routing_header",
    "loopback_address",
    "multicast_source",
    "unspecified_source",
    "llc_ip",
    "ethertype",
    "fragment",
    "fragment_conflict",
    "fragments_refused",
    "deny_set",
    "no_connection",
    "conntrack_full",
    "icmp_redirect",
    "rule",
    "default",
    "tail_call",
    "internal",
    "unreadable",
    "reject",
    "rate_limit",
    "reverse_path",
    "allowed_sources",
    "allowed_macs",
    "arp",
    "bogon",
    "syn_cookie",
    "not_yet_enforced",
];

/// All drop counters of a status.
pub fn reasons(status: &Value) -> BTreeMap<String, u64> {
    REASONS.iter().map(|reason| ((*reason).to_owned(), count(status, reason))).collect()
}

/// The sum of all counters with that name, in the forms `{ "NAME": n }` and `{ "reason": "NAME", "packets": n }`.
fn count(value: &Value, name: &str) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(|item| count(item, name)).sum(),
        Value::Object(fields) if fields.get("reason").is_some_and(|reason| reason == name) => {
            fields.get("packets").and_then(Value::as_u64).unwrap_or(0)
        }
        Value::Object(fields) => fields
            .iter()
            .map(|(key, field)| match field.as_u64() {
                Some(packets) if key == name => packets,
                Some(_) => 0,
                None => count(field, name),
            })
            .sum(),
        _ => 0,
    }
}
