//! The one binary: the daemon and the administrator's tool.
fn main() {}
