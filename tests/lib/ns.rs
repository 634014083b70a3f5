//! One network namespace: made by name, entered by threads, removed on drop.
//!
//! Sockets that a thread opens inside stay inside for ever, so [`Namespace::run`] is enough to place any socket anywhere.

use std::fs::{self, File};
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::thread;

use crate::sys;

/// A named network namespace under `/run/netns`.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes the namespace and raises its loopback device.
    pub fn new(name: &str) -> Namespace {
        run("ip", &["netns", "add", name]);
        let path = format!("/run/netns/{name}");
        let file = File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let namespace = Namespace { name: name.into(), file };
        namespace.ip("link set lo up");
        namespace
    }

    /// Gives the network namespace of a process a name.
    pub fn of_process(name: &str, process: u32) -> Namespace {
        run("ip", &["netns", "attach", name, &process.to_string()]);
        let path = format!("/run/netns/{name}");
        let file = File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        Namespace { name: name.into(), file }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside. `nsenter`, not `ip netns exec`: the latter hides the pins of bpffs.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg(program).stdin(Stdio::null());
        command
    }

    /// Runs `ip` inside, with arguments separated by blanks.
    pub fn ip(&self, arguments: &str) {
        self.must("ip", arguments);
    }

    /// Whether this kernel can make a device of that kind; says aloud that the test is skipped where it cannot.
    pub fn can_make(&self, kind: &str, arguments: &str) -> bool {
        let add =
            self.command("ip").args(["link", "add", "name", "probe"]).args(arguments.split_whitespace()).output().expect("nsenter starts");
        if add.status.success() {
            self.ip("link del probe");
            return true;
        }
        let test = thread::current().name().unwrap_or("?").to_owned();
        let why = String::from_utf8_lossy(&add.stderr).trim().to_owned();
        crate::say::aloud(&format!("SKIPPED {test}: this kernel makes no {kind} device ({why})"));
        false
    }

    /// Runs a program inside, with arguments separated by blanks; it must succeed.
    pub fn must(&self, program: &str, arguments: &str) -> String {
        let output = self.command(program).args(arguments.split_whitespace()).output().unwrap_or_else(|e| panic!("{program}: {e}"));
        assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a closure in a thread that lives in this namespace.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                sys::enter_network(&self.file).unwrap_or_else(|e| panic!("cannot enter {}: {e}", self.name));
                inside()
            });
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Whether this kernel has a value below `/proc/sys/net`; says aloud that the test is skipped where it has not.
    pub fn has_sysctl(&self, key: &str) -> bool {
        let found = self.run(|| fs::exists(format!("/proc/sys/net/{key}"))).is_ok_and(|found| found);
        if !found {
            let test = thread::current().name().unwrap_or("?").to_owned();
            crate::say::aloud(&format!("SKIPPED {test}: this kernel has no {key}"));
        }
        found
    }

    /// Writes a value below `/proc/sys/net`.
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/net/{key}");
        self.run(|| fs::write(&path, value)).unwrap_or_else(|e| panic!("{path}: {e}"));
    }

    /// Index of an interface inside.
    pub fn index(&self, link: &str) -> u32 {
        self.run(|| sys::interface_index(link)).unwrap_or_else(|e| panic!("{link} in {}: {e}", self.name))
    }

    /// A counter of `/proc/net/snmp` (`Ip`, `ForwDatagrams`) or, with an empty table name, of `/proc/net/snmp6` (`Ip6InReceives`).
    pub fn stack_counter(&self, table: &str, name: &str) -> u64 {
        let file = if table.is_empty() { "/proc/thread-self/net/snmp6" } else { "/proc/thread-self/net/snmp" };
        let text = self.run(|| fs::read_to_string(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        counter(&text, table, name).unwrap_or_else(|| panic!("no counter {table} {name}"))
    }

    /// A counter of an interface (`tx_dropped`).
    pub fn link_counter(&self, link: &str, name: &str) -> u64 {
        let json: serde_json::Value =
            serde_json::from_str(&self.must("ip", &format!("-j -s -s link show dev {link}"))).expect("ip -j prints JSON");
        let (side, key) = name.split_once('_').expect("a counter is SIDE_NAME");
        json[0]["stats64"][side][key].as_u64().unwrap_or_else(|| panic!("no counter {name} on {link}"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes a namespace by name; says so where it cannot.
pub fn remove(name: &str) {
    match Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => {}
        Ok(status) => crate::say::aloud(&format!("namespace {name} is left behind: {status}")),
        Err(error) => crate::say::aloud(&format!("namespace {name} is left behind: {error}")),
    }
}

fn counter(text: &str, table: &str, name: &str) -> Option<u64> {
    if table.is_empty() {
        return text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    }
    let prefix = format!("{table}: ");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    let position = lines.next()?.split_whitespace().position(|column| column == name)?;
    lines.next()?.split_whitespace().nth(position)?.parse().ok()
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
}
