/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Stage 7: the rules of a chain, lowest number first, then its default. Counts what each rule judged. */
#ifndef NETPOL_RULES_H
#define NETPOL_RULES_H

#include "candidates.h"

/* More in one run cost verification time at every reload, fewer cost tail calls: most packets have less than this. */
#define NP_CANDIDATES_AT_ONCE 4

enum np_walk {
	NP_WALKED = 0,
	NP_MORE_RULES = 1,
};

MAP_RULES;
MAP_SLOTS;
MAP_RULE_COUNTERS;

/* Counts a hit, and asks for an event where that is wanted and not too frequent. */
INLINE void np_hit(struct np_state *st, __u32 index, int log)
{
	struct np_counter *counter = bpf_map_lookup_elem(&rule_counters, &index);
	struct np_slot *slot;
	__u32 index_of_slot = st->slot;
	__u64 arrival;

	if (!counter)
		return;
	counter->packets += 1;
	counter->bytes += st->length;
	counter->last_hit = st->now;
	if (!log)
		return;
	slot = bpf_map_lookup_elem(&slots, &index_of_slot);
	if (!slot)
		return;
	arrival = counter->log_arrival > st->now ? counter->log_arrival : st->now;
	arrival += slot->log_cost;
	if (arrival - st->now > slot->log_depth) {
		counter->log_suppressed += 1;
		return;
	}
	counter->log_arrival = arrival;
	st->log = 1;
}

/* What one candidate says. NP_PASS: go on. The reason is left in st->reason. */
INLINE int np_apply(struct np_state *st, const struct np_tuple *t, const struct np_rule *rule, __u32 number)
{
	__u8 hidden = t->protocol == NP_PROTOCOL_UNKNOWN ? NP_RULE_READS_L4 | NP_RULE_READS_PROTOCOL : NP_RULE_READS_L4;
	__u8 action = rule->action;

	if (t->part == NP_LATER && (rule->flags & hidden)) {
		st->rule = number;
		st->reason = NP_R_FRAGMENT;
		return NP_DENY;
	}
	np_hit(st, number, rule->flags & NP_RULE_LOG);
	if (action == NP_PASS)
		return NP_PASS;
	st->rule = number;
	if (action != NP_ALLOW) {
		st->reason = action == NP_REJECT ? NP_R_REJECT : NP_R_RULE;
		st->reject_with = rule->reject_with;
		return NP_DENY;
	}
	st->reason = NP_ACCEPTED;
	return NP_ALLOW;
}

INLINE int np_apply_default(struct np_state *st)
{
	struct np_chain *chain = bpf_map_lookup_elem(&chains, &st->chain);
	int allows;

	if (!chain)
		return NP_WALKED;
	allows = chain->default_action == NP_ALLOW;
	st->rule = NP_NONE;
	st->reason = allows ? NP_ACCEPTED : NP_R_DEFAULT;
	np_hit(st, chain->default_counter, !allows && chain->log_default);
	return NP_WALKED;
}

/*
 * Collects the candidates of st->judged in a chain. 0 = a look-up failed that cannot. Whatever goes wrong from here on is
 * NP_R_INTERNAL, because that is the reason until a rule or the default gives another.
 */
INLINE int np_begin_rules(struct np_state *st, __u32 chain_index)
{
	struct np_chain *chain = bpf_map_lookup_elem(&chains, &chain_index);

	st->reason = NP_R_INTERNAL;
	st->rule = NP_NONE;
	st->chain = chain_index;
	st->from_policy = 0;
	st->steps = 0;
	return chain && np_collect(st, chain, &st->judged);
}

/* A few candidates; the program calls itself again for more, so that the verifier walks only these few. */
INLINE int np_walk_rules(struct np_state *st)
{
	__u32 i;

	for (i = 0; i < NP_CANDIDATES_AT_ONCE; i++) {
		__u32 number = np_next_candidate(st);
		struct np_rule *rule;

		if (number == NP_NONE)
			return np_apply_default(st);
		rule = bpf_map_lookup_elem(&rules, &number);
		if (!rule)
			return NP_WALKED;
		if (rule->policy < st->from_policy)
			continue;
		if (np_apply(st, &st->judged, rule, number) != NP_PASS)
			return NP_WALKED;
		st->from_policy = rule->policy + 1;
	}
	st->steps += NP_CANDIDATES_AT_ONCE;
	/* Once more after the last candidate that there can be: the default comes then. */
	return st->steps <= NP_MAX_CANDIDATES ? NP_MORE_RULES : NP_WALKED;
}

#endif
