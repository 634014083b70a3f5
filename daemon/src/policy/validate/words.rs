//! Words and numbers that stand for something: names, choices, protocols, ports, durations, flags, tags.

use super::address::{Refused, refused};
use crate::policy::model::{Direction, PortRange, TcpFlagsMatch, Vlan};
use crate::schema::Scalar;
use crate::schema::place::{At, Report, Span};
use crate::schema::suggest;

/// IANA protocol numbers by the names that policies use.
const PROTOCOLS: [(&str, u8); 14] = [
    ("tcp", 6),
    ("udp", 17),
    ("sctp", 132),
    ("dccp", 33),
    ("udplite", 136),
    ("icmp", 1),
    ("icmpv6", 58),
    ("igmp", 2),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipip", 4),
    ("ipv6", 41),
    ("vrrp", 112),
];

/// Bits of the TCP flag byte (RFC 9293, section 3.1; RFC 3168 for the two of congestion notification).
const TCP_FLAGS: [(&str, u8); 8] = [("fin", 1), ("syn", 2), ("rst", 4), ("psh", 8), ("ack", 16), ("urg", 32), ("ece", 64), ("cwr", 128)];

/// Longest name of a set, policy or rule, in characters.
const MAX_NAME: usize = 64;

/// Reports a refused value.
pub(super) fn refuse(report: &mut Report, span: Span, refusal: Refused) {
    report.error(span, refusal.message).help = refusal.help;
}

/// Keeps a good value, reports a refused one.
pub(super) fn keep<T>(report: &mut Report, span: Span, value: Result<T, Refused>) -> Option<T> {
    value.map_err(|refusal| refuse(report, span, refusal)).ok()
}

/// What a key says: `Some(None)` where it is absent, `None` where its value was refused.
pub(super) fn optional<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    read.map_or(Some(None), |value| value.map(Some))
}

/// One of a few words.
pub(super) fn choose<T: Copy>(report: &mut Report, key: &str, word: &At<String>, choices: &[(&str, T)]) -> Option<T> {
    if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == word.value) {
        return Some(*choice);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let help = suggest::help(&word.value, "possible values", &names);
    report.error(word.span, format!("unknown value `{}` of `{key}`", word.value)).help(help);
    None
}

/// `ingress` or `egress`.
pub(super) fn direction(report: &mut Report, key: &str, word: &At<String>) -> Option<Direction> {
    choose(report, key, word, &[("ingress", Direction::Ingress), ("egress", Direction::Egress)])
}

/// A name that people type and scripts compare: letters, digits and `_ - . :`, beginning with a letter or digit.
pub(super) fn name(report: &mut Report, what: &str, name: &At<String>) -> Option<String> {
    let text = &name.value;
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let good = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c));
    if begins && good && text.len() <= MAX_NAME {
        return Some(text.clone());
    }
    let message = if text.is_empty() { format!("the {what} is empty") } else { format!("`{text}` cannot be a {what}") };
    report
        .error(name.span, message)
        .help(format!("use at most {MAX_NAME} letters, digits, `_`, `-`, `.` and `:`, and begin with a letter or digit"));
    None
}

/// Name of a protocol, or its number.
pub(super) fn protocol(value: &Scalar) -> Result<u8, Refused> {
    match value {
        Scalar::Integer(number) => u8::try_from(*number).map_err(|_range| refused(format!("protocol {number} is not between 0 and 255"))),
        Scalar::Word(word) => PROTOCOLS.iter().find(|(name, _)| name == word).map(|(_, number)| *number).ok_or_else(|| {
            let help = match word.parse::<u8>() {
                Ok(number) => format!("write the number without quotes: {number}"),
                Err(_) => suggest::help(word, "known protocols", &PROTOCOLS.map(|(name, _)| name)) + " (others are written as numbers)",
            };
            refused(format!("unknown protocol `{word}`")).help(help)
        }),
    }
}

/// A protocol as people know it.
pub(super) fn protocol_name(number: u8) -> String {
    PROTOCOLS.iter().find(|(_, known)| *known == number).map_or_else(|| format!("protocol {number}"), |(name, _)| (*name).to_owned())
}

/// One port. 0 is reserved (RFC 6335 section 6) and seen on wires all the same, so a rule may name it.
fn port(number: i64) -> Result<u16, Refused> {
    u16::try_from(number).map_err(|_range| refused(format!("port {number} does not exist")).help("ports are 0 to 65535"))
}

/// `443`, `"443"` or `"1000-2000"`.
pub(super) fn ports(value: &Scalar) -> Result<PortRange, Refused> {
    let text = match value {
        Scalar::Integer(number) => return port(*number).map(|port| PortRange { first: port, last: port }),
        Scalar::Word(text) => text,
    };
    let number = |part: &str| {
        let digits = !part.is_empty() && part.len() < 10 && part.bytes().all(|b| b.is_ascii_digit());
        let parsed = part.parse::<i64>().ok().filter(|_| digits);
        parsed.ok_or_else(|| refused(format!("`{text}` is not a port")).help("write a number, `443`, or a range, `\"1000-2000\"`"))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(number(first.trim())?)?, port(number(last.trim())?)?);
    if first > last {
        return Err(refused(format!("the port range `{text}` is reversed")).help(format!("write `\"{last}-{first}\"`")));
    }
    Ok(PortRange { first, last })
}

/// One port, where a range has no meaning.
pub(super) fn one_port(value: &Scalar) -> Result<u16, Refused> {
    let range = ports(value)?;
    if range.first == range.last {
        return Ok(range.first);
    }
    Err(refused(format!("one port is wanted here, not the range {}-{}", range.first, range.last)).help("write one entry for each port"))
}

/// `"90s"`, `"10m"`, `"2h"`, `"1d"`, `"1h30m"`: seconds, at least one and at most a year.
pub(super) fn duration(text: &str) -> Result<u64, Refused> {
    let wrong = || {
        refused(format!("`{text}` is not a duration")).help("write a number with its unit: \"90s\", \"10m\", \"2h\", \"1d\" or \"1h30m\"")
    };
    let mut rest = text;
    let mut total = 0_u64;
    let mut former = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_digits| wrong())?;
        let unit = match rest.as_bytes().get(digits) {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 86_400,
            _ => return Err(wrong()),
        };
        if unit >= former {
            return Err(wrong());
        }
        former = unit;
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    match total {
        _ if text.is_empty() => Err(wrong()),
        0 => Err(refused(format!("`{text}` is no time at all")).help("the shortest duration is \"1s\"")),
        1..=31_536_000 => Ok(total),
        _ => Err(refused(format!("`{text}` is more than a year")).help("the longest duration is \"365d\"")),
    }
}

/// `"syn,!ack"` of a rule.
pub(super) fn tcp_flags(text: &str) -> Result<TcpFlagsMatch, Refused> {
    let mut flags = TcpFlagsMatch { set: 0, clear: 0 };
    for word in text.split(',').map(str::trim) {
        let (side, name) = match word.strip_prefix('!') {
            Some(name) => (&mut flags.clear, name.trim_start()),
            None => (&mut flags.set, word),
        };
        *side |= tcp_flag(name)?;
    }
    if flags.set & flags.clear != 0 {
        return Err(refused(format!("`{text}` wants a flag both set and clear")));
    }
    Ok(flags)
}

/// `"syn,ack"` of a test packet: exactly these are set; `""` sets none.
pub(super) fn exact_tcp_flags(text: &str) -> Result<u8, Refused> {
    if text.is_empty() {
        return Ok(0);
    }
    let negated = || refused(format!("`{text}` clears a flag")).help("a packet has exactly the flags that are named; leave the others out");
    text.split(',').map(str::trim).try_fold(0, |bits, word| if word.starts_with('!') { Err(negated()) } else { Ok(bits | tcp_flag(word)?) })
}

fn tcp_flag(word: &str) -> Result<u8, Refused> {
    let found = TCP_FLAGS.iter().find(|(name, _)| *name == word);
    found.map(|(_, bit)| *bit).ok_or_else(|| {
        let help = suggest::help(word, "TCP flags", &TCP_FLAGS.map(|(name, _)| name));
        refused(format!("unknown TCP flag `{word}`")).help(help)
    })
}

/// One tag, or `[outer, inner]`.
pub(super) fn vlan(report: &mut Report, tags: &At<Vec<At<i64>>>) -> Option<Vlan> {
    let mut vids = Vec::new();
    for tag in &tags.value {
        match u16::try_from(tag.value) {
            Ok(vid @ 1..=4094) => vids.push(vid),
            Ok(0) => {
                let help = "a priority tag (VLAN 0) counts as untagged: leave `vlan` out";
                report.error(tag.span, "there is no VLAN 0").help(help);
            }
            _ => {
                report.error(tag.span, format!("there is no VLAN {}", tag.value)).help("VLANs are 1 to 4094");
            }
        }
    }
    match (vids.as_slice(), tags.value.len()) {
        ([outer], 1) => Some(Vlan { outer: *outer, inner: 0 }),
        ([outer, inner], 2) => Some(Vlan { outer: *outer, inner: *inner }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Scalar {
        Scalar::Word(text.to_owned())
    }

    #[test]
    fn duration_units_add_up_in_falling_order() {
        for (text, seconds) in
            [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86_400), ("1h30m", 5400), ("1d1s", 86_401), ("365d", 31_536_000)]
        {
            assert_eq!(duration(text), Ok(seconds), "{text}");
        }
        for bad in
            ["", "0s", "90", "s", "1x", "1m1h", "1s1s", "-1s", "1.5h", " 1s", "366d", "99999999999999999999s", "9999999999999999d", "1é"]
        {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_spellings_are_number_and_range() {
        assert_eq!(ports(&Scalar::Integer(443)), Ok(PortRange { first: 443, last: 443 }));
        assert_eq!(ports(&word("1000-2000")), Ok(PortRange { first: 1000, last: 2000 }));
        assert_eq!(ports(&word("443")), Ok(PortRange { first: 443, last: 443 }));
        assert_eq!(ports(&word("0-65535")), Ok(PortRange { first: 0, last: 65_535 }));
        for bad in ["", "-", "2000-1000", "1-65536", "http", "1-2-3", "+1", "99999999999999999999"] {
            assert!(ports(&word(bad)).is_err(), "{bad}");
        }
        assert!(ports(&Scalar::Integer(-1)).is_err() && ports(&Scalar::Integer(65_536)).is_err());
        assert!(one_port(&word("1-2")).is_err());
    }

    #[test]
    fn tcp_flags_named_set_negated_clear() {
        assert_eq!(tcp_flags("syn, !ack"), Ok(TcpFlagsMatch { set: 2, clear: 16 }));
        assert_eq!(exact_tcp_flags("syn,ack"), Ok(18));
        assert_eq!(exact_tcp_flags(""), Ok(0));
        for bad in ["", "syn,", "syn,!syn", "sny", "!"] {
            assert!(tcp_flags(bad).is_err(), "{bad}");
        }
        assert!(exact_tcp_flags("!syn").is_err());
    }

    #[test]
    fn protocol_names_and_numbers_are_known() {
        assert_eq!(protocol(&word("udplite")), Ok(136));
        assert_eq!(protocol(&Scalar::Integer(89)), Ok(89));
        assert_eq!(protocol(&word("6")).unwrap_err().help.as_deref(), Some("write the number without quotes: 6"));
        assert!(protocol(&word("tpc")).unwrap_err().help.unwrap().starts_with("did you mean `tcp`?"));
        assert!(protocol(&Scalar::Integer(256)).is_err());
    }
}
