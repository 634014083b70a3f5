//! A scenario as a file, and back.
//!
//! Knows how stages, routes, frames and events are written; `tests/regressions/README.md` says it to people. Knows no player.

use std::fmt::Write;
use std::time::Duration;

use netpol_ebpf::policy::judge::{DeviceKind, L4, Packet, parse};
use netpol_ebpf::policy::model::Hook;
use netpol_ebpf::policy::reason::Reason;
use serde::Deserialize;

use crate::bench::{LINKS, ROOM};
use crate::pure::frame;
use crate::scenario::{Event, Goal, Life, Path, Shot, Stage, Text};

/// What stands for "let through" among the names of reasons.
pub const ACCEPTED: &str = "accepted";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Entries of each flow table, where it matters.
    room: Option<u32>,
    stage: Vec<StageBlock>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StageBlock {
    policy: String,
    #[serde(default)]
    route: Vec<RouteBlock>,
    frame: Vec<FrameBlock>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteBlock {
    table: u32,
    net: String,
    #[serde(default)]
    own: bool,
    #[serde(default)]
    out: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrameBlock {
    link: String,
    hook: String,
    #[serde(default)]
    gso: bool,
    #[serde(default)]
    before: Vec<EventBlock>,
    bytes: String,
    want: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventBlock {
    wait_ms: Option<u64>,
    set: Option<String>,
    #[serde(default)]
    elements: Vec<ElementBlock>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ElementBlock {
    net: String,
    life: String,
}

/// A file of `tests/regressions`.
pub struct Regression {
    pub name: String,
    pub room: u32,
    pub stages: Vec<Stage>,
    /// By frame, over all stages.
    pub wanted: Vec<String>,
}

/// Test texts live as long as the test.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn link(name: &str) -> usize {
    LINKS.iter().position(|link| *link == name).unwrap_or_else(|| panic!("no interface {name}"))
}

fn life(word: &str) -> Life {
    match (word, word.strip_suffix("ms").and_then(|number| number.parse().ok())) {
        ("forever", _) => Life::Forever,
        ("long", _) => Life::Long,
        ("over", _) => Life::Over,
        (_, Some(ms)) => Life::Brief(ms),
        _ => panic!("no life {word}"),
    }
}

impl RouteBlock {
    fn path(self) -> Path {
        let goal = match (self.own, self.out.is_empty()) {
            (true, _) => Goal::Own,
            (false, true) => Goal::Nowhere,
            (false, false) => Goal::Out(self.out.iter().map(|name| link(name)).collect()),
        };
        Path { table: self.table, net: leak(self.net), goal }
    }
}

impl FrameBlock {
    fn shot(self) -> Shot {
        let digits: Vec<u8> = self.bytes.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let hook = match self.hook.as_str() {
            "ingress" => Hook::Ingress,
            "egress" => Hook::Egress,
            other => panic!("no hook {other}"),
        };
        let event = |event: EventBlock| match (event.wait_ms, event.set) {
            (Some(ms), None) => Event::Wait(Duration::from_millis(ms)),
            (None, Some(set)) => Event::Set(leak(set), event.elements.into_iter().map(|one| (leak(one.net), life(&one.life))).collect()),
            _ => panic!("an event is either `wait_ms` or `set`"),
        };
        let before = self.before.into_iter().map(event).collect();
        Shot { link: link(&self.link), hook, gso: self.gso, before, bytes: digits.chunks(2).map(byte).collect() }
    }
}

/// Reads one file.
pub fn read(name: &str, text: &str) -> Regression {
    let file: File = toml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let wanted = file.stage.iter().flat_map(|stage| &stage.frame).map(|frame| frame.want.clone()).collect();
    let stage = |block: StageBlock| Stage {
        text: Text { head: block.policy.trim_start().trim_start_matches("version = 1\n").to_owned(), policies: Vec::new() },
        paths: block.route.into_iter().map(RouteBlock::path).collect(),
        shots: block.frame.into_iter().map(FrameBlock::shot).collect(),
    };
    Regression { name: name.to_owned(), room: file.room.unwrap_or(ROOM), stages: file.stage.into_iter().map(stage).collect(), wanted }
}

/// A scenario as a file. `about`: what it is, for a reader.
pub fn text(about: &str, room: u32, stages: &[Stage], wanted: &[Option<Reason>]) -> String {
    let mut text: String = about.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
    if room != ROOM {
        writeln!(text, "room = {room}").unwrap();
    }
    let mut wanted = wanted.iter();
    for stage in stages {
        write!(text, "\n[[stage]]\npolicy = '''\n{}'''\n", stage.text.toml()).unwrap();
        stage.paths.iter().for_each(|path| text.push_str(&route(path)));
        for shot in &stage.shots {
            let reason = wanted.next().copied().flatten();
            text.push_str(&block(shot, reason));
        }
    }
    text
}

fn route(path: &Path) -> String {
    let goal = match &path.goal {
        Goal::Own => "own = true\n".to_owned(),
        Goal::Out(links) => format!("out = {:?}\n", links.iter().map(|link| LINKS[*link]).collect::<Vec<_>>()),
        Goal::Nowhere => String::new(),
    };
    format!("\n[[stage.route]]\ntable = {}\nnet = \"{}\"\n{goal}", path.table, path.net)
}

fn block(shot: &Shot, reason: Option<Reason>) -> String {
    let hook = if shot.hook == Hook::Ingress { "ingress" } else { "egress" };
    let mut text = format!("\n[[stage.frame]] # {}\nlink = \"{}\"\nhook = \"{hook}\"\n", describe(shot), LINKS[shot.link]);
    if shot.gso {
        text.push_str("gso = true\n");
    }
    if !shot.before.is_empty() {
        let events: Vec<String> = shot.before.iter().map(event).collect();
        writeln!(text, "before = [{}]", events.join(", ")).unwrap();
    }
    writeln!(text, "bytes = \"{}\"\nwant = \"{}\"", hex(shot), reason.map_or(ACCEPTED, Reason::name)).unwrap();
    text
}

fn event(event: &Event) -> String {
    let life = |life: &Life| match life {
        Life::Forever => "forever".to_owned(),
        Life::Long => "long".to_owned(),
        Life::Over => "over".to_owned(),
        Life::Brief(ms) => format!("{ms}ms"),
    };
    match event {
        Event::Wait(time) => format!("{{ wait_ms = {} }}", time.as_millis()),
        Event::Set(name, members) => {
            let members: Vec<String> = members.iter().map(|(net, of)| format!("{{ net = \"{net}\", life = \"{}\" }}", life(of))).collect();
            format!("{{ set = \"{name}\", elements = [{}] }}", members.join(", "))
        }
    }
}

/// Both MAC addresses, the EtherType, and words of four bytes.
fn hex(shot: &Shot) -> String {
    let mut rest = shot.bytes.as_slice();
    let head: &[usize] = if device(shot) == DeviceKind::Raw { &[] } else { &[6, 6, 2] };
    let mut groups = Vec::new();
    for size in head.iter().copied().chain(std::iter::repeat(4)) {
        if rest.is_empty() {
            break;
        }
        let (group, behind) = rest.split_at(size.min(rest.len()));
        groups.push(group.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        rest = behind;
    }
    groups.join(" ")
}

fn device(shot: &Shot) -> DeviceKind {
    match LINKS[shot.link] {
        "lo" => DeviceKind::Loopback,
        raw if raw.starts_with('t') => DeviceKind::Raw,
        _ => DeviceKind::Ethernet,
    }
}

/// What the judge reads of a frame, in a line.
fn describe(shot: &Shot) -> String {
    let Packet { tags, ethertype, refusal, ip, .. } = parse(&frame(shot, device(shot)));
    let mut text = match tags {
        [0, 0] => String::new(),
        [outer, 0] => format!("vlan {outer} "),
        [outer, inner] => format!("vlan {outer},{inner} "),
    };
    if let Some(reason) = refusal {
        return format!("{text}EtherType {ethertype:#06x}, {reason}");
    }
    let Some(ip) = ip else { return format!("{text}EtherType {ethertype:#06x}") };
    let (from, to) = ip.ports().map_or((String::new(), String::new()), |(from, to)| (format!(" port {from}"), format!(" port {to}")));
    write!(text, "{}{from} > {}{to}, protocol {}", ip.source, ip.destination, ip.protocol).unwrap();
    match &ip.l4 {
        L4::Tcp(tcp) => {
            let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
            let set: Vec<&str> = names.into_iter().enumerate().filter(|(bit, _)| tcp.flags >> bit & 1 == 1).map(|(_, name)| name).collect();
            write!(text, " [{}] seq {} ack {}", set.join(" "), tcp.sequence, tcp.acknowledgement).unwrap();
        }
        L4::Icmp(message) => {
            write!(text, " type {} code {} id {}", message.icmp_type, message.code, message.identifier).unwrap();
            if let Some(quote) = &message.quoted {
                write!(text, ", quotes {} > {} protocol {} {:?}", quote.source, quote.destination, quote.protocol, quote.l4).unwrap();
            }
        }
        L4::Sctp { first_chunk: Some(chunk), .. } => write!(text, " chunk {chunk}").unwrap(),
        L4::Sctp { .. } | L4::Ports { .. } | L4::None => {}
    }
    if let Some(fragment) = ip.fragment {
        let more = if fragment.more { ", more follow" } else { "" };
        write!(text, ", fragment {} at {}{more}", fragment.id, fragment.offset).unwrap();
    }
    text
}
