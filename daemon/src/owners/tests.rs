#![allow(clippy::unwrap_used)] // tests may fail loudly

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const ID: &str = "5f1bb0e7b0a94e38b5c3b2a1c0d9e8f75f1bb0e7b0a94e38b5c3b2a1c0d9e8f7";
const OTHER: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
}

fn in_group(root: &Path, process: u32, group: &str) {
    write(root, &format!("proc/{process}/cgroup"), &format!("0::/{group}\n"));
}

fn claim(root: &Path, kind: OwnerKind, name: &str) -> Option<Claim> {
    let owner = Owner { kind, name: name.into() };
    claims(&Roots::below(root), &BTreeSet::from([owner.clone()])).remove(&owner)
}

fn processes(root: &Path, name: &str) -> Vec<u32> {
    claim(root, OwnerKind::Container, name).map(|claim| claim.processes.into_iter().collect()).unwrap_or_default()
}

fn docker(root: &Path, id: &str, name: &str, running: bool, process: u32) {
    let text = format!(r#"{{"Name":"/{name}","State":{{"Running":{running},"Pid":{process}}}}}"#);
    write(root, &format!("var/lib/docker/containers/{id}/config.v2.json"), &text);
}

fn podman(root: &Path, driver: &str, list: &str, process: u32) {
    write(
        root,
        &format!("var/lib/containers/storage/{driver}-containers/{list}"),
        &format!(r#"[{{"id":"{ID}","names":["web","w"]}},{{"id":"d"}}]"#),
    );
    write(root, &format!("run/containers/storage/{driver}-containers/{ID}/userdata/pidfile"), &process.to_string());
}

#[test]
fn machine_is_known_by_machined_and_its_leader_where_that_proves_itself() {
    let root = tempfile::tempdir().unwrap();
    let state = |extra: &str| format!("# This is private data.\nNAME=web\nSCOPE=machine-my\\\\x2dweb.scope\nLEADER=77\n{extra}");
    write(root.path(), "run/systemd/machines/web", &state("NETIF=5 9 \n"));
    let hidden = Claim { interfaces: [5, 9].into(), ..Claim::default() };
    assert_eq!(claim(root.path(), OwnerKind::Machine, "web"), Some(hidden.clone()), "no process that we see");
    in_group(root.path(), 77, "system.slice/cron.service");
    assert_eq!(claim(root.path(), OwnerKind::Machine, "web"), Some(hidden), "another process has the number");
    in_group(root.path(), 77, "machine.slice/machine-my\\x2dweb.scope/payload");
    let whole = Claim { interfaces: [5, 9].into(), processes: [77].into(), ..Claim::default() };
    assert_eq!(claim(root.path(), OwnerKind::Machine, "web"), Some(whole));
    write(root.path(), "run/systemd/machines/web", &state(""));
    assert_eq!(
        claim(root.path(), OwnerKind::Machine, "web"),
        Some(Claim { interfaces: [].into(), processes: [77].into(), ..Claim::default() })
    );
    write(root.path(), "run/systemd/machines/web", &state("NETIF=5\nUID=1000\n"));
    assert_eq!(claim(root.path(), OwnerKind::Machine, "web"), None, "a user's");
    assert_eq!(claim(root.path(), OwnerKind::Machine, "other"), None);
    assert_eq!(claim(root.path(), OwnerKind::Machine, "../machines/web"), None, "a name is no path");
}

#[test]
fn docker_container_is_known_while_it_runs() {
    let root = tempfile::tempdir().unwrap();
    docker(root.path(), ID, "web", true, 4711);
    docker(root.path(), OTHER, "old", false, 4711);
    write(root.path(), "var/lib/docker/containers/ghi/config.v2.json", "{ half");
    assert!(processes(root.path(), "web").is_empty(), "there is no such process");
    in_group(root.path(), 4711, &format!("system.slice/docker-{ID}.scope"));
    assert_eq!(processes(root.path(), "web"), [4711]);
    assert!(processes(root.path(), "old").is_empty());
}

#[test]
fn docker_container_is_known_by_its_task_before_docker_writes_that_it_runs() {
    let root = tempfile::tempdir().unwrap();
    docker(root.path(), ID, "web", false, 0);
    in_group(root.path(), 4711, &format!("docker/{ID}"));
    for tasks in docker::TASKS {
        let file = format!("{}/{ID}/init.pid", tasks.trim_start_matches('/'));
        write(root.path(), &file, "4711");
        assert_eq!(processes(root.path(), "web"), [4711], "{tasks}");
        fs::remove_file(root.path().join(file)).unwrap();
    }
    assert!(processes(root.path(), "web").is_empty());
}

#[test]
fn podman_container_is_known_by_its_names_in_each_list_of_each_driver() {
    for (driver, list) in [("overlay", "containers.json"), ("overlay", "volatile-containers.json"), ("vfs", "containers.json")] {
        let root = tempfile::tempdir().unwrap();
        podman(root.path(), driver, list, 815);
        in_group(root.path(), 815, &format!("machine.slice/libpod-{ID}.scope/container"));
        assert_eq!((processes(root.path(), "web"), processes(root.path(), "w")), (vec![815], vec![815]), "{driver} {list}");
        assert!(processes(root.path(), "d").is_empty());
    }
    let root = tempfile::tempdir().unwrap();
    podman(root.path(), "overlay", "containers.json", 815);
    let list = "storage/overlay-containers/volatile-containers.json";
    fs::rename(
        root.path().join("var/lib/containers/storage/overlay-containers/containers.json"),
        root.path().join("run/containers").join(list),
    )
    .unwrap();
    in_group(root.path(), 815, &format!("libpod_parent/libpod-{ID}"));
    assert_eq!(processes(root.path(), "web"), [815], "a transient store");
}

#[test]
fn process_of_another_container_is_not_believed() {
    let root = tempfile::tempdir().unwrap();
    podman(root.path(), "overlay", "containers.json", 815);
    in_group(root.path(), 815, &format!("machine.slice/libpod-{OTHER}.scope"));
    assert!(processes(root.path(), "web").is_empty());
}

#[test]
fn name_that_two_engines_run_is_both() {
    let root = tempfile::tempdir().unwrap();
    podman(root.path(), "overlay", "containers.json", 815);
    in_group(root.path(), 815, &format!("machine.slice/libpod-{ID}.scope"));
    docker(root.path(), OTHER, "web", true, 4711);
    in_group(root.path(), 4711, &format!("system.slice/docker-{OTHER}.scope"));
    assert_eq!(processes(root.path(), "web"), [815, 4711]);
}

#[test]
fn file_that_others_can_change_is_not_believed() {
    let root = tempfile::tempdir().unwrap();
    docker(root.path(), ID, "web", true, 4711);
    in_group(root.path(), 4711, &format!("docker/{ID}"));
    let file = root.path().join(format!("var/lib/docker/containers/{ID}/config.v2.json"));
    for (mode, believed) in [(0o600, true), (0o666, false), (0o660, false), (0o644, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(!processes(root.path(), "web").is_empty(), believed, "{mode:o}");
    }
}

#[test]
fn directories_are_those_that_are_there_and_those_on_the_way() {
    let root = tempfile::tempdir().unwrap();
    let seen = || directories(&Roots::below(root.path()));
    assert!(seen().is_empty());
    podman(root.path(), "vfs", "containers.json", 815);
    fs::create_dir_all(root.path().join("run/systemd/machines")).unwrap();
    for path in [
        "run",
        "run/systemd/machines",
        "run/containers/storage",
        &format!("run/containers/storage/vfs-containers/{ID}/userdata"),
        "var/lib",
        "var/lib/containers/storage/vfs-containers",
    ] {
        assert!(seen().contains(&root.path().join(path)), "{path}");
    }
}

/// What the first process does to its own network namespace changes nothing: the engine has written down which one it made.
#[test]
fn network_that_the_engine_made_is_known_by_its_file() {
    let networks = |root: &Path| -> Vec<PathBuf> {
        let claim = claim(root, OwnerKind::Container, "web").unwrap_or_default();
        claim.networks.into_iter().map(|path| path.strip_prefix(root).unwrap().into()).collect()
    };
    let root = tempfile::tempdir().unwrap();
    in_group(root.path(), 4711, &format!("docker/{ID}"));
    for (path, believed) in [
        ("/run/docker/netns/5f1bb0e7b0a9", true),
        ("/var/run/docker/netns/default", true),
        ("/run/docker/netns/../../user/1000/net", false),
        ("/run/docker/netns/", false),
        ("/proc/1/ns/net", false),
        ("", false),
    ] {
        let text = format!(r#"{{"Name":"/web","State":{{"Running":true,"Pid":4711}},"NetworkSettings":{{"SandboxKey":"{path}"}}}}"#);
        write(root.path(), &format!("var/lib/docker/containers/{ID}/config.v2.json"), &text);
        let expected: Vec<PathBuf> = if believed { vec![path.trim_start_matches('/').into()] } else { vec![] };
        assert_eq!(networks(root.path()), expected, "{path}");
    }
    let root = tempfile::tempdir().unwrap();
    podman(root.path(), "overlay", "containers.json", 815);
    in_group(root.path(), 815, &format!("machine.slice/libpod-{ID}.scope"));
    assert_eq!(networks(root.path()), [] as [PathBuf; 0], "no configuration");
    let text = r#"{"linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/run/netns/netns-1"}]}}"#;
    write(root.path(), &format!("var/lib/containers/storage/overlay-containers/{ID}/userdata/config.json"), text);
    assert_eq!(networks(root.path()), [PathBuf::from("run/netns/netns-1")]);
}

#[test]
fn strange_entry_of_a_list_hides_no_other_container() {
    let root = tempfile::tempdir().unwrap();
    podman(root.path(), "overlay", "containers.json", 815);
    in_group(root.path(), 815, &format!("machine.slice/libpod-{ID}.scope"));
    let text = format!(r#"[{{"id":"a","names":null}},{{"names":["b"]}},7,{{"id":"{ID}","names":["web"]}}]"#);
    write(root.path(), "var/lib/containers/storage/overlay-containers/containers.json", &text);
    assert_eq!(processes(root.path(), "web"), [815]);
}
