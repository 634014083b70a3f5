//! `schema`: the JSON Schema of the policy files, for editors.

use super::{DONE, print};
use crate::schema::JSON_SCHEMA;

/// Prints it.
pub(super) fn schema() -> anyhow::Result<u8> {
    print::text(JSON_SCHEMA)?;
    Ok(DONE)
}
