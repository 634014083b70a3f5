//! The connection table: two tables with their own room, the memory of first fragments, and rates.
//!
//! Knows keys, timeouts and capacities. Time is passed in. Knows no rule.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::Decision;
use super::super::clock::Moment;
use super::super::packet::{Fragment, Packet};
use super::super::rates::Rates;
use super::flow::{Flow, FlowKey, FlowState};
use crate::policy::model::{self, Hook};

/// How long a first fragment's verdict is remembered, ns.
const FRAGMENT_LIFE: u64 = netpol_probes::abi::NP_FRAGMENT_LIFE_NS;

/// Flows and fragments of all interfaces.
#[derive(Debug, Clone, Default)]
pub struct Conntrack {
    /// Number of the running generation; flows of another one are judged again. Raise it when the policies change.
    pub generation: u32,
    /// Rises with every change of a dynamic set; flows that were judged before are judged again.
    pub set_epoch: u32,
    /// What has to be added to the judge's clock for Unix time, ns.
    pub wall_offset: i64,
    half_open: BTreeMap<FlowKey, Flow>,
    connections: BTreeMap<FlowKey, Flow>,
    fragments: BTreeMap<FragmentKey, Remembered>,
    /// Rates that are being used up.
    pub(in super::super) rates: Rates,
}

/// No room for a flow.
pub(super) struct Full;

impl Conntrack {
    /// The moment of a packet.
    pub(in super::super) fn moment(&self, now: u64) -> Moment {
        Moment { now, wall_offset: self.wall_offset }
    }

    /// Every rate is unused again.
    pub fn forget_rates(&mut self) {
        self.rates = Rates::default();
    }

    /// Every flow and every datagram is forgotten; rates go on.
    pub fn forget_flows(&mut self) {
        self.half_open.clear();
        self.connections.clear();
        self.fragments.clear();
    }

    /// Flows that are answered.
    pub fn connections(&self) -> impl Iterator<Item = (&FlowKey, &Flow)> {
        self.connections.iter()
    }

    /// Flows that are not answered, and TCP handshakes.
    pub fn half_open(&self) -> impl Iterator<Item = (&FlowKey, &Flow)> {
        self.half_open.iter()
    }

    /// The flow of a key, if it is not older than its timeout.
    pub(super) fn live(&mut self, key: &FlowKey, settings: &model::Conntrack, now: u64) -> Option<&mut Flow> {
        for table in [&mut self.connections, &mut self.half_open] {
            if table.get(key).is_some_and(|flow| !is_live(key, flow, settings, now)) {
                table.remove(key);
            }
        }
        self.connections.get_mut(key).or_else(|| self.half_open.get_mut(key))
    }

    /// Forgets a flow.
    pub(super) fn remove(&mut self, key: &FlowKey) {
        self.connections.remove(key);
        self.half_open.remove(key);
    }

    /// Takes a new flow in; one of the same key is replaced.
    pub(super) fn insert(&mut self, key: FlowKey, flow: Flow, settings: &model::Conntrack, now: u64) -> Result<(), Full> {
        self.remove(&key);
        let half_open = matches!(flow.state, FlowState::New);
        let (table, room) = self.table(half_open, settings);
        make_room(table, room, settings, now)?;
        table.insert(key, flow);
        Ok(())
    }

    /// Moves an answered flow to the table of answered flows.
    pub(super) fn promote(&mut self, key: &FlowKey, settings: &model::Conntrack, now: u64) -> Result<(), Full> {
        let Some(flow) = self.half_open.get(key).cloned() else { return Ok(()) };
        let (table, room) = self.table(false, settings);
        make_room(table, room, settings, now)?;
        table.insert(*key, flow);
        self.half_open.remove(key);
        Ok(())
    }

    fn table(&mut self, half_open: bool, settings: &model::Conntrack) -> (&mut BTreeMap<FlowKey, Flow>, u32) {
        if half_open { (&mut self.half_open, settings.max_half_open) } else { (&mut self.connections, settings.max_entries) }
    }

    /// The verdict on a datagram's first fragment, if it is remembered within this generation.
    pub(in super::super) fn remembered(&self, key: &FragmentKey, now: u64) -> Option<&Remembered> {
        let known = self.fragments.get(key)?;
        (known.generation == self.generation && now.saturating_sub(known.seen) < FRAGMENT_LIFE).then_some(known)
    }

    /// Remembers the verdict on a first fragment.
    pub(in super::super) fn remember(&mut self, key: FragmentKey, fragment: &Fragment, decision: &Decision, now: u64) {
        let kept = Remembered { seen: now, generation: self.generation, decision: decision.clone(), l4: first_bytes(fragment) };
        self.fragments.insert(key, kept);
    }

    /// Forgets a datagram.
    pub(in super::super) fn forget(&mut self, key: &FragmentKey) {
        self.fragments.remove(key);
    }
}

fn is_live(key: &FlowKey, flow: &Flow, settings: &model::Conntrack, now: u64) -> bool {
    now.saturating_sub(flow.seen) < key.timeout(flow, settings)
}

/// Makes sure that one more flow fits; flows that no longer exist do not count.
fn make_room(table: &mut BTreeMap<FlowKey, Flow>, room: u32, settings: &model::Conntrack, now: u64) -> Result<(), Full> {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if table.len() >= room {
        table.retain(|key, flow| is_live(key, flow, settings, now));
    }
    if table.len() < room { Ok(()) } else { Err(Full) }
}

/// What a datagram is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct FragmentKey {
    ifindex: u32,
    tags: [u16; 2],
    id: u32,
    hook: Hook,
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
}

impl FragmentKey {
    /// The datagram of a fragment; `None` for whole packets.
    pub(in super::super) fn of(ifindex: u32, packet: &Packet) -> Option<FragmentKey> {
        let ip = packet.ip.as_ref()?;
        let fragment = ip.fragment?;
        Some(FragmentKey {
            ifindex,
            tags: packet.tags,
            id: fragment.id,
            hook: packet.hook,
            protocol: fragment.protocol,
            source: ip.source,
            destination: ip.destination,
        })
    }
}

/// The verdict on a first fragment.
#[derive(Debug, Clone)]
pub(in super::super) struct Remembered {
    seen: u64,
    generation: u32,
    /// What was decided.
    pub(in super::super) decision: Decision,
    l4: Vec<u8>,
}

impl Remembered {
    /// Whether another first fragment brings the same L4 bytes.
    pub(in super::super) fn agrees(&self, fragment: &Fragment) -> bool {
        self.l4 == first_bytes(fragment)
    }
}

fn first_bytes(fragment: &Fragment) -> Vec<u8> {
    fragment.l4[..usize::from(fragment.l4_length)].to_vec()
}
