//! `set show`: what a set holds, in a form that stays small on its way from the daemon, and what people and scripts read of it.

use serde::{Deserialize, Serialize};

use super::table;

/// What a set holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Of the form.
    pub version: u32,
    /// The set.
    pub name: String,
    /// It may be changed at run time.
    pub dynamic: bool,
    /// Unix time in ms.
    pub now: u64,
    /// One element a line.
    pub written: String,
    /// One element a line, behind it the Unix time in ms at which it ends, or `-`.
    pub added: String,
}

/// An element, for scripts.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Entry<'a> {
    element: &'a str,
    /// `written` or `added`.
    origin: &'static str,
    /// Seconds; `null` = it stays.
    remaining: Option<u64>,
    /// Unix time in seconds.
    expires: Option<u64>,
}

#[derive(Serialize)]
struct Json<'a> {
    version: u32,
    name: &'a str,
    dynamic: bool,
    elements: Vec<&'a str>,
    entries: Vec<Entry<'a>>,
}

impl Shown {
    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let written = self.written.lines().map(|element| Entry { element, origin: "written", remaining: None, expires: None });
        let added = self.added.lines().map(|line| {
            let (element, end) = line.split_once(' ').unwrap_or((line, "-"));
            let end = end.parse::<u64>().ok();
            let remaining = end.map(|end| end.saturating_sub(self.now).div_ceil(1000));
            Entry { element, origin: "added", remaining, expires: end.map(|end| end / 1000) }
        });
        written.chain(added)
    }

    /// For people: written elements, then added ones with the time that they have left.
    pub fn text(&self) -> String {
        if !self.dynamic {
            return self.written.clone();
        }
        let left = |entry: &Entry<'_>| entry.remaining.map(|seconds| format!("{} left", duration(seconds))).unwrap_or_default();
        table(&self.entries().map(|entry| vec![entry.element.to_owned(), entry.origin.to_owned(), left(&entry)]).collect::<Vec<_>>())
    }

    /// For scripts.
    ///
    /// # Errors
    /// None that this form can give rise to.
    pub fn json(&self) -> serde_json::Result<String> {
        let entries: Vec<Entry<'_>> = self.entries().collect();
        let elements = entries.iter().map(|entry| entry.element).collect();
        serde_json::to_string_pretty(&Json { version: self.version, name: &self.name, dynamic: self.dynamic, elements, entries })
    }
}

/// Seconds in the two largest units that matter.
pub fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let first = units.iter().position(|(_, size)| seconds >= *size).unwrap_or(3);
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, size) in units.iter().skip(first).take(2) {
        if rest / size > 0 || parts.is_empty() {
            parts.push(format!("{}{unit}", rest / size));
        }
        rest %= size;
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let cases = [(0, "0s"), (59, "59s"), (60, "1m"), (3661, "1h 1m"), (3601, "1h"), (90_061, "1d 1h"), (7199, "1h 59m")];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn elements_are_told_with_origin_and_time_left() {
        let (written, added) = ("10.0.0.0/8".to_string(), "192.0.2.1 61000\nfd00::/8 -".to_string());
        let shown = Shown { version: 1, name: "s".into(), dynamic: true, now: 1000, written, added };
        assert_eq!(shown.text(), "10.0.0.0/8  written\n192.0.2.1   added    1m left\nfd00::/8    added\n");
        let json: serde_json::Value = serde_json::from_str(&shown.json().unwrap()).unwrap();
        assert_eq!(json["elements"], serde_json::json!(["10.0.0.0/8", "192.0.2.1", "fd00::/8"]));
        assert_eq!(json["entries"][1], serde_json::json!({ "element": "192.0.2.1", "origin": "added", "remaining": 60, "expires": 61 }));
    }
}
