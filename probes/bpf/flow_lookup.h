/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Finds the flow of a packet and tells the next programs what they need of it. */
#ifndef NETPOL_FLOW_LOOKUP_H
#define NETPOL_FLOW_LOOKUP_H

#include "conntrack.h"
#include "flow_key.h"
#include "icmp_error.h"
#include "maps.h"

MAP_CONNECTIONS;
MAP_HALF_OPEN;

/* The live flow under st->key, in whichever table; st->table says which. */
INLINE struct np_flow *np_find_flow(struct np_state *st, const struct np_slot *slot)
{
	struct np_flow *flow = bpf_map_lookup_elem(&connections, &st->key);

	if (flow && np_is_live(flow, st->key.protocol, slot, st->now)) {
		st->table = NP_TABLE_CONNECTIONS;
		return flow;
	}
	flow = bpf_map_lookup_elem(&half_open, &st->key);
	if (flow && np_is_live(flow, st->key.protocol, slot, st->now)) {
		st->table = NP_TABLE_HALF_OPEN;
		return flow;
	}
	return 0;
}

/* The packet that opened the flow, put together again from key and value. */
INLINE void np_restore_opening(struct np_state *st, const struct np_flow *flow)
{
	const struct np_flow_key *key = &st->key;
	int arrived = flow->opener == NP_HOOK_INGRESS;
	struct np_tuple empty = { 0 };
	struct np_tuple *t = &st->judged;
	__u32 i;

	*t = empty;
	t->family = key->family;
	t->protocol = key->protocol;
	t->hook = flow->opener & 1;
	t->vlan[0] = key->vlan[0];
	t->vlan[1] = key->vlan[1];
	t->tcp_flags = flow->tcp_flags;
	for (i = 0; i < 4; i++) {
		t->src[i] = arrived ? key->remote[i] : key->local[i];
		t->dst[i] = arrived ? key->local[i] : key->remote[i];
	}
	if (np_is_icmp(key->family, key->protocol)) {
		t->icmp_type = key->local_port;
		t->icmp_code = flow->icmp_code;
	} else {
		t->sport = arrived ? key->remote_port : key->local_port;
		t->dport = arrived ? key->local_port : key->remote_port;
	}
}

/* A SYN-ACK belongs to the one who answers, and in a new flow it answers exactly the SYN that was let through. */
INLINE int np_answers_syn(const struct np_flow *flow, const struct np_state *st)
{
	if (st->forward)
		return 0;
	return flow->state != NP_FLOW_NEW || st->ack == flow->isn + 1;
}

/* Another generation judged the flow, a set has changed since, or something that allowed it has expired. */
INLINE int np_is_stale(const struct np_state *st, const struct np_flow *flow)
{
	if (st->slot_flags & NP_SLOT_KEEP)
		return 0;
	if (flow->generation != st->generation || flow->epoch != st->epoch)
		return 1;
	return flow->expires && flow->expires <= st->now;
}

INLINE void np_note_flow(struct np_state *st, const struct np_flow *flow)
{
	st->forward = st->kind == NP_KIND_ERROR ? 0 : flow->opener == st->packet.hook;
	st->stale = np_is_stale(st, flow);
	st->fits = np_answers_syn(flow, st);
	st->rule = flow->rule;
	if (st->stale)
		np_restore_opening(st, flow);
}

#endif
