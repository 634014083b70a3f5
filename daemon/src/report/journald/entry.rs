//! A log record -> the bytes of a journal entry: fields as <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/> defines them.
//!
//! Values are anybody's: a rule, a file or an interface may be called as it likes, and forges no field. Pure.

use std::borrow::Cow;

use log::kv::{self, Key, Value, VisitSource};
use log::{Level, Record};

/// Longest value in bytes; what journald takes of a line by default. An entry stays far below the largest datagram.
const MOST: usize = 48 << 10;
/// Ends a value that was longer.
const CUT: &str = "\n... (cut: `netpol-ebpf check` prints all of it)";
/// What our own fields begin with.
const PREFIX: &str = "NETPOL_";

/// The entry of a record: message, priority, where in the program it was said, and its fields that are called `NETPOL_*`.
pub fn of_record(record: &Record<'_>) -> Vec<u8> {
    let mut entry = Entry(of(record.level(), record.target(), &record.args().to_string()));
    // Our visitor refuses nothing.
    record.key_values().visit(&mut entry).unwrap_or_default();
    entry.0
}

/// The entry of a message without further fields.
pub fn of(level: Level, target: &str, message: &str) -> Vec<u8> {
    let mut entry = Entry(Vec::with_capacity(512));
    entry.field("PRIORITY", priority(level));
    entry.field("SYSLOG_IDENTIFIER", "netpol-ebpf");
    entry.field("NETPOL_LOG_TARGET", target);
    entry.field("MESSAGE", message.trim_end());
    entry.0
}

/// syslog(3)'s numbers.
fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "3",
        Level::Warn => "4",
        Level::Info => "6",
        Level::Debug | Level::Trace => "7",
    }
}

struct Entry(Vec<u8>);

impl Entry {
    fn field(&mut self, name: &str, value: &str) {
        let value = shortened(value);
        let bytes = value.as_bytes();
        self.0.extend_from_slice(name.as_bytes());
        // `NAME=VALUE` ends with its line. Whatever could end it sooner goes in the form that says its length.
        if bytes.iter().any(|byte| byte.is_ascii_control()) {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(bytes);
        self.0.push(b'\n');
    }
}

impl<'kvs> VisitSource<'kvs> for Entry {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        if is_ours(key.as_str()) {
            match value.to_borrowed_str() {
                Some(text) => self.field(key.as_str(), text),
                None => self.field(key.as_str(), &value.to_string()),
            }
        }
        Ok(())
    }
}

/// What journald takes for a name, and no library's fields among it.
fn is_ours(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= 64 && name.starts_with(PREFIX) && name.bytes().all(allowed)
}

fn shortened(value: &str) -> Cow<'_, str> {
    if value.len() <= MOST {
        return value.into();
    }
    let end = (0..=MOST - CUT.len()).rev().find(|&at| value.is_char_boundary(at)).unwrap_or(0);
    format!("{}{CUT}", &value[..end]).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As journald reads it.
    fn parse(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let line = bytes.iter().position(|&byte| byte == b'\n').unwrap();
            let (name, value, rest) = match bytes[..line].iter().position(|&byte| byte == b'=') {
                Some(equals) => (&bytes[..equals], &bytes[equals + 1..line], &bytes[line + 1..]),
                None => {
                    let (length, rest) = bytes[line + 1..].split_at(8);
                    let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
                    assert_eq!(rest[length], b'\n', "a value ends with its line");
                    (&bytes[..line], &rest[..length], &rest[length + 1..])
                }
            };
            fields.push((String::from_utf8(name.to_vec()).unwrap(), value.to_vec()));
            bytes = rest;
        }
        fields
    }

    fn entry(message: &str, fields: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        let fields: Vec<(&str, Value<'_>)> = fields.iter().map(|(name, value)| (*name, Value::from(*value))).collect();
        let record =
            of_record(&Record::builder().level(Level::Warn).target("packet").key_values(&fields).args(format_args!("{message}")).build());
        parse(&record)
    }

    fn expected(message: &str, fields: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        let usual = [("PRIORITY", "4"), ("SYSLOG_IDENTIFIER", "netpol-ebpf"), ("NETPOL_LOG_TARGET", "packet"), ("MESSAGE", message)];
        usual.iter().chain(fields).map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn plain_values_are_lines() {
        let bytes = of(Level::Error, "netpol_ebpf::reconcile", "refused\n");
        assert_eq!(bytes, b"PRIORITY=3\nSYSLOG_IDENTIFIER=netpol-ebpf\nNETPOL_LOG_TARGET=netpol_ebpf::reconcile\nMESSAGE=refused\n");
    }

    #[test]
    fn no_value_forges_a_field_or_ends_the_entry() {
        let values = ["", "a\nNETPOL_VERDICT=allow", "\n", "nul\0nul", "=", "a=b", "\n\n_UID=0\n", "\r\x1b[31m", "\u{85}\u{2028}"];
        for value in values {
            let fields = [("NETPOL_RULE", value), ("NETPOL_VERDICT", "drop")];
            assert_eq!(entry("m\nMESSAGE=n", &fields), expected("m\nMESSAGE=n", &fields), "{value:?}");
        }
    }

    #[test]
    fn names_that_are_not_ours_stay_out() {
        let long = format!("NETPOL_{}", "X".repeat(64));
        for name in ["_UID", "MESSAGE", "rule", "NETPOL_rule", "NETPOL_A=B", "NETPOL_A\nB", "NETPOL_Ä", "", &long] {
            assert_eq!(entry("m", &[(name, "v")]), expected("m", &[]), "{name:?}");
        }
    }

    #[test]
    fn long_values_are_cut_between_two_characters() {
        let just = "x".repeat(MOST);
        assert_eq!(entry(&just, &[]), expected(&just, &[]));
        for text in ["x".repeat(MOST + 1), "\u{1f525}".repeat(MOST), format!("x{}", "\u{e4}".repeat(MOST))] {
            let found = entry(&text, &[("NETPOL_RULE", &text)]);
            for (name, value) in &found[3..] {
                let value = std::str::from_utf8(value).unwrap();
                let kept = value.strip_suffix(CUT).unwrap();
                assert!(value.len() <= MOST && value.len() > MOST - 4 && text.starts_with(kept), "{name}: {} bytes", value.len());
            }
            assert_eq!(found.len(), 5);
        }
    }

    #[test]
    fn numbers_are_written_as_they_are_shown() {
        let fields = [("NETPOL_DPORT", Value::from(22_u16))];
        let bytes = of_record(&Record::builder().key_values(&fields).args(format_args!("m")).build());
        assert!(bytes.ends_with(b"MESSAGE=m\nNETPOL_DPORT=22\n"));
    }
}
