/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Limits: rates that several CPUs share, of a rule as a whole or of one source or destination. */
#ifndef NETPOL_LIMITS_H
#define NETPOL_LIMITS_H

#include "classes.h"
#include "parse_l4.h"
#include "rates.h"

MAP_LIMITS;
MAP_BUCKETS;

/* A store that another CPU was faster with is tried again. Who loses every time is above the rate: others have used it up. */
#define NP_TAKE_TRIES 4

enum np_rate {
	NP_ABOVE = 0,
	NP_WITHIN = 1,
	NP_NO_LIMIT = 2, /* a look-up failed that cannot */
};

INLINE int np_take(__u64 *arrival, const struct np_limit *limit, __u64 now)
{
	__u32 i;

	UNROLL
	for (i = 0; i < NP_TAKE_TRIES; i++) {
		__u64 old = *(volatile __u64 *)arrival;
		__u64 next = np_next_arrival(old, limit->cost, limit->depth, now);

		if (!next)
			return NP_ABOVE;
		if (__sync_val_compare_and_swap(arrival, old, next) == old)
			return NP_WITHIN;
	}
	return NP_ABOVE;
}

/* By address; an IPv6 host commands its whole /64. */
INLINE int np_take_from_bucket(struct np_state *st, const struct np_limit *limit, __u32 scope, __u8 family, const __u32 *address)
{
	struct np_bucket_key *key = &st->bucket;
	__u64 *arrival;
	__u64 first;

	key->limit = limit->id;
	key->scope = scope;
	key->family = family;
	key->address[0] = address[0];
	key->address[1] = family == 6 ? address[1] : 0;
	key->address[2] = 0;
	key->address[3] = 0;
	arrival = bpf_map_lookup_elem(&buckets, key);
	if (!arrival) {
		first = np_next_arrival(0, limit->cost, limit->depth, st->now);
		if (!first)
			return NP_ABOVE;
		if (!bpf_map_update_elem(&buckets, key, &first, BPF_NOEXIST))
			return NP_WITHIN;
		/* Another CPU has made it meanwhile. */
		arrival = bpf_map_lookup_elem(&buckets, key);
		if (!arrival)
			return NP_ABOVE;
	}
	return np_take(arrival, limit, st->now);
}

/* The limit of a rule. */
INLINE int np_take_for_rule(struct np_state *st, __u32 index, const struct np_tuple *t)
{
	struct np_limit *limit = bpf_map_lookup_elem(&limits, &index);

	if (!limit)
		return NP_NO_LIMIT;
	if (limit->per == NP_PER_RULE)
		return np_take(&limit->arrival, limit, st->now);
	return np_take_from_bucket(st, limit, 0, t->family, limit->per == NP_PER_SOURCE ? t->src : t->dst);
}

/* One of the limits of an interface; NP_NONE = there is none. */
INLINE __u32 np_ask_source(struct np_state *st, const struct np_tuple *t, __u32 index)
{
	struct np_limit *limit;
	int rate;

	if (index == NP_NONE)
		return 0;
	limit = bpf_map_lookup_elem(&limits, &index);
	if (!limit)
		return NP_R_INTERNAL;
	rate = np_take_from_bucket(st, limit, st->ifindex, t->family, t->src);
	return rate == NP_WITHIN ? 0 : NP_R_RATE_LIMIT;
}

INLINE int np_is_syn(const struct np_tuple *t)
{
	return t->part != NP_LATER && t->protocol == NP_TCP &&
	       (t->tcp_flags & (NP_SYN | NP_ACK | NP_RST | NP_FIN)) == NP_SYN;
}

/* Stage 2b, of packets that arrive. Failsafe entries with nets are excused as from deny sets. */
INLINE __u32 np_rate_of_source(struct np_state *st, const struct np_tuple *t)
{
	__u32 syns = np_is_syn(t) ? st->link.limit_syns : NP_NONE;
	struct np_class *class;
	__u32 index, reason;

	if (t->hook != NP_HOOK_INGRESS || (st->link.limit_packets == NP_NONE && syns == NP_NONE))
		return 0;
	index = np_source_class(st, t);
	class = bpf_map_lookup_elem(&classes, &index);
	if (!class)
		return NP_R_INTERNAL;
	if (np_is_excused(st, t, class))
		return 0;
	reason = np_ask_source(st, t, st->link.limit_packets);
	return reason ? reason : np_ask_source(st, t, syns);
}

#endif
