//! Set files: one bad line refuses the file with its place; good lines mean the same as the same list at run time.

use netpol_ebpf::policy::elements;
use netpol_ebpf::source::Snapshot;
use serde_json::json;

use super::policy::{accepted, kept};

const POLICY: &str = "version = 1\n[[set]]\nname = \"s\"\nfiles = [\"lists/*.txt\"]\n[[policy]]\nname = \"p\"\ninterfaces = [\"eth0\"]\nxdp = { deny_sets = [\"s\"] }\n";

/// The input as the only set file.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let path = "/policies/lists/a.txt";
    let snapshot = json!({
        "directory": "/policies",
        "files": [{ "name": "a.toml", "path": "/policies/a.toml", "text": POLICY, "problem": null }],
        "globs": [{ "pattern": "lists/*.txt", "found": { "Ok": [path] } }],
        "set_files": [{ "path": path, "text": text, "problem": null }],
    });
    let snapshot: Snapshot = serde_json::from_value(snapshot).expect("a snapshot");
    let listed = elements::list(path, &text, &mut |_| ());
    match accepted(&mut kept(&snapshot)) {
        None => assert!(listed.is_err(), "refused as a file, accepted as a list: {listed:?}"),
        Some(policies) => {
            let mut listed = listed.expect("accepted as a file, refused as a list");
            let set = &policies.sets[0];
            // The file's prefixes are merged, the list's are as written: each covers the other.
            listed.sort_unstable();
            listed.dedup();
            assert!(listed.iter().all(|net| set.nets.iter().any(|whole| whole.contains(net))), "an element is lost");
            assert!(set.nets.len() <= listed.len(), "an element too much");
        }
    }
}
