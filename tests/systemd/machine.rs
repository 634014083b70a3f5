//! A booted systemd of its own, with the product installed by `make install`, and a link to the bench's sender.
//!
//! Knows `boot.sh`, which makes the namespaces, and `nsenter`, which looks into them. Everything is removed on drop.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use netpol_tests::cli::{Answer, binary};
use netpol_tests::ns::Namespace;
use netpol_tests::{residue, say, sys, wait};

/// A system that boots takes a second here; this is for busy machines.
const BOOT: Duration = Duration::from_secs(60);

/// What the machine is before it boots: files below its root.
pub struct Image {
    work: PathBuf,
    name: String,
}

/// A running machine; powered off and removed on drop.
pub struct Machine {
    /// Removed after the machine.
    _image: Image,
    boot: Child,
    leader: u32,
    /// Sends: a namespace whose `eth0` (10.1.0.2, fd00:1::2) leads to `left` (10.1.0.1, fd00:1::1) of the machine.
    pub src: Namespace,
}

impl Image {
    /// The product installed and enabled; `None`, said aloud, where this process may not.
    pub fn new() -> Option<Image> {
        let image = Image::without_the_product()?;
        image.install();
        Some(image)
    }

    /// Without the product; `None`, said aloud, where this process may not.
    pub fn without_the_product() -> Option<Image> {
        if sys::effective_user() != 0 {
            let test = std::thread::current().name().unwrap_or("?").to_owned();
            say::aloud(&format!("SKIPPED {test}: needs root to boot a system (effective user is {})", sys::effective_user()));
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}{}-sd{}", residue::PREFIX, std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let work = PathBuf::from("/run").join(&name);
        fs::create_dir_all(&work).unwrap_or_else(|e| panic!("{}: {e}", work.display()));
        must(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", &name]).arg(&work));
        Some(Image { work, name })
    }

    /// As the README says, into the machine's own tree.
    fn install(&self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let make = must(
            Command::new("make")
                .arg("-C")
                .arg(&root)
                .arg("install")
                .arg(format!("DESTDIR={}", self.work.join("upper").display()))
                .arg("PREFIX=/usr")
                .arg(format!("BIN={}", binary().display())),
        );
        assert!(self.work.join("upper/usr/sbin/netpol-ebpf").exists(), "make install: {make}");
        self.enable("netpol-ebpf.service");
    }

    /// `systemctl enable`, before the boot.
    pub fn enable(&self, unit: &str) {
        let path = self.work.join("enable");
        let listed = fs::read_to_string(&path).unwrap_or_default();
        write(&path, &format!("{listed}{unit}\n"));
    }

    /// A unit of the machine, by its name below `/etc/systemd/system`.
    pub fn unit(&self, name: &str, text: &str) {
        write(&self.work.join("units").join(name), text);
    }

    /// A file of the machine, by its path.
    pub fn file(&self, path: &str, text: &str) {
        write(&self.work.join("upper").join(path.trim_start_matches('/')), text);
    }

    /// A copy of a file of the host, by its path in the machine.
    pub fn copy(&self, source: &Path, path: &str) {
        self.file(path, "");
        fs::copy(source, self.work.join("upper").join(path.trim_start_matches('/')))
            .unwrap_or_else(|e| panic!("{}: {e}", source.display()));
    }

    /// A directory that is a link to another, as configuration in a store is.
    pub fn link_directory(&self, path: &str, target: &str) {
        let path = self.work.join("upper").join(path.trim_start_matches('/'));
        if path.is_dir() {
            fs::remove_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
        std::os::unix::fs::symlink(target, &path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// A policy file.
    pub fn policy(&self, name: &str, text: &str) {
        self.file(&format!("/etc/netpol.d/{name}"), text);
    }

    /// Boots it. Its interface `left` is there before systemd starts anything of ours, and is raised at `network-pre.target`.
    pub fn boot(self) -> Machine {
        let src = Namespace::new(&self.name);
        let log = fs::File::create(self.work.join("boot.log")).expect("a file for the boot's words");
        self.unit("netpol-test-link.service", LINK);
        self.enable("netpol-test-link.service");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/boot.sh");
        let mut boot = Command::new(script)
            .arg(&self.work)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("boot.sh starts");
        let leader = wait::poll(BOOT, || {
            assert!(boot.try_wait().expect("the state of a child").is_none(), "boot.sh ended:\n{}", self.log());
            first_child(boot.id()).filter(|child| command_of(*child).as_deref() == Some("systemd"))
        });
        let leader = leader.unwrap_or_else(|| panic!("no systemd within {BOOT:?}:\n{}", self.log()));
        src.ip(&format!("link add eth0 address 02:00:00:00:01:02 type veth peer name left address 02:00:00:00:01:01 netns {leader}"));
        for line in ["link set eth0 up", "address add 10.1.0.2/16 dev eth0", "address add fd00:1::2/64 dev eth0 nodad"] {
            src.ip(line);
        }
        for (address, family) in [("10.1.0.1", "-4"), ("fd00:1::1", "-6")] {
            src.ip(&format!("{family} neighbour add {address} lladdr 02:00:00:00:01:01 dev eth0"));
        }
        let machine = Machine { _image: self, boot, leader, src };
        let up = |m: &Machine| matches!(m.run(&["systemctl", "is-system-running"]).out.trim(), "running" | "degraded");
        wait::until("the machine is up", BOOT, || up(&machine));
        machine
    }

    fn log(&self) -> String {
        fs::read_to_string(self.work.join("boot.log")).unwrap_or_default()
    }
}

/// Raises the link as a network service would: after `network-pre.target`.
const LINK: &str = "\
[Unit]
After=network-pre.target
Before=network.target multi-user.target
Wants=network-pre.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'until ip link show left; do sleep 0.02; done'
ExecStart=/bin/sh -c 'ip address add 10.1.0.1/16 dev left; ip address add fd00:1::1/64 dev left nodad; ip link set left up; \
 ip neighbour replace 10.1.0.2 lladdr 02:00:00:00:01:02 dev left; ip -6 neighbour replace fd00:1::2 lladdr 02:00:00:00:01:02 dev left'
[Install]
WantedBy=multi-user.target
";

impl Machine {
    /// Runs a command inside, as root of the machine.
    pub fn run(&self, command: &[&str]) -> Answer {
        let leader = self.leader.to_string();
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "timeout", "60"]);
        enter.args(command).stdin(Stdio::null()).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("NO_COLOR", "1");
        enter.output().unwrap_or_else(|e| panic!("{command:?}: {e}")).into()
    }

    /// Runs a command inside that must succeed; its standard output.
    pub fn must(&self, command: &[&str]) -> String {
        let answer = self.run(command);
        assert_eq!(answer.code, 0, "{command:?}: {}\n{}", answer.text(), self.journal());
        answer.out
    }

    /// `systemctl VERB netpol-ebpf`.
    pub fn service(&self, verb: &str) -> Answer {
        self.run(&["systemctl", verb, "netpol-ebpf.service"])
    }

    /// A property of the service.
    pub fn property(&self, name: &str) -> String {
        self.must(&["systemctl", "show", "--value", "-p", name, "netpol-ebpf.service"]).trim().to_owned()
    }

    /// Whether the service is up with another process than this one.
    pub fn serves_anew(&self, former: &str) -> bool {
        let process = self.property("MainPID");
        self.property("ActiveState") == "active" && process != former && process != "0"
    }

    /// What the service has written to the journal.
    pub fn journal(&self) -> String {
        self.run(&["journalctl", "--no-pager", "-o", "cat", "-u", "netpol-ebpf.service"]).out
    }

    /// `netpol-ebpf` with these arguments, run by root of the machine.
    pub fn netpol(&self, arguments: &[&str]) -> Answer {
        self.run(&[&["netpol-ebpf"], arguments].concat())
    }

    /// `status --json`.
    pub fn status(&self) -> serde_json::Value {
        let answer = self.netpol(&["status", "--json"]).expect(0);
        serde_json::from_str(&answer.out).unwrap_or_else(|e| panic!("status --json: {e}\n{}", answer.text()))
    }

    /// Saves a policy file of the running machine.
    pub fn save(&self, name: &str, text: &str) {
        let target = format!("/etc/netpol.d/{name}");
        let leader = self.leader.to_string();
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &leader, "--mount", "sh", "-c", &format!("cat > {target}.tmp && mv {target}.tmp {target}")]);
        let mut child = enter.stdin(Stdio::piped()).spawn().expect("nsenter starts");
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("the text is read");
        assert!(child.wait().expect("the end of a child").success(), "{target} is saved");
    }

    /// Its process 1, as this machine numbers it.
    pub fn leader(&self) -> u32 {
        self.leader
    }

    /// Runs a closure in a thread that lives in the machine's network namespace.
    pub fn inside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let path = format!("/proc/{}/ns/net", self.leader);
        let file = fs::File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                sys::enter_network(&file).unwrap_or_else(|e| panic!("{path}: {e}"));
                run()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A handle on a file or directory of the running machine.
    pub fn open(&self, path: &str) -> fs::File {
        let path = format!("/proc/{}/root{path}", self.leader);
        fs::File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// Powers it off and waits until it is.
    pub fn power_off(&mut self) {
        self.run(&["systemctl", "--no-block", "poweroff"]);
        let ended = wait::poll(BOOT, || self.boot.try_wait().expect("the state of a child").map(|_| ()));
        assert!(ended.is_some(), "powered off within {BOOT:?}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("journal of the service:\n{}", self.journal());
        }
        if let Ok(None) = self.boot.try_wait() {
            // Process 1 of a pid namespace takes everything in it along.
            sys::signal(self.leader, libc::SIGKILL).unwrap_or_else(|e| say::aloud(&format!("process {}: {e}", self.leader)));
            self.boot.wait().expect("the end of a child");
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let gone = wait::poll(Duration::from_secs(10), || {
            Command::new("umount").arg(&self.work).stderr(Stdio::null()).status().expect("umount starts").success().then_some(())
        });
        if gone.is_none() {
            say::aloud(&format!("{} is left behind", self.work.display()));
            return;
        }
        residue::remove_tree(&self.work);
        remove_cgroup(&self.name);
    }
}

/// Removes the machine's control groups, deepest first.
fn remove_cgroup(name: &str) {
    let mounts = fs::read_to_string("/proc/mounts").expect("/proc/mounts");
    let mount = mounts.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        (words[2] == "cgroup2").then(|| words[1].to_owned())
    });
    let Some(mount) = mount else { return };
    let script = format!("find {mount}/{name} -depth -type d -exec rmdir {{}} \\; 2>/dev/null");
    must(Command::new("sh").args(["-c", &format!("{script} || true")]));
}

fn write(path: &Path, text: &str) {
    let parent = path.parent().expect("a file has a directory");
    fs::create_dir_all(parent).unwrap_or_else(|e| panic!("{}: {e}", parent.display()));
    fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("permissions");
}

fn must(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

fn first_child(parent: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

fn command_of(process: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{process}/comm")).ok()?.trim().to_owned())
}
