//! Policy texts that many tests share. The text itself stays visible in the tests: it is what they are about.

/// First line of every file.
pub const VERSION: &str = "version = 1\n";

/// One host policy on `left` that isolates both directions, with the same rules in both: each `[[rule]]` becomes an ingress and an
/// egress rule; the id of the latter begins with `out-`.
pub fn both_ways(rules: &str) -> String {
    let ingress = rules.replace("[[rule]]", "[[policy.ingress]]");
    let egress = rules.replace("[[rule]]", "[[policy.egress]]").replace("id = \"", "id = \"out-");
    format!("{}{ingress}{egress}", head("both"))
}

/// A host policy on `left` that isolates ingress only.
pub fn arriving(rules: &str) -> String {
    format!("{}{}", policy("arriving", "policy_types = [\"ingress\"]"), rules.replace("[[rule]]", "[[policy.ingress]]"))
}

/// A host policy on `left` that isolates egress only.
pub fn leaving(rules: &str) -> String {
    format!("{}{}", policy("leaving", "policy_types = [\"egress\"]"), rules.replace("[[rule]]", "[[policy.egress]]"))
}

/// A file with one host policy on `left`, with more keys.
pub fn policy(name: &str, keys: &str) -> String {
    format!("{VERSION}[[policy]]\nname = \"{name}\"\ninterfaces = [\"left\"]\n{keys}\n")
}

/// The same file, without the minute of grace in which a mid-stream TCP segment may open a flow on a newly covered interface.
pub fn settled(text: &str) -> String {
    text.replacen(VERSION, &format!("{VERSION}[daemon.conntrack]\nadopt_existing = false\n"), 1)
}

fn head(name: &str) -> String {
    policy(name, "policy_types = [\"ingress\", \"egress\"]")
}

/// An ingress rule that allows one TCP or UDP port.
pub fn allow_port(id: &str, protocol: &str, port: u16) -> String {
    format!("[[rule]]\nid = \"{id}\"\naction = \"allow\"\nprotocol = \"{protocol}\"\ndestination = {{ ports = [{port}] }}\n")
}
