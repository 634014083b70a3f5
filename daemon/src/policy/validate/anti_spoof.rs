//! `[policy.anti_spoof]`: who may send from beyond an interface.
//!
//! Knows addresses, sets and hardware addresses as they are written. Knows no route.

use super::address::{Refused, net, refused};
use super::sets::SetTable;
use super::words;
use crate::policy::bogons::{BOGONS, EXCEPTIONS};
use crate::policy::model::{AntiSpoof, Direction, EndpointKind, Hook, ReversePath, SourceList};
use crate::schema::document::{AntiSpoofBlock, Strings};
use crate::schema::place::{At, Report, Span};

/// Most hardware addresses of one policy.
const MAX_MACS: usize = 4096;

/// Reads the block; `None` where something was refused.
pub(super) fn read(block: &AntiSpoofBlock, sets: &mut SetTable, report: &mut Report) -> Option<AntiSpoof> {
    let choices = [("strict", ReversePath::Strict), ("loose", ReversePath::Loose), ("off", ReversePath::Off)];
    let check_reverse_path = match &block.check_reverse_path {
        None => Some(ReversePath::Off),
        Some(word) => words::choose(report, "check_reverse_path", word, &choices),
    };
    let allowed_sources = sources(&block.allowed_sources, sets, report);
    let allowed_macs = macs(&block.allowed_macs, report);
    let flag = |value: &Option<At<bool>>| value.as_ref().is_some_and(|value| value.value);
    let anti_spoof = AntiSpoof {
        check_reverse_path: check_reverse_path?,
        allowed_sources: allowed_sources?,
        allowed_macs: allowed_macs?,
        arp: flag(&block.arp),
        bogons: flag(&block.bogons),
        origin: report.origin(block.span),
    };
    let AntiSpoof { check_reverse_path, allowed_sources, allowed_macs, arp, bogons, .. } = &anti_spoof;
    let checks = *check_reverse_path != ReversePath::Off || allowed_sources.is_some() || !allowed_macs.is_empty() || *arp || *bogons;
    if !checks && !report.has_error_within(block.span) {
        let help = "write for example `check_reverse_path = \"strict\"`, or take the block out";
        report.warning(block.span, "`[policy.anti_spoof]` checks nothing").help(help);
    }
    if anti_spoof.bogons {
        warn_bogons(block, report);
    }
    Some(anti_spoof)
}

/// Warns of allowed sources that `bogons` refuses before anybody asks whether they are allowed.
fn warn_bogons(block: &AntiSpoofBlock, report: &mut Report) {
    let (Some(list), Some(bogons)) = (&block.allowed_sources, &block.bogons) else { return };
    for written in &list.value {
        let Ok(source) = net(&written.value) else { continue };
        let refusing = BOGONS.iter().find(|special| special.net.contains(&source));
        let excepted = EXCEPTIONS.iter().any(|special| special.net.contains(&source) || source.contains(&special.net));
        let Some(special) = refusing.filter(|_| !excepted) else { continue };
        let place = report.place(bogons.span);
        let message = format!("no packet from `{}` is let through: `bogons` refuses {} ({})", written.value, special.net, special.name);
        report.warning(written.span, message).also(place, "refused because of this").help("take `bogons` out, or the source");
    }
}

/// Warns where the policy does not isolate what arrives, which is all that anti-spoof speaks of.
pub(super) fn warn_idle(span: Span, endpoint: EndpointKind, [ingress, egress]: [bool; 2], report: &mut Report) {
    let arriving = endpoint.direction(Hook::Ingress);
    let (isolated, word) = if arriving == Direction::Ingress { (ingress, "ingress") } else { (egress, "egress") };
    if isolated {
        return;
    }
    let whose =
        if endpoint == EndpointKind::Workload { "what a workload sends is its egress" } else { "what a host receives is its ingress" };
    let message = format!("anti-spoof checks what arrives at the interface, and the policy does not isolate {word}");
    report
        .warning(span, message)
        .help(format!("{whose}: add {word} rules, a default or `policy_types`, or another policy must isolate it"));
}

/// Addresses, CIDRs and `@set`; `Some(None)` where the key is absent.
fn sources(list: &Strings, sets: &mut SetTable, report: &mut Report) -> Option<Option<SourceList>> {
    let Some(list) = list else { return Some(None) };
    if list.value.is_empty() {
        report.error(list.span, "`allowed_sources` is empty").help("leave the key out to allow every source");
        return None;
    }
    let mut found = SourceList::default();
    let mut good = true;
    for written in &list.value {
        let known = match written.value.strip_prefix('@') {
            Some("") => {
                report.error(written.span, "`@` names no set").help("write the name of a `[[set]]` behind it: `\"@name\"`");
                false
            }
            Some(name) => {
                let id = sets.find(report, &At { value: name.to_owned(), span: written.span });
                found.sets.extend(id);
                id.is_some()
            }
            None => {
                let net = words::keep(report, written.span, source(&written.value, sets));
                found.nets.extend(net);
                net.is_some()
            }
        };
        good &= known;
    }
    good.then_some(Some(found))
}

/// A net; who names a set without its mark is told so.
fn source(text: &str, sets: &SetTable) -> Result<ipnet::IpNet, Refused> {
    net(text).map_err(|refusal| if sets.is_known(text) { refusal.help(format!("to name the set, write `\"@{text}\"`")) } else { refusal })
}

/// Hardware addresses, each once.
fn macs(list: &Strings, report: &mut Report) -> Option<Vec<[u8; 6]>> {
    let Some(list) = list else { return Some(Vec::new()) };
    if list.value.is_empty() {
        report.error(list.span, "`allowed_macs` is empty").help("leave the key out to allow every hardware address");
        return None;
    }
    if list.value.len() > MAX_MACS {
        report.error(list.span, format!("`allowed_macs` has {} entries", list.value.len())).help(format!("the most is {MAX_MACS}"));
        return None;
    }
    let read: Vec<_> = list.value.iter().map(|text| words::keep(report, text.span, mac(&text.value))).collect();
    let mut macs = read.into_iter().collect::<Option<Vec<_>>>()?;
    macs.sort_unstable();
    macs.dedup();
    Some(macs)
}

/// `aa:bb:cc:dd:ee:ff`, with `:` or `-` between.
fn mac(text: &str) -> Result<[u8; 6], Refused> {
    let wrong =
        || refused(format!("`{text}` is not a hardware address")).help("write six pairs of hexadecimal digits: `\"52:54:00:12:34:56\"`");
    let between = if text.contains('-') { '-' } else { ':' };
    let mut mac = [0; 6];
    let mut parts = text.split(between);
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_digits| wrong())?;
    }
    if parts.next().is_some() {
        return Err(wrong());
    }
    if mac[0] & 1 != 0 {
        return Err(refused(format!("`{text}` is the address of a group: no frame comes from it")));
    }
    if mac == [0; 6] {
        return Err(refused(format!("`{text}` belongs to nobody: no frame comes from it")));
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_spellings() {
        assert_eq!(mac("52:54:00:aB:34:56"), Ok([0x52, 0x54, 0, 0xab, 0x34, 0x56]));
        assert_eq!(mac("52-54-00-ab-34-56"), mac("52:54:00:AB:34:56"));
        for bad in [
            "",
            ":",
            "52:54:00:ab:34",
            "52:54:00:ab:34:56:78",
            "52:54:00:ab:34:5",
            "52:54:00:ab:34:567",
            "52:54:00:ab:34:+5",
            "52:54-00:ab:34:56",
            "525400ab3456",
            "zz:54:00:ab:34:56",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "5é:54:00:ab:34:5",
        ] {
            assert!(mac(bad).is_err(), "{bad}");
        }
    }
}
