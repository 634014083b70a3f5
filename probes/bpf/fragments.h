/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Memory of datagrams that come in pieces: the key of a datagram, and what is known of it. */
#ifndef NETPOL_FRAGMENTS_H
#define NETPOL_FRAGMENTS_H

#include "maps.h"
#include "state.h"

MAP_FRAGMENTS;

INLINE void np_make_fragment_key(struct np_state *st)
{
	struct np_fragment_key *key = &st->fragment_key;
	const struct np_tuple *t = &st->packet;
	__u32 i;

	key->ifindex = st->ifindex;
	key->vlan[0] = t->vlan[0];
	key->vlan[1] = t->vlan[1];
	key->id = st->fragment_id;
	key->hook = t->hook;
	key->family = t->family;
	/* RFC 8200 section 4.5: an IPv6 datagram is known without its protocol, which a later fragment may not tell. */
	key->protocol = t->family == 4 ? t->protocol : 0;
	key->pad = 0;
	for (i = 0; i < 4; i++) {
		key->src[i] = t->src[i];
		key->dst[i] = t->dst[i];
	}
}

INLINE int np_has_same_start(const struct np_fragment *known, const struct np_state *st)
{
	__u32 i;

	if (known->l4_length != st->l4_length)
		return 0;
	UNROLL
	for (i = 0; i < sizeof(st->l4); i++)
		if (i < st->l4_length && known->l4[i] != st->l4[i])
			return 0;
	return 1;
}

/* What is known of the datagram of this fragment: st->memory and st->remembered_*. */
INLINE void np_recall_fragment(struct np_state *st)
{
	struct np_fragment *known;

	np_make_fragment_key(st);
	known = bpf_map_lookup_elem(&fragments, &st->fragment_key);
	if (!known || known->generation != st->generation || (__s64)(st->now - known->seen) >= (__s64)NP_FRAGMENT_LIFE_NS)
		return;
	if (st->packet.part == NP_FIRST && !np_has_same_start(known, st)) {
		st->memory = NP_MEMORY_CONFLICT;
		return;
	}
	st->memory = NP_MEMORY_KNOWN;
	st->remembered_reason = known->reason;
	st->remembered_rule = known->rule;
}

/* Keeps the verdict of a first fragment for those that follow. */
INLINE void np_remember_fragment(struct np_state *st)
{
	struct np_fragment *known = &st->fragment;
	__u32 i;

	known->seen = st->now;
	known->generation = st->generation;
	known->reason = st->reason;
	known->l4_length = st->l4_length;
	known->pad[0] = 0;
	known->pad[1] = 0;
	known->rule = st->rule;
	UNROLL
	for (i = 0; i < sizeof(st->l4); i++)
		known->l4[i] = st->l4[i];
	bpf_map_update_elem(&fragments, &st->fragment_key, known, BPF_ANY);
}

#endif
