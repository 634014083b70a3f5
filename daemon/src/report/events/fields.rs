//! A logged packet as fields of a journal entry. What the fields mean stands in netpol-ebpf(8).

use std::net::IpAddr;

use log::kv::{self, Source, ToKey, Value, VisitSource};
use netpol_probes::abi::{self, np_event};

use super::{Cause, EtherType, Protocol, Tags, TcpFlags, Verdict, address, cause};
use crate::policy::model::{Direction, has_ports};
use crate::report::fields::place;
use crate::report::names::Names;

/// The fields of one packet; only a reader that asks for them has them made.
pub struct Fields<'a> {
    event: &'a np_event,
    verdict: Verdict,
    interface: Option<&'a str>,
    direction: Option<Direction>,
    cause: Option<Cause<'a>>,
    source: IpAddr,
    destination: IpAddr,
    ethertype: EtherType,
    protocol: Protocol,
    flags: TcpFlags,
    tags: Tags,
}

impl<'a> Fields<'a> {
    /// Of an event.
    pub fn new(event: &'a np_event, names: &'a Names) -> Fields<'a> {
        let rule = names.rule(event.generation, event.rule).map(|rule| rule.direction);
        Fields {
            event,
            verdict: Verdict::of(event),
            interface: names.interface_name(event.ifindex),
            direction: rule.or_else(|| names.chain(event.generation, event.chain).map(|chain| chain.direction)),
            cause: cause(event, names),
            source: address(event.family, event.src),
            destination: address(event.family, event.dst),
            ethertype: EtherType(event.ethertype),
            protocol: Protocol(event.protocol),
            flags: TcpFlags(event.tcp_flags),
            tags: Tags(event.vlan),
        }
    }

    fn common<'k>(&'k self, add: &mut dyn FnMut(&'static str, Value<'k>)) {
        let event = self.event;
        add("NETPOL_VERDICT", self.verdict.verb.into());
        if let Some(reason) = self.verdict.reason {
            add("NETPOL_REASON", reason.name().into());
        }
        if let Some(interface) = self.interface {
            add("NETPOL_INTERFACE", interface.into());
        }
        add("NETPOL_IFINDEX", event.ifindex.into());
        add("NETPOL_HOOK", hook(event).into());
        if let Some(direction) = self.direction {
            add("NETPOL_DIRECTION", if direction == Direction::Ingress { "ingress" } else { "egress" }.into());
        }
        add("NETPOL_GENERATION", event.generation.into());
        add("NETPOL_LENGTH", event.length.into());
        if self.tags.0[0] != 0 {
            add("NETPOL_VLAN", Value::from_display(&self.tags));
        }
    }

    fn decided_by<'k>(&'k self, add: &mut dyn FnMut(&'static str, Value<'k>)) {
        let Some(cause) = &self.cause else { return };
        add("NETPOL_POLICY", cause.policy.into());
        if let Some(rule) = cause.rule {
            add("NETPOL_RULE", rule.into());
        }
        if let Some(origin) = cause.origin {
            place(origin).into_iter().for_each(|(name, value)| add(name, value));
        }
    }

    fn tuple<'k>(&'k self, add: &mut dyn FnMut(&'static str, Value<'k>)) {
        let event = self.event;
        if event.family == 0 {
            add("NETPOL_ETHERTYPE", Value::from_display(&self.ethertype));
            return;
        }
        add("NETPOL_FAMILY", if event.family == 4 { "ipv4" } else { "ipv6" }.into());
        add("NETPOL_PROTOCOL", self.protocol.name().map_or(event.protocol.into(), Value::from));
        add("NETPOL_SOURCE", Value::from_display(&self.source));
        add("NETPOL_DESTINATION", Value::from_display(&self.destination));
        if has_ports(event.protocol) {
            add("NETPOL_SPORT", event.sport.into());
            add("NETPOL_DPORT", event.dport.into());
        }
        match event.protocol {
            1 | 58 => {
                add("NETPOL_ICMP_TYPE", event.icmp_type.into());
                add("NETPOL_ICMP_CODE", event.icmp_code.into());
            }
            6 => add("NETPOL_TCP_FLAGS", Value::from_display(&self.flags)),
            _ => {}
        }
    }
}

impl Source for Fields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        let mut result = Ok(());
        let mut add = |name: &'static str, value: Value<'kvs>| {
            if result.is_ok() {
                result = visitor.visit_pair(name.to_key(), value);
            }
        };
        self.common(&mut add);
        self.decided_by(&mut add);
        self.tuple(&mut add);
        result
    }
}

fn hook(event: &np_event) -> &'static str {
    match u32::from(event.hook) {
        abi::NP_HOOK_INGRESS => "ingress",
        abi::NP_HOOK_EGRESS => "egress",
        _ => "xdp",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::compile::ruleset::{ChainInfo, Core, RuleInfo, Ruleset};
    use crate::policy::model::{Hook, Origin};
    use crate::report::names::SharedNames;

    const MANUAL: &str = include_str!("../../../man/netpol-ebpf.8.in");

    struct Collected(BTreeMap<String, String>);

    impl<'kvs> VisitSource<'kvs> for Collected {
        fn visit_pair(&mut self, key: kv::Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
            assert!(self.0.insert(key.to_string(), value.to_string()).is_none(), "{key} is said once");
            assert!(MANUAL.contains(key.as_str()), "the manual page knows {key}");
            Ok(())
        }
    }

    fn names() -> SharedNames {
        let origin = |line| Origin { file: Arc::from("/etc/netpol.d/a.toml"), line, column: 1 };
        let rule = RuleInfo { policy: "web".into(), direction: Direction::Egress, id: "no-telnet".into(), origin: origin(9) };
        let chain = ChainInfo {
            policies: vec!["web".into()],
            direction: Direction::Ingress,
            hook: Hook::Egress,
            default_policy: "web".into(),
            default_origin: origin(3),
        };
        let names = SharedNames::default();
        let core = Core { rule_info: vec![rule], chain_info: vec![chain], ..Core::default() };
        names.learn(7, &Ruleset { core, links: BTreeMap::new() });
        names
    }

    fn fields(event: &np_event) -> String {
        let names = names();
        let names = names.lock();
        let mut collected = Collected(BTreeMap::new());
        Fields::new(event, &names).visit(&mut collected).unwrap();
        let pairs: Vec<String> =
            collected.0.iter().map(|(name, value)| format!("{}={value}", name.strip_prefix("NETPOL_").unwrap())).collect();
        pairs.join(" ")
    }

    fn event(reason: u32) -> np_event {
        np_event {
            ifindex: 3,
            generation: 7,
            length: 60,
            rule: abi::NP_NONE,
            chain: abi::NP_NONE,
            reason: reason as u8,
            ..np_event::default()
        }
    }

    #[test]
    fn packet_that_a_rule_decided_has_its_tuple_and_the_rules_place() {
        let words = [0x2001_0db8_u32.to_be(), 0, 0, 1_u32.to_be()];
        let of_rule = np_event {
            rule: 0,
            chain: 0,
            hook: abi::NP_HOOK_EGRESS as u8,
            family: 6,
            protocol: 6,
            tcp_flags: 0x12,
            vlan: [7, 9],
            sport: 40000,
            dport: 23,
            src: words,
            dst: words,
            ..event(abi::NP_R_REJECT)
        };
        assert_eq!(
            fields(&of_rule),
            "COLUMN=1 DESTINATION=2001:db8::1 DIRECTION=egress DPORT=23 FAMILY=ipv6 FILE=/etc/netpol.d/a.toml GENERATION=7 HOOK=egress \
             IFINDEX=3 LENGTH=60 LINE=9 POLICY=web PROTOCOL=tcp REASON=reject RULE=no-telnet SOURCE=2001:db8::1 SPORT=40000 \
             TCP_FLAGS=syn,ack VERDICT=reject VLAN=7.9"
        );
    }

    #[test]
    fn default_names_its_policy_and_no_rule_and_a_packet_without_ports_has_none() {
        let by_default = np_event { chain: 0, family: 4, protocol: 1, icmp_type: 8, ..event(abi::NP_R_DEFAULT) };
        assert_eq!(
            fields(&by_default),
            "COLUMN=1 DESTINATION=0.0.0.0 DIRECTION=ingress FAMILY=ipv4 FILE=/etc/netpol.d/a.toml GENERATION=7 HOOK=ingress \
             ICMP_CODE=0 ICMP_TYPE=8 IFINDEX=3 LENGTH=60 LINE=3 POLICY=web PROTOCOL=icmp REASON=default SOURCE=0.0.0.0 VERDICT=drop"
        );
        let other = np_event { family: 4, protocol: 47, ..event(abi::NP_ACCEPTED) };
        assert_eq!(
            fields(&other),
            "DESTINATION=0.0.0.0 FAMILY=ipv4 GENERATION=7 HOOK=ingress IFINDEX=3 LENGTH=60 PROTOCOL=47 SOURCE=0.0.0.0 VERDICT=allow"
        );
    }

    #[test]
    fn frame_that_is_not_ip_has_its_ethertype() {
        let frame = np_event { ethertype: 0x88cc, hook: abi::NP_HOOK_XDP as u8, ..event(abi::NP_R_ETHERTYPE) };
        assert_eq!(fields(&frame), "ETHERTYPE=0x88cc GENERATION=7 HOOK=xdp IFINDEX=3 LENGTH=60 REASON=ethertype VERDICT=drop");
    }
}
