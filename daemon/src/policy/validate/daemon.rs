//! `[daemon]`: failsafe, stopping, reloading, log, connection tracking; defaults filled in.

use std::net::SocketAddr;

use super::address::{Refused, net, refused};
use super::rates;
use super::words;
use crate::policy::model::{Adopt, Conntrack, Daemon, Failsafe, OnStop, ReloadMode, has_ports};
use crate::schema::FlagOrWord;
use crate::schema::document::{ConntrackBlock, DaemonBlock, Document, FailsafeBlock, Strings};
use crate::schema::place::{At, Report};

/// Most connections that may be asked for; each takes about 200 bytes of kernel memory.
const MAX_ENTRIES: i64 = 1 << 24;

/// Reads `[daemon]` of whichever file has it.
pub(super) fn read(documents: &[Document], report: &mut Report) -> Daemon {
    let mut blocks = documents.iter().filter_map(|document| document.daemon.as_ref());
    let first = blocks.next();
    for again in blocks {
        let place = first.map(|first| report.place(first.span));
        let diagnostic = report.error(again.span, "`[daemon]` stands in two files").label("again here");
        diagnostic.help("put all daemon settings into one file");
        if let Some(place) = place {
            diagnostic.also(place, "first here");
        }
        one(again, report);
    }
    first.map_or_else(Daemon::default, |block| one(block, report))
}

/// The failsafe entries (inbound, outbound) that are written without a mistake, whatever else is wrong with the files.
pub(super) fn salvage(documents: &[Document], report: &mut Report) -> (Vec<Failsafe>, Vec<Failsafe>) {
    let mut sound = |entries: &[FailsafeBlock]| -> Vec<Failsafe> {
        entries.iter().filter_map(|entry| if report.has_error_in_table(entry.span) { None } else { failsafe(entry, report) }).collect()
    };
    let mut found = (Vec::new(), Vec::new());
    for block in documents.iter().filter_map(|document| document.daemon.as_ref()) {
        found.0.extend(sound(&block.failsafe_inbound));
        found.1.extend(sound(&block.failsafe_outbound));
    }
    found
}

fn one(block: &DaemonBlock, report: &mut Report) -> Daemon {
    let on_stop = block.on_stop.as_ref();
    let on_stop = on_stop.and_then(|word| words::choose(report, "on_stop", word, &[("keep", OnStop::Keep), ("detach", OnStop::Detach)]));
    let reload = block.reload.as_ref();
    let reload =
        reload.and_then(|word| words::choose(report, "reload", word, &[("auto", ReloadMode::Auto), ("manual", ReloadMode::Manual)]));
    let confirm_timeout = block.confirm_timeout.as_ref().and_then(|text| words::keep(report, text.span, words::duration(&text.value)));
    let metrics = block.metrics.as_ref().and_then(|metrics| metrics.listen.as_ref());
    Daemon {
        failsafe_inbound: block.failsafe_inbound.iter().filter_map(|entry| failsafe(entry, report)).collect(),
        failsafe_outbound: block.failsafe_outbound.iter().filter_map(|entry| failsafe(entry, report)).collect(),
        on_stop: on_stop.unwrap_or(OnStop::Keep),
        reload: reload.unwrap_or(ReloadMode::Auto),
        conntrack: block.conntrack.as_ref().map_or_else(Conntrack::default, |block| conntrack(block, report)),
        log: block.log.as_ref().and_then(|log| rates::rate(log, report)).unwrap_or(Daemon::LOG),
        confirm_timeout: confirm_timeout.unwrap_or(Daemon::CONFIRM_TIMEOUT),
        live_session_guard: block.live_session_guard.as_ref().is_none_or(|guard| guard.value),
        metrics: metrics.and_then(|listen| words::keep(report, listen.span, socket(&listen.value))),
    }
}

fn failsafe(block: &FailsafeBlock, report: &mut Report) -> Option<Failsafe> {
    let port = block.port.as_ref().and_then(|port| words::keep(report, port.span, words::one_port(&port.value)));
    let protocol = block.protocol.as_ref().and_then(|protocol| {
        let number = words::keep(report, protocol.span, words::protocol(&protocol.value))?;
        if !has_ports(number) {
            let message = format!("{} has no ports, so no failsafe entry can name it", words::protocol_name(number));
            report.error(protocol.span, message).help("failsafe entries are for tcp, udp, sctp, dccp and udplite");
            return None;
        }
        Some(number)
    });
    let nets = nets(&block.nets, report)?;
    Some(Failsafe { protocol: protocol?, port: port?, nets, origin: report.origin(block.span) })
}

fn nets(list: &Strings, report: &mut Report) -> Option<Vec<ipnet::IpNet>> {
    let Some(list) = list else { return Some(Vec::new()) };
    if list.value.is_empty() {
        report.error(list.span, "`nets` is empty").help("leave the key out to mean every address");
        return None;
    }
    let nets: Vec<_> = list.value.iter().map(|text| words::keep(report, text.span, net(&text.value))).collect();
    nets.into_iter().collect()
}

/// Where counters can be fetched: one address with its port, no name.
fn socket(text: &str) -> Result<SocketAddr, Refused> {
    let example = "write an address of this host with a port: `127.0.0.1:9472` or `[::1]:9472`";
    let socket: SocketAddr = text.parse().map_err(|_grammar| refused(format!("`{text}` is not an address with a port")).help(example))?;
    if socket.port() == 0 {
        return Err(refused(format!("`{text}` has no port that anybody could know")).help(example));
    }
    Ok(socket)
}

fn adopt(word: &At<String>, report: &mut Report) -> Option<Adopt> {
    if let "true" | "false" = word.value.as_str() {
        report
            .error(word.span, "`adopt_existing` is true or false without quotes")
            .help(format!("write `adopt_existing = {}`", word.value));
        return None;
    }
    words::choose(report, "adopt_existing", word, &[("sockets", Adopt::Sockets)])
}

fn conntrack(block: &ConntrackBlock, report: &mut Report) -> Conntrack {
    let mut conntrack = Conntrack::default();
    let entries = |report: &mut Report, key: &str, value: &Option<At<i64>>, into: &mut u32| {
        let Some(value) = value else { return };
        match u32::try_from(value.value) {
            Ok(number) if (1..=MAX_ENTRIES).contains(&value.value) => *into = number,
            _ => {
                report
                    .error(value.span, format!("`{key} = {}` is out of range", value.value))
                    .help(format!("possible values: 1 to {MAX_ENTRIES}"));
            }
        }
    };
    entries(report, "max_entries", &block.max_entries, &mut conntrack.max_entries);
    entries(report, "max_half_open", &block.max_half_open, &mut conntrack.max_half_open);
    if let Some(word) = &block.established {
        let choices = [("reevaluate", false), ("keep", true)];
        conntrack.keep_established = words::choose(report, "established", word, &choices).unwrap_or(false);
    }
    if let Some(written) = &block.adopt_existing {
        conntrack.adopt_existing = match &written.value {
            FlagOrWord::Flag(true) => Adopt::All,
            FlagOrWord::Flag(false) => Adopt::None,
            FlagOrWord::Word(word) => adopt(&At { value: word.clone(), span: written.span }, report).unwrap_or(Adopt::All),
        };
    }
    conntrack.loose = block.loose.as_ref().is_some_and(|loose| loose.value);
    let timeouts = [
        (&block.tcp_syn, &mut conntrack.tcp_syn),
        (&block.tcp_established, &mut conntrack.tcp_established),
        (&block.tcp_fin, &mut conntrack.tcp_fin),
        (&block.udp, &mut conntrack.udp),
        (&block.udp_stream, &mut conntrack.udp_stream),
        (&block.icmp, &mut conntrack.icmp),
        (&block.generic, &mut conntrack.generic),
    ];
    for (written, into) in timeouts {
        if let Some(text) = written {
            *into = words::keep(report, text.span, words::duration(&text.value)).unwrap_or(*into);
        }
    }
    conntrack
}
