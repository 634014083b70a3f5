//! `apply`: the daemon reads the directory and makes it live now.

use super::{Common, answer, ask};
use crate::trigger::control::Request;

/// Exit codes: 0 live, 1 a `[[test]]` failed, 2 bad policy, 3 no daemon or the kernel refused.
pub(super) fn apply(common: &Common) -> anyhow::Result<u8> {
    answer(common, &ask(common, &Request::Apply)?)
}
