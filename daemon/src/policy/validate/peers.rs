//! `source` and `destination` of a rule: addresses, sets and ports.

use ipnet::IpNet;

use super::address::net;
use super::rules::{Kind, refuse_ports};
use super::sets::SetTable;
use super::words;
use crate::policy::model::{Family, Peer, PortRange, SetId};
use crate::schema::document::{PeerBlock, Scalars, Strings};
use crate::schema::place::{At, Report};

/// Reads one peer; `None` where something was refused. An absent key is a peer without restriction.
pub(super) fn read(what: &str, block: &Option<PeerBlock>, kind: Option<&Kind>, sets: &mut SetTable, report: &mut Report) -> Option<Peer> {
    let Some(block) = block else { return Some(Peer::default()) };
    let nets = [("nets", &block.nets), ("not_nets", &block.not_nets)].map(|(key, list)| read_nets(key, list, kind, report));
    let names = [("sets", &block.sets), ("not_sets", &block.not_sets)].map(|(key, list)| read_sets(key, list, sets, report));
    let ports = [("ports", &block.ports), ("not_ports", &block.not_ports)].map(|(key, list)| {
        let path = format!("{what}.{key}");
        read_ports(key, &path, list, kind, report)
    });
    let ([nets, not_nets], [sets, not_sets], [ports, not_ports]) = (nets, names, ports);
    Some(Peer { nets: nets?, not_nets: not_nets?, sets: sets?, not_sets: not_sets?, ports: ports?, not_ports: not_ports? })
}

fn read_nets(key: &str, list: &Strings, kind: Option<&Kind>, report: &mut Report) -> Option<Vec<IpNet>> {
    each(key, list, report, |text, report| {
        let net = words::keep(report, text.span, net(&text.value))?;
        let (family, span) = kind.and_then(|kind| kind.family.zip(kind.family_span)).unwrap_or((family_of(&net), text.span));
        if family == family_of(&net) {
            return Some(net);
        }
        let (is, wanted) = if family == Family::V4 { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
        let place = report.place(span);
        report.error(text.span, format!("`{}` is {is}, but the rule is for {wanted} only", text.value)).also(place, "because of this");
        None
    })
}

fn read_sets(key: &str, list: &Strings, sets: &mut SetTable, report: &mut Report) -> Option<Vec<SetId>> {
    each(key, list, report, |name, report| sets.find(report, name))
}

fn read_ports(key: &str, path: &str, list: &Scalars, kind: Option<&Kind>, report: &mut Report) -> Option<Vec<PortRange>> {
    if let Some(list) = list {
        if refuse_ports(kind, path, list.span, report) {
            return None;
        }
    }
    each(key, list, report, |port, report| words::keep(report, port.span, words::ports(&port.value)))
}

/// Reads every element of a list; an empty list is an error, an absent one is empty.
fn each<W, T>(
    key: &str,
    list: &Option<At<Vec<At<W>>>>,
    report: &mut Report,
    mut one: impl FnMut(&At<W>, &mut Report) -> Option<T>,
) -> Option<Vec<T>> {
    let Some(list) = list else { return Some(Vec::new()) };
    if list.value.is_empty() {
        report
            .error(list.span, format!("`{key}` is empty"))
            .help("leave the key out to restrict nothing; nobody can know what an empty list means");
        return None;
    }
    let values: Vec<_> = list.value.iter().map(|written| one(written, report)).collect();
    values.into_iter().collect()
}

/// Family of a net.
pub(super) fn family_of(net: &IpNet) -> Family {
    match net {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}
