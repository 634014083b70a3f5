//! `[policy.xdp]`: what is refused at the earliest point.

use super::address::Run;
use super::ranges::Ranges;
use super::rates;
use super::sets::SetTable;
use super::words;
use crate::policy::model::{InterfaceSelector, PortRange, RateLimit, SetId, Xdp, XdpMode};
use crate::schema::document::{Scalars, Strings, XdpBlock};
use crate::schema::place::{At, Report};

/// Most ports of `syn_cookies`.
const MAX_COOKIE_PORTS: usize = 1024;

/// Reads the block; `None` where something was refused.
pub(super) fn read(block: &XdpBlock, interfaces: Option<&InterfaceSelector>, sets: &mut SetTable, report: &mut Report) -> Option<Xdp> {
    let modes = [("auto", XdpMode::Auto), ("native", XdpMode::Native), ("generic", XdpMode::Generic), ("off", XdpMode::Off)];
    let mode = match &block.mode {
        None => Some(XdpMode::Auto),
        Some(word) => words::choose(report, "mode", word, &modes),
    };
    let deny_sets = deny_sets(&block.deny_sets, sets, report);
    let rate_limit = match &block.rate_limit {
        None => Some(RateLimit::default()),
        Some(block) => rates::rate_limit(block, report),
    };
    let syn_cookies = syn_cookies(&block.syn_cookies, report);
    refuse_loopback(block, interfaces, report);
    let flag = |value: &Option<At<bool>>| value.as_ref().is_some_and(|value| value.value);
    Some(Xdp {
        mode: mode?,
        deny_sets: deny_sets?,
        drop_malformed: flag(&block.drop_malformed),
        drop_fragments: flag(&block.drop_fragments),
        rate_limit: rate_limit?,
        syn_cookies: syn_cookies?,
    })
}

/// Whether the block refuses anything by itself, isolated direction or not.
pub(super) fn refuses(block: &XdpBlock) -> bool {
    block.deny_sets.is_some() || block.drop_malformed.is_some() || block.drop_fragments.is_some() || block.rate_limit.is_some()
}

fn refuse_loopback(block: &XdpBlock, interfaces: Option<&InterfaceSelector>, report: &mut Report) {
    let off = block.mode.as_ref().is_some_and(|mode| mode.value == "off");
    let named = interfaces.map_or(&[][..], |interfaces| &interfaces.include);
    if !off && !named.is_empty() && named.iter().all(|pattern| pattern.as_str() == "lo") {
        let message = "XDP has no place on the loopback device, the only one that this policy selects";
        report.error(block.span, message).help("write `mode = \"off\"`: the checks are then made at tc");
    }
}

fn deny_sets(list: &Strings, sets: &mut SetTable, report: &mut Report) -> Option<Vec<SetId>> {
    let Some(list) = list else { return Some(Vec::new()) };
    if list.value.is_empty() {
        report.error(list.span, "`deny_sets` is empty").help("leave the key out to refuse nobody");
        return None;
    }
    let found: Vec<_> = list.value.iter().map(|name| sets.find(report, name)).collect();
    found.into_iter().collect()
}

/// Ports and ranges, merged.
fn syn_cookies(list: &Scalars, report: &mut Report) -> Option<Vec<PortRange>> {
    let Some(list) = list else { return Some(Vec::new()) };
    if list.value.is_empty() {
        report.error(list.span, "`syn_cookies` is empty").help("leave the key out to answer no SYN with a cookie");
        return None;
    }
    let read: Vec<_> = list.value.iter().map(|port| words::keep(report, port.span, words::ports(&port.value))).collect();
    let mut ranges = Ranges::default();
    for range in read.into_iter().collect::<Option<Vec<_>>>()? {
        ranges.push(Run::V4(range.first.into(), range.last.into()));
    }
    let merged = ranges.normal().ports();
    let count: usize = merged.iter().map(|range| usize::from(range.last - range.first) + 1).sum();
    if count > MAX_COOKIE_PORTS {
        let message = format!("`syn_cookies` names {count} ports, more than the {MAX_COOKIE_PORTS} that it can");
        report.error(list.span, message).help("name the ports that services listen on");
        return None;
    }
    Some(merged)
}
