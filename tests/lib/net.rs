//! The world of one test: three namespaces in a row, the directories of one daemon, all removed on drop, on panic too.
//!
//!     src: eth0 10.1.0.2 fd00:1::2  ---  left  10.1.0.1 fd00:1::1 :dut
//!     dst: eth0 10.2.0.2 fd00:2::2  ---  right 10.2.0.1 fd00:2::1 :dut
//!
//! The dut forwards. Neighbours are fixed and link-local addresses absent, so nothing but the test's packets moves.
//! Names carry the process id and a number: tests run side by side.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::ns::Namespace;
use crate::{residue, say, sys, wait};

/// MAC address of the dut on the link to `src`.
pub const LEFT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
/// MAC address of the dut on the link to `dst`.
pub const RIGHT_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];
/// MAC address of `src`.
pub const SRC_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];
/// MAC address of `dst`.
pub const DST_MAC: [u8; 6] = [2, 0, 0, 0, 2, 2];

/// Where bpffs is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";

/// Three namespaces and the directories of one daemon.
#[derive(Debug)]
pub struct Net {
    /// Sends.
    pub src: Namespace,
    /// The protected host.
    pub dut: Namespace,
    /// Beyond the protected host.
    pub dst: Namespace,
    home: PathBuf,
    bpffs: PathBuf,
}

impl Net {
    /// The same with a bpffs that is mounted for this world alone.
    pub fn with_own_bpffs() -> Option<Net> {
        let mut net = Net::new()?;
        net.bpffs = net.scratch("bpffs");
        Some(net)
    }

    /// Makes the world; `None`, said aloud, where this process may not.
    pub fn new() -> Option<Net> {
        if sys::effective_user() != 0 {
            let test = std::thread::current().name().unwrap_or("?").to_owned();
            say::aloud(&format!("SKIPPED {test}: needs root for network namespaces (effective user is {})", sys::effective_user()));
            return None;
        }
        prepare_once();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}{}-{}", residue::PREFIX, std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let home = PathBuf::from("/run").join(&name);
        for part in ["policy", "run", "state"] {
            fs::create_dir_all(home.join(part)).unwrap_or_else(|e| panic!("{}: {e}", home.display()));
        }
        let namespace = |end: &str| Namespace::new(&format!("{name}-{end}"));
        let net = Net { src: namespace("src"), dut: namespace("dut"), dst: namespace("dst"), bpffs: Path::new(BPFFS).join(&name), home };
        net.connect();
        Some(net)
    }

    fn connect(&self) {
        for namespace in [&self.src, &self.dut, &self.dst] {
            for key in ["all", "default"] {
                namespace.sysctl(&format!("ipv4/conf/{key}/rp_filter"), "0");
                namespace.sysctl(&format!("ipv6/conf/{key}/accept_dad"), "0");
                namespace.sysctl(&format!("ipv6/conf/{key}/router_solicitations"), "0");
                namespace.sysctl(&format!("ipv6/conf/{key}/addr_gen_mode"), "1");
            }
        }
        self.dut.sysctl("ipv4/ip_forward", "1");
        self.dut.sysctl("ipv6/conf/all/forwarding", "1");
        let dut = self.dut.name();
        batch(&self.src, &end("left", dut, 1, "01:02", "01:01"));
        batch(&self.dst, &end("right", dut, 2, "02:02", "02:01"));
        batch(&self.dut, &(middle("left", 1, "01:01", "01:02") + &middle("right", 2, "02:01", "02:02")));
        for (namespace, link) in [(&self.src, "eth0"), (&self.dst, "eth0"), (&self.dut, "left"), (&self.dut, "right")] {
            await_link(namespace, link);
        }
    }

    /// Directory of the policy files.
    pub fn policy_dir(&self) -> PathBuf {
        self.home.join("policy")
    }

    /// Directory of the control socket.
    pub fn runtime_dir(&self) -> PathBuf {
        self.home.join("run")
    }

    /// Directory of the last good ruleset.
    pub fn state_dir(&self) -> PathBuf {
        self.home.join("state")
    }

    /// A file or directory of this test alone.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Directory of the daemon's pins.
    pub fn bpffs(&self) -> PathBuf {
        self.bpffs.clone()
    }

    /// Saves a policy file whole, by rename, as careful editors do.
    pub fn write(&self, file: &str, text: &str) {
        let target = self.policy_dir().join(file);
        let temporary = self.policy_dir().join(format!(".{file}.tmp"));
        fs::write(&temporary, text).unwrap_or_else(|e| panic!("{}: {e}", temporary.display()));
        fs::rename(&temporary, &target).unwrap_or_else(|e| panic!("{}: {e}", target.display()));
    }

    /// Removes a policy file.
    pub fn remove(&self, file: &str) {
        let path = self.policy_dir().join(file);
        fs::remove_file(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// The common options of every command, which keep this daemon apart from all others.
    pub fn options(&self) -> Vec<String> {
        let pairs = [
            ("--config-dir", self.policy_dir()),
            ("--bpffs", self.bpffs()),
            ("--runtime-dir", self.runtime_dir()),
            ("--state-dir", self.state_dir()),
        ];
        pairs.into_iter().flat_map(|(option, path)| [option.to_owned(), path.display().to_string()]).collect()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if self.bpffs.starts_with(&self.home) {
            residue::unmount(&self.bpffs);
        }
        for path in [self.bpffs(), self.home.clone()] {
            residue::remove_tree(&path);
        }
    }
}

fn end(peer: &str, dut: &str, net: u8, own: &str, other: &str) -> String {
    format!(
        "link add eth0 address 02:00:00:00:{own} type veth peer name {peer} address 02:00:00:00:{other} netns {dut}\n\
         link set eth0 up\n\
         address add 10.{net}.0.2/16 dev eth0\n\
         address add fd00:{net}::2/64 dev eth0 nodad\n\
         neighbour add 10.{net}.0.1 lladdr 02:00:00:00:{other} dev eth0\n\
         neighbour add fd00:{net}::1 lladdr 02:00:00:00:{other} dev eth0\n\
         route add default via 10.{net}.0.1\n\
         route add default via fd00:{net}::1\n"
    )
}

fn middle(link: &str, net: u8, own: &str, other: &str) -> String {
    assert_ne!(own, other, "two ends of a link");
    format!(
        "link set {link} up\n\
         address add 10.{net}.0.1/16 dev {link}\n\
         address add fd00:{net}::1/64 dev {link} nodad\n\
         neighbour add 10.{net}.0.2 lladdr 02:00:00:00:{other} dev {link}\n\
         neighbour add fd00:{net}::2 lladdr 02:00:00:00:{other} dev {link}\n"
    )
}

/// Waits until a link carries packets: the kernel gives it its queue some time after its carrier, and loses what is sent before.
pub fn await_link(namespace: &Namespace, link: &str) {
    let is_up = || namespace.must("ip", &format!("link show dev {link}")).contains("state UP");
    wait::until(&format!("{link} of {} is up", namespace.name()), Duration::from_secs(10), is_up);
}

/// Runs many lines of `ip` in one process.
pub fn batch(namespace: &Namespace, lines: &str) {
    let mut child =
        namespace.command("ip").args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nsenter starts");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("ip reads its batch");
    let output = child.wait_with_output().expect("ip ends");
    assert!(output.status.success(), "ip -batch: {}\n{lines}", String::from_utf8_lossy(&output.stderr));
}

/// Mounts bpffs where it is missing, and removes what killed test runs left behind.
fn prepare_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc/self/mounts");
        if !mounts.lines().any(|line| line.split(' ').nth(1) == Some(BPFFS)) {
            let status = Command::new("mount").args(["-t", "bpf", "bpf", BPFFS]).status().expect("mount starts");
            assert!(status.success(), "cannot mount {BPFFS}");
        }
        residue::sweep();
    });
}
