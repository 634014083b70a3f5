//! Why a policy set cannot be compiled.

use crate::policy::model::Origin;

/// What stands against a compilation. The running generation stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Host and workload policies on one interface.
    #[error(
        "interface {interface}: policy \"{host_policy}\" ({host_origin}) treats it as host, policy \"{workload_policy}\" ({workload_origin}) as workload"
    )]
    #[allow(missing_docs)]
    EndpointConflict { interface: String, host_policy: String, host_origin: Origin, workload_policy: String, workload_origin: Origin },
    /// Two policies want the XDP program attached in different ways.
    #[error(
        "interface {interface}: policy \"{first_policy}\" ({first_origin}) wants xdp mode {first_mode}, policy \"{second_policy}\" ({second_origin}) {second_mode}"
    )]
    #[allow(missing_docs)]
    XdpConflict {
        interface: String,
        first_policy: String,
        first_origin: Origin,
        first_mode: &'static str,
        second_policy: String,
        second_origin: Origin,
        second_mode: &'static str,
    },
    /// A table of fixed size is too small for what the policies say.
    #[error("{what}: {found}, and no more than {limit} are possible")]
    #[allow(missing_docs)]
    TooMany { what: String, found: usize, limit: usize },
}
