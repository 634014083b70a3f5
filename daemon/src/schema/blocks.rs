//! Which keys each block has, and their types.

use super::document::{
    AntiSpoofBlock, ConntrackBlock, DaemonBlock, DefaultActionBlock, Document, FailsafeBlock, IcmpBlock, MetricsBlock, PacketBlock,
    PeerBlock, PolicyBlock, RateBlock, RateLimitBlock, RuleBlock, SetBlock, TestBlock, XdpBlock,
};
use super::reader::{Block, Reader};

const TIMEOUTS: [&str; 7] = ["tcp_syn", "tcp_established", "tcp_fin", "udp", "udp_stream", "icmp", "generic"];

impl Reader<'_> {
    pub(super) fn document(&mut self, top: Block<'_>) -> Document {
        self.keys(top, &["version", "daemon", "set", "policy", "test"]);
        self.version(top);
        let daemon = self.table(top, "daemon", "`[daemon]`").map(|block| self.daemon(block));
        let sets = self.each(top, "set", "`[[set]]`", Self::set);
        let policies = self.each(top, "policy", "`[[policy]]`", Self::policy);
        let tests = self.each(top, "test", "`[[test]]`", Self::test);
        Document { daemon, sets, policies, tests }
    }

    fn version(&mut self, top: Block<'_>) {
        if !top.entries.contains_key("version") {
            let start = self.span(0..0);
            self.report.error(start, "the file lacks `version`").help("begin every policy file with `version = 1`");
        } else if let Some(version) = self.integer(top, "version").filter(|version| version.value != 1) {
            self.report.error(version.span, format!("version {} is not known", version.value)).help("this release reads `version = 1`");
        }
    }

    fn each<'a, T>(&mut self, block: Block<'a>, key: &str, what: &'static str, one: fn(&mut Self, Block<'a>) -> T) -> Vec<T> {
        let blocks = self.tables(block, key, what).map_or_else(Vec::new, |found| found.value);
        blocks.into_iter().map(|block| one(self, block)).collect()
    }

    fn daemon(&mut self, block: Block<'_>) -> DaemonBlock {
        let known = ["failsafe", "on_stop", "reload", "log", "confirm_timeout", "live_session_guard", "metrics", "conntrack"];
        self.keys(block, &known);
        let (mut failsafe_inbound, mut failsafe_outbound) = (Vec::new(), Vec::new());
        if let Some(failsafe) = self.table(block, "failsafe", "`failsafe`") {
            self.keys(failsafe, &["inbound", "outbound"]);
            failsafe_inbound = self.each(failsafe, "inbound", "a failsafe entry", Self::failsafe);
            failsafe_outbound = self.each(failsafe, "outbound", "a failsafe entry", Self::failsafe);
        }
        DaemonBlock {
            span: block.span,
            failsafe_inbound,
            failsafe_outbound,
            on_stop: self.string(block, "on_stop"),
            reload: self.string(block, "reload"),
            log: self.table(block, "log", "`log`").map(|block| self.rate_block(block, &["rate", "burst"])),
            confirm_timeout: self.duration(block, "confirm_timeout"),
            live_session_guard: self.boolean(block, "live_session_guard"),
            metrics: self.table(block, "metrics", "`metrics`").map(|block| self.metrics(block)),
            conntrack: self.table(block, "conntrack", "`[daemon.conntrack]`").map(|block| self.conntrack(block)),
        }
    }

    fn metrics(&mut self, block: Block<'_>) -> MetricsBlock {
        self.keys(block, &["listen"]);
        self.require(block, "listen");
        MetricsBlock { span: block.span, listen: self.string(block, "listen") }
    }

    fn rate_block(&mut self, block: Block<'_>, known: &[&'static str]) -> RateBlock {
        self.keys(block, known);
        self.require(block, "rate");
        let per = if known.contains(&"per") { self.string(block, "per") } else { None };
        RateBlock { span: block.span, rate: self.rate(block, "rate"), burst: self.integer(block, "burst"), per }
    }

    fn failsafe(&mut self, block: Block<'_>) -> FailsafeBlock {
        self.keys(block, &["protocol", "port", "nets"]);
        self.require(block, "protocol");
        self.require(block, "port");
        FailsafeBlock {
            span: block.span,
            protocol: self.scalar(block, "protocol"),
            port: self.scalar(block, "port"),
            nets: self.strings(block, "nets"),
        }
    }

    fn conntrack(&mut self, block: Block<'_>) -> ConntrackBlock {
        let known = [&["max_entries", "max_half_open", "established", "loose", "adopt_existing"][..], &TIMEOUTS[..]].concat();
        self.keys(block, &known);
        ConntrackBlock {
            max_entries: self.integer(block, "max_entries"),
            max_half_open: self.integer(block, "max_half_open"),
            established: self.string(block, "established"),
            loose: self.boolean(block, "loose"),
            adopt_existing: self.flag_or_word(block, "adopt_existing"),
            tcp_syn: self.duration(block, "tcp_syn"),
            tcp_established: self.duration(block, "tcp_established"),
            tcp_fin: self.duration(block, "tcp_fin"),
            udp: self.duration(block, "udp"),
            udp_stream: self.duration(block, "udp_stream"),
            icmp: self.duration(block, "icmp"),
            generic: self.duration(block, "generic"),
        }
    }

    fn set(&mut self, block: Block<'_>) -> SetBlock {
        self.keys(block, &["name", "elements", "files", "dynamic", "timeout", "max_entries", "on_missing"]);
        self.require(block, "name");
        SetBlock {
            span: block.span,
            name: self.string(block, "name"),
            elements: self.strings(block, "elements"),
            files: self.strings(block, "files"),
            dynamic: self.boolean(block, "dynamic"),
            timeout: self.duration(block, "timeout"),
            max_entries: self.integer(block, "max_entries"),
            on_missing: self.string(block, "on_missing"),
        }
    }

    fn policy(&mut self, block: Block<'_>) -> PolicyBlock {
        let known = [
            "name",
            "description",
            "order",
            "interfaces",
            "container",
            "machine",
            "endpoint",
            "policy_types",
            "default_action",
            "mode",
            "dhcp_client",
            "icmpv6_essential",
            "log_default_deny",
            "ethertypes",
            "anti_spoof",
            "xdp",
            "ingress",
            "egress",
        ];
        self.keys(block, &known);
        self.require(block, "name");
        if !["container", "machine"].iter().any(|owner| block.entries.contains_key(*owner)) {
            self.require(block, "interfaces");
        }
        PolicyBlock {
            span: block.span,
            name: self.string(block, "name"),
            description: self.string(block, "description"),
            order: self.integer(block, "order"),
            interfaces: self.strings(block, "interfaces"),
            container: self.string(block, "container"),
            machine: self.string(block, "machine"),
            endpoint: self.string(block, "endpoint"),
            policy_types: self.strings(block, "policy_types"),
            default_action: self.table(block, "default_action", "`default_action`").map(|block| self.default_action(block)),
            mode: self.string(block, "mode"),
            dhcp_client: self.boolean(block, "dhcp_client"),
            icmpv6_essential: self.boolean(block, "icmpv6_essential"),
            log_default_deny: self.boolean(block, "log_default_deny"),
            ethertypes: self.scalars(block, "ethertypes"),
            anti_spoof: self.table(block, "anti_spoof", "`[policy.anti_spoof]`").map(|block| self.anti_spoof(block)),
            xdp: self.table(block, "xdp", "`[policy.xdp]`").map(|block| self.xdp(block)),
            ingress: self.each(block, "ingress", "`[[policy.ingress]]`", Self::rule),
            egress: self.each(block, "egress", "`[[policy.egress]]`", Self::rule),
        }
    }

    fn default_action(&mut self, block: Block<'_>) -> DefaultActionBlock {
        self.keys(block, &["ingress", "egress"]);
        DefaultActionBlock { span: block.span, ingress: self.string(block, "ingress"), egress: self.string(block, "egress") }
    }

    fn anti_spoof(&mut self, block: Block<'_>) -> AntiSpoofBlock {
        self.keys(block, &["check_reverse_path", "allowed_sources", "allowed_macs", "arp", "bogons"]);
        AntiSpoofBlock {
            span: block.span,
            check_reverse_path: self.string(block, "check_reverse_path"),
            allowed_sources: self.strings(block, "allowed_sources"),
            allowed_macs: self.strings(block, "allowed_macs"),
            arp: self.boolean(block, "arp"),
            bogons: self.boolean(block, "bogons"),
        }
    }

    fn xdp(&mut self, block: Block<'_>) -> XdpBlock {
        self.keys(block, &["mode", "deny_sets", "drop_malformed", "drop_fragments", "rate_limit", "syn_cookies"]);
        XdpBlock {
            span: block.span,
            mode: self.string(block, "mode"),
            deny_sets: self.strings(block, "deny_sets"),
            drop_malformed: self.boolean(block, "drop_malformed"),
            drop_fragments: self.boolean(block, "drop_fragments"),
            rate_limit: self.table(block, "rate_limit", "`rate_limit`").map(|block| self.rate_limit(block)),
            syn_cookies: self.scalars(block, "syn_cookies"),
        }
    }

    fn rate_limit(&mut self, block: Block<'_>) -> RateLimitBlock {
        self.keys(block, &["packets", "packets_burst", "syns", "syns_burst"]);
        RateLimitBlock {
            span: block.span,
            packets: self.rate(block, "packets"),
            packets_burst: self.integer(block, "packets_burst"),
            syns: self.rate(block, "syns"),
            syns_burst: self.integer(block, "syns_burst"),
        }
    }

    fn rule(&mut self, block: Block<'_>) -> RuleBlock {
        let known = [
            "id",
            "action",
            "ip_version",
            "protocol",
            "source",
            "destination",
            "icmp",
            "tcp_flags",
            "vlan",
            "limit",
            "log",
            "reject_with",
            "expires",
            "comment",
        ];
        self.keys(block, &known);
        self.require(block, "action");
        RuleBlock {
            span: block.span,
            id: self.string(block, "id"),
            action: self.string(block, "action"),
            ip_version: self.integer(block, "ip_version"),
            protocol: self.scalar(block, "protocol"),
            source: self.table(block, "source", "`source`").map(|block| self.peer(block)),
            destination: self.table(block, "destination", "`destination`").map(|block| self.peer(block)),
            icmp: self.table(block, "icmp", "`icmp`").map(|block| self.icmp(block)),
            tcp_flags: self.string(block, "tcp_flags"),
            vlan: self.vlan(block, "vlan"),
            log: self.boolean(block, "log"),
            limit: self.table(block, "limit", "`limit`").map(|block| self.rate_block(block, &["rate", "burst", "per"])),
            reject_with: self.string(block, "reject_with"),
            expires: self.moment(block, "expires"),
            comment: self.string(block, "comment"),
        }
    }

    fn peer(&mut self, block: Block<'_>) -> PeerBlock {
        self.keys(block, &["nets", "not_nets", "sets", "not_sets", "ports", "not_ports"]);
        if block.entries.is_empty() {
            self.report.error(block.span, format!("{} is empty", block.what)).help("leave the key out to match every address and port");
        }
        PeerBlock {
            span: block.span,
            nets: self.strings(block, "nets"),
            not_nets: self.strings(block, "not_nets"),
            sets: self.strings(block, "sets"),
            not_sets: self.strings(block, "not_sets"),
            ports: self.scalars(block, "ports"),
            not_ports: self.scalars(block, "not_ports"),
        }
    }

    fn icmp(&mut self, block: Block<'_>) -> IcmpBlock {
        self.keys(block, &["type", "code"]);
        self.require(block, "type");
        IcmpBlock { span: block.span, icmp_type: self.scalar(block, "type"), code: self.scalar(block, "code") }
    }

    fn test(&mut self, block: Block<'_>) -> TestBlock {
        self.keys(block, &["name", "interface", "direction", "packet", "after", "expect", "rule"]);
        for key in ["name", "interface", "direction", "packet", "expect"] {
            self.require(block, key);
        }
        TestBlock {
            span: block.span,
            name: self.string(block, "name"),
            interface: self.string(block, "interface"),
            direction: self.string(block, "direction"),
            packet: self.table(block, "packet", "`packet`").map(|block| self.packet(block)),
            after: self.each(block, "after", "a packet of `after`", Self::packet),
            expect: self.string(block, "expect"),
            rule: self.string(block, "rule"),
        }
    }

    fn packet(&mut self, block: Block<'_>) -> PacketBlock {
        self.keys(block, &["protocol", "source", "destination", "icmp", "tcp_flags", "vlan"]);
        for key in ["protocol", "source", "destination"] {
            self.require(block, key);
        }
        PacketBlock {
            span: block.span,
            protocol: self.scalar(block, "protocol"),
            source: self.string(block, "source"),
            destination: self.string(block, "destination"),
            icmp: self.table(block, "icmp", "`icmp`").map(|block| self.icmp(block)),
            tcp_flags: self.string(block, "tcp_flags"),
            vlan: self.vlan(block, "vlan"),
        }
    }
}
