//! Containers as the engines make them: a process in a network namespace of its own and in a control group with the container's id, a
//! veth whose host side is in the dut, and the engine's files, which only a daemon that was started in [`Host`] sees.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::daemon::Daemon;
use crate::family::Family;
use crate::net::{Net, await_link, batch};
use crate::ns::Namespace;
use crate::{residue, say, wait};

/// Where control groups of version 2 are mounted, alone or beside version 1.
const GROUPS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// An engine, by the files that it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// `config.v2.json`.
    Docker,
    /// Lists of containers/storage and a pid file.
    Podman,
    /// A file of systemd-machined with the leader alone.
    Machined,
}

/// `/var/lib` and `/run` as the daemon of one test sees them, and the directory of its control groups.
#[derive(Debug)]
pub struct Host {
    home: PathBuf,
    root: PathBuf,
    groups: PathBuf,
}

impl Host {
    /// Empty; `None`, said aloud, where no control group can be made.
    pub fn new(net: &Net) -> Option<Host> {
        let root = net.scratch("root");
        for directory in ["run", "var/lib"] {
            fs::create_dir_all(root.join(directory)).expect("a directory");
        }
        // Managers start with nothing that others could change.
        let groups = GROUPS.iter().map(Path::new).find(|path| path.join("cgroup.procs").exists());
        let test = net.scratch("").file_name().map(PathBuf::from).expect("a name");
        let made = groups.map(|path| path.join(&test)).filter(|path| fs::create_dir(path).is_ok());
        if made.is_none() {
            let test = std::thread::current().name().unwrap_or("?").to_owned();
            say::aloud(&format!("SKIPPED {test}: no control group of version 2 can be made here"));
        }
        Some(Host { home: net.scratch(""), root, groups: made? })
    }

    /// Starts the daemon where `/var/lib` and `/run` are those of this host. The test's own directory stays where it is.
    pub fn daemon(&self, net: &Net) -> Daemon {
        let (home, root) = (self.home.display(), self.root.display());
        let kept = self.root.join("run").join(self.home.file_name().expect("a name"));
        fs::create_dir_all(&kept).expect("a directory");
        let script = format!(
            "mount --bind {home} {} && mount --bind {root}/var/lib /var/lib && mount --rbind {root}/run /run && exec \"$0\" \"$@\"",
            kept.display()
        );
        Daemon::start_under(net, &["unshare", "--mount", "--propagation", "private", "sh", "-c", &script], |_| ())
    }

    /// Writes a file whole, by rename, with the mode that the engines give.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path.trim_start_matches('/'));
        let temporary = path.with_extension("tmp");
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&temporary, text).unwrap_or_else(|e| panic!("{}: {e}", temporary.display()));
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::rename(&temporary, &path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Says that a process is that of a container.
    pub fn tell(&self, engine: Engine, name: &str, id: &str, process: u32) {
        match engine {
            Engine::Docker => self.write(
                &format!("/var/lib/docker/containers/{id}/config.v2.json"),
                &format!(r#"{{"ID":"{id}","Name":"/{name}","State":{{"Running":true,"Pid":{process}}}}}"#),
            ),
            Engine::Podman => {
                let list = format!(r#"[{{"id":"{id}","names":["{name}"]}}]"#);
                self.write("/var/lib/containers/storage/overlay-containers/volatile-containers.json", &list);
                self.write(&format!("/run/containers/storage/overlay-containers/{id}/userdata/pidfile"), &process.to_string());
            }
            Engine::Machined => {
                let text = format!("NAME={name}\nCLASS=container\nSCOPE=machine-{id}.scope\nLEADER={process}\n");
                self.write(&format!("/run/systemd/machines/{name}"), &text);
            }
        }
    }

    /// Says of a container of Docker that it has ended.
    pub fn tell_end(&self, name: &str, id: &str) {
        let text = format!(r#"{{"ID":"{id}","Name":"/{name}","State":{{"Running":false,"Pid":0}}}}"#);
        self.write(&format!("/var/lib/docker/containers/{id}/config.v2.json"), &text);
    }

    /// A process that sleeps, entered by `by` (`unshare --net`), in a control group of that name.
    pub fn process(&self, net: &Net, by: &[&str], group: &str) -> Process {
        let group = self.groups.join(group);
        fs::create_dir_all(&group).expect("a control group");
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", group.display());
        let mut command = net.dut.command("sh");
        command.args(["-c", &script]).args(by).args(["sleep", "600"]);
        let child = command.stdout(Stdio::null()).spawn().expect("nsenter starts");
        let process = Process(child);
        let is_asleep = || fs::read_to_string(format!("/proc/{}/comm", process.id())).is_ok_and(|name| name.trim() == "sleep");
        wait::until("the container's process runs", Duration::from_secs(10), is_asleep);
        process
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for directory in fs::read_dir(&self.groups).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
            remove_group(&directory.path());
        }
        remove_group(&self.groups);
    }
}

fn remove_group(path: &Path) {
    if wait::poll(Duration::from_secs(5), || fs::remove_dir(path).ok()).is_none() {
        say::aloud(&format!("control group {} is left behind", path.display()));
    }
}

/// A sleeping process; ended on drop.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().expect("an end");
        self.0.wait().expect("the end of a child");
    }
}

/// A running container: 10.NET.0.2 behind the dut's 10.NET.0.1, and the same in IPv6.
#[derive(Debug)]
pub struct Container {
    /// Its network.
    pub inside: Namespace,
    /// Its first process.
    pub process: Process,
    /// The host's side of its veth.
    pub link: String,
    /// Number of its net.
    pub net: u8,
}

impl Container {
    /// Starts one; no file tells of it yet.
    pub fn start(host: &Host, net: &Net, engine: Engine, id: &str, link: &str, number: u8) -> Container {
        let group = match engine {
            Engine::Docker => format!("docker-{id}.scope"),
            Engine::Podman => format!("libpod-payload-{id}"),
            Engine::Machined => format!("machine-{id}.scope"),
        };
        let process = host.process(net, &["unshare", "--net"], &group);
        let inside = Namespace::of_process(&named(), process.id());
        inside.sysctl("ipv6/conf/default/accept_dad", "0");
        // Neighbours are fixed, as in `Net`: a test's datagram is sent once and waits for nobody's answer.
        let (outer_mac, inner_mac) = (format!("02:00:00:00:{number:02}:01"), format!("02:00:00:00:{number:02}:02"));
        batch(
            &net.dut,
            &format!(
                "link add {link} address {outer_mac} type veth peer name eth0 address {inner_mac} netns {}\n\
                 address add 10.{number}.0.1/24 dev {link}\naddress add fd00:{number:x}::1/64 dev {link} nodad\nlink set {link} up\n\
                 neighbour add 10.{number}.0.2 lladdr {inner_mac} dev {link}\n\
                 neighbour add fd00:{number:x}::2 lladdr {inner_mac} dev {link}\n",
                inside.name()
            ),
        );
        batch(
            &inside,
            &format!(
                "link set lo up\nlink set eth0 up\naddress add 10.{number}.0.2/24 dev eth0\naddress add fd00:{number:x}::2/64 dev eth0 nodad\n\
                 neighbour add 10.{number}.0.1 lladdr {outer_mac} dev eth0\nneighbour add fd00:{number:x}::1 lladdr {outer_mac} dev eth0\n\
                 route add default via 10.{number}.0.1\nroute add default via fd00:{number:x}::1\n"
            ),
        );
        await_link(&net.dut, link);
        await_link(&inside, "eth0");
        Container { inside, process, link: link.to_owned(), net: number }
    }

    /// Its address.
    pub fn at(&self, family: Family, port: u16) -> std::net::SocketAddr {
        family.at(self.net, 2, port)
    }
}

/// A name for a namespace that the sweep of leftovers knows.
fn named() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}{}-c{}", residue::PREFIX, std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An id of 64 hexadecimal digits, another for each number.
pub fn id(number: u32) -> String {
    format!("{number:064x}")
}

/// A shell command is there; says aloud that the test is skipped where it is not.
pub fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).stdout(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        say::aloud(&format!("SKIPPED {test}: {program} is not installed"));
    }
    found
}
