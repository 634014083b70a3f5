//! `[daemon]`: failsafe entries, the connection table, and what else concerns the whole host.

use ipnet::IpNet;

use super::Origin;

/// `[daemon]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Daemon {
    /// `failsafe.inbound`: what always reaches a host endpoint.
    pub failsafe_inbound: Vec<Failsafe>,
    /// `failsafe.outbound`: what a host endpoint may always open.
    pub failsafe_outbound: Vec<Failsafe>,
    /// What SIGTERM does to the attached programs.
    pub on_stop: OnStop,
    /// Whether a saved file goes live by itself.
    pub reload: ReloadMode,
    /// `[daemon.conntrack]`.
    pub conntrack: Conntrack,
    /// `log`: how many events of one rule or default are logged (by each CPU).
    pub log: Rate,
    /// `confirm_timeout`: seconds after which an apply that asked for a confirmation is taken back.
    pub confirm_timeout: u64,
    /// `live_session_guard`: a ruleset that would cut off whoever applies it wants a confirmation.
    pub live_session_guard: bool,
    /// `metrics = { listen }`: where counters can be fetched; `None` = nowhere.
    pub metrics: Option<std::net::SocketAddr>,
}

impl Daemon {
    /// `log` where it is unstated.
    pub const LOG: Rate = Rate::per_second(10);
    /// `confirm_timeout` where it is unstated, in seconds.
    pub const CONFIRM_TIMEOUT: u64 = 60;
}

impl Default for Daemon {
    /// What holds where `[daemon]` says nothing.
    fn default() -> Self {
        Daemon {
            failsafe_inbound: Vec::new(),
            failsafe_outbound: Vec::new(),
            on_stop: OnStop::Keep,
            reload: ReloadMode::Auto,
            conntrack: Conntrack::default(),
            log: Daemon::LOG,
            confirm_timeout: Daemon::CONFIRM_TIMEOUT,
            live_session_guard: true,
            metrics: None,
        }
    }
}

/// So many events in so much time, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rate {
    /// Events in one `period`, at least 1.
    pub events: u32,
    /// Nanoseconds.
    pub period: u64,
    /// Events that may come at once, at least 1; one period's worth (at least 1) where unstated.
    pub burst: u32,
}

impl Rate {
    /// `events` a second, and as many at once.
    pub const fn per_second(events: u32) -> Rate {
        Rate { events, period: 1_000_000_000, burst: events }
    }

    /// What one event costs, in ns (at least 1).
    pub fn cost(&self) -> u64 {
        (self.period / u64::from(self.events)).max(1)
    }

    /// What may be used up at once, in ns.
    pub fn depth(&self) -> u64 {
        self.cost().saturating_mul(u64::from(self.burst))
    }
}

/// One failsafe entry; judged for host endpoints only.
#[derive(Debug, Clone, PartialEq)]
pub struct Failsafe {
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port of the opening packet.
    pub port: u16,
    /// Remote addresses; empty = all (and then a deny set is stronger).
    pub nets: Vec<IpNet>,
    /// Where it stands.
    pub origin: Origin,
}

/// `on_stop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// The kernel goes on enforcing the last generation.
    Keep,
    /// The programs are taken off all interfaces.
    Detach,
}

/// `reload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadMode {
    /// A saved file is live within a second.
    Auto,
    /// Only `apply` and SIGHUP.
    Manual,
}

/// `[daemon.conntrack]`. Durations in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of policy.md
pub struct Conntrack {
    /// Answered flows that can exist at once.
    pub max_entries: u32,
    /// Half-open TCP and unanswered other flows that can exist at once.
    pub max_half_open: u32,
    /// `established = "keep"`: flows are not judged again when policy changes.
    pub keep_established: bool,
    /// A mid-stream TCP packet may open a flow.
    pub loose: bool,
    /// What happens to connections that live on an interface when a policy first covers it.
    pub adopt_existing: Adopt,
    pub tcp_syn: u64,
    pub tcp_established: u64,
    pub tcp_fin: u64,
    pub udp: u64,
    pub udp_stream: u64,
    pub icmp: u64,
    pub generic: u64,
}

impl Default for Conntrack {
    fn default() -> Self {
        Conntrack {
            max_entries: 262_144,
            max_half_open: 65_536,
            keep_established: false,
            loose: false,
            adopt_existing: Adopt::All,
            tcp_syn: 60,
            tcp_established: 86_400,
            tcp_fin: 60,
            udp: 30,
            udp_stream: 180,
            icmp: 30,
            generic: 600,
        }
    }
}

/// `adopt_existing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Adopt {
    /// `true`: those of this host's sockets; and for a minute, mid-stream TCP packets may open a flow, where the rules allow it.
    All,
    /// `"sockets"`: those of this host's sockets.
    Sockets,
    /// `false`: none. (What the language assumes where it is unstated stands in [`Conntrack`].)
    #[default]
    None,
}
