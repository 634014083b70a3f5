/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* address -> class, and what is true of that class whatever the rules say: deny sets and failsafe nets (stages 2 and 4). */
#ifndef NETPOL_CLASSES_H
#define NETPOL_CLASSES_H

#include "maps.h"
#include "parse_l4.h"
#include "sets.h"
#include "state.h"

MAP_ADDRESSES4;
MAP_ADDRESSES6;
MAP_CLASSES;
MAP_FAILSAFE;

INLINE __u32 np_class_of(__u8 family, const __u32 *address)
{
	__u32 *class;

	if (family == 4) {
		struct np_lpm4 key = { .prefixlen = 32, .address = address[0] };

		class = bpf_map_lookup_elem(&addresses4, &key);
	} else {
		struct np_lpm6 key = { .prefixlen = 128, .address = { address[0], address[1], address[2], address[3] } };

		class = bpf_map_lookup_elem(&addresses6, &key);
	}
	return class ? *class : 0;
}

INLINE __u32 np_source_class(struct np_state *st, const struct np_tuple *t)
{
	if (st->source_class == NP_NONE)
		st->source_class = np_class_of(t->family, t->src);
	return st->source_class;
}

INLINE __u32 np_destination_class(struct np_state *st, const struct np_tuple *t)
{
	if (st->destination_class == NP_NONE)
		st->destination_class = np_class_of(t->family, t->dst);
	return st->destination_class;
}

/* Bits of the failsafe entries for (hook, protocol, port). */
INLINE __u64 np_failsafe_bits(__u8 hook, __u16 protocol, __u16 port)
{
	struct np_failsafe_key key = { .hook = hook, .protocol = protocol, .port = port };
	__u64 *bits;

	if (protocol > 255)
		return 0;
	bits = bpf_map_lookup_elem(&failsafe, &key);
	return bits ? *bits : 0;
}

/* A deny set does not refuse what a failsafe entry with nets of its own lets in, nor the answers to what one lets out. */
INLINE int np_is_excused(const struct np_state *st, const struct np_tuple *t, const struct np_class *class)
{
	__u64 bits;

	if ((st->link.flags & NP_LINK_WORKLOAD) || t->part == NP_LATER || !class->failsafe_nets)
		return 0;
	bits = np_failsafe_bits(NP_HOOK_INGRESS, t->protocol, t->dport);
	bits |= np_failsafe_bits(NP_HOOK_EGRESS, t->protocol, t->sport);
	return (bits & class->failsafe_nets) != 0;
}

/* Whether the interface's deny sets hold the source, the static ones by its class. */
INLINE int np_find_in_deny_sets(struct np_state *st, const struct np_tuple *t, const struct np_class *class)
{
	__u64 until;

	if (class->deny_groups & st->link.deny_groups)
		return NP_IN_SET;
	if (!st->link.deny_sets.count)
		return NP_IN_NONE;
	np_make_element(st, t->family, t->src);
	return np_find_in_sets(st, st->link.deny_sets, &until);
}

/* Stage 2, at the ingress hook only. */
INLINE __u32 np_deny_set(struct np_state *st, const struct np_tuple *t)
{
	int refuse_part = t->part != NP_WHOLE && (st->link.flags & NP_LINK_DROP_FRAGMENTS);
	struct np_class *class;
	__u32 index;
	int found;

	if (t->hook != NP_HOOK_INGRESS || (!np_has_deny_sets(st) && !refuse_part))
		return 0;
	index = np_source_class(st, t);
	class = bpf_map_lookup_elem(&classes, &index);
	if (!class)
		return NP_R_INTERNAL;
	found = np_find_in_deny_sets(st, t, class);
	if (found == NP_NO_SET)
		return NP_R_INTERNAL;
	if ((found == NP_IN_NONE && !refuse_part) || np_is_excused(st, t, class))
		return 0;
	return found == NP_IN_SET ? NP_R_DENY_SET : NP_R_FRAGMENTS_REFUSED;
}

#endif
