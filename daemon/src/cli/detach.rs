//! `detach`: the firewall off all interfaces, explicitly. Works without a daemon too.

use serde_json::json;

use super::{Common, DONE, answer};
use crate::kernel;
use crate::trigger::control::{self, Request, Response};

/// Exit codes: 0 nothing of ours is attached any more, 3 the kernel refused.
pub(super) fn detach(common: &Common) -> anyhow::Result<u8> {
    if let Ok(response) = control::ask(&common.runtime_dir, &Request::Detach, &mut |_| ()) {
        return answer(common, &response);
    }
    let interfaces = kernel::detach_directory(&common.bpffs)?;
    answer(common, &detached(&interfaces))
}

/// The answer for the interfaces that it was taken off.
pub(super) fn detached(interfaces: &[String]) -> Response {
    let text = if interfaces.is_empty() {
        "nothing was attached".to_string()
    } else {
        format!("the firewall is off on {}", interfaces.join(", "))
    };
    Response { exit: DONE, text, value: json!({ "version": 1, "detached": interfaces }) }
}
