//! The connection table in plain Rust.
/// Flows.
#[derive(Debug, Clone, Default)]
pub struct Conntrack {
    /// Number of the running generation; flows of another one are judged again. Raise it when the policies change.
    pub generation: u32,
}
