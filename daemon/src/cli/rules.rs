//! `rules`: every rule with its counters.

use super::{Common, DONE, ask, print};
use crate::report::rules::RuleLine;
use crate::trigger::control::Request;

pub(super) fn rules(common: &Common) -> anyhow::Result<u8> {
    let response = ask(common, &Request::Rules)?;
    if common.json {
        print::json(&response.value)?;
        return Ok(response.exit);
    }
    if response.exit != DONE {
        eprintln!("{}", response.text);
        return Ok(response.exit);
    }
    let lines: Vec<RuleLine> = serde_json::from_value(response.value)?;
    let mut rows = vec![["POLICY", "DIRECTION", "RULE", "ACTION", "PACKETS", "BYTES", "LAST HIT", "WHERE"].map(str::to_string).to_vec()];
    rows.extend(lines.iter().map(RuleLine::row));
    print::text(&crate::report::table(&rows))?;
    Ok(DONE)
}
