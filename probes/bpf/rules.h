/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Stage 7: the rules of a chain, lowest number first, then its default. Counts what each rule judged. */
#ifndef NETPOL_RULES_H
#define NETPOL_RULES_H

#include "candidates.h"
#include "conditions.h"

/* More in one run cost verification time at every reload, fewer cost tail calls: most packets have less than this. */
#define NP_CANDIDATES_AT_ONCE 4

/*
 * A run ends after so many candidates or with a condition, so there are at most NP_MAX_CANDIDATES / NP_CANDIDATES_AT_ONCE +
 * NP_MAX_CONDITIONAL + 1 of them, and one for arrival. With main and the epilogue they stay below the kernel's limit of 33 tail calls.
 */
_Static_assert(NP_MAX_CANDIDATES / NP_CANDIDATES_AT_ONCE + NP_MAX_CONDITIONAL + 2 < 30, "too many tail calls for one packet");

enum np_walk {
	NP_WALKED = 0,
	NP_MORE_RULES = 1,
};

MAP_RULES;
MAP_SLOTS;
MAP_RULE_COUNTERS;

/* Whether this event is not one too many. Each CPU has a rate of its own. */
INLINE int np_may_log(struct np_state *st, struct np_counter *counter)
{
	__u32 index = st->slot;
	struct np_slot *slot = bpf_map_lookup_elem(&slots, &index);
	__u64 next;

	if (!slot)
		return 0;
	next = np_next_arrival(counter->log_arrival, slot->log_cost, slot->log_depth, st->now);
	if (next)
		counter->log_arrival = next;
	else
		COUNT(counter->log_suppressed, 1);
	return next != 0;
}

/* Counts a hit. 1 = it is to be logged: that is wanted, and not too frequent. */
INLINE int np_hit(struct np_state *st, __u32 index, int log)
{
	struct np_counter *counter = bpf_map_lookup_elem(&rule_counters, &index);

	if (!counter)
		return 0;
	COUNT(counter->packets, 1);
	COUNT(counter->bytes, st->length);
	counter->last_hit = st->now;
	return log && np_may_log(st, counter);
}

/* An event for the epilogue to send. A packet that more policies would have denied than there is room for is a rarity. */
INLINE void np_note_audit(struct np_state *st, __u32 rule, __u8 reason, __u8 audit)
{
	__u32 at = st->audits;
	struct np_audit *noted;

	if (at >= NP_MAX_AUDIT_EVENTS)
		return;
	noted = &st->audit[MASKED(at, NP_MAX_AUDIT_EVENTS - 1)];
	noted->rule = rule;
	noted->reason = reason;
	noted->audit = audit;
	st->audits = at + 1;
}

/* A later fragment does not show what the rule reads. */
INLINE int np_is_hidden(const struct np_tuple *t, const struct np_rule *rule)
{
	__u8 hidden = t->protocol == NP_PROTOCOL_UNKNOWN ? NP_RULE_READS_L4 | NP_RULE_READS_PROTOCOL : NP_RULE_READS_L4;

	return t->part == NP_LATER && (rule->flags & hidden);
}

/* A rule of a policy in audit mode: counted, told, and no more than that. What is hidden from it, it does not judge. */
INLINE void np_audit_rule(struct np_state *st, const struct np_tuple *t, const struct np_rule *rule, __u32 number)
{
	int denies = rule->action == NP_DENY || rule->action == NP_REJECT;

	st->spoken |= 1ull << (rule->audit & 63);
	if (np_is_hidden(t, rule))
		return;
	if (np_hit(st, number, denies))
		np_note_audit(st, number, rule->action == NP_REJECT ? NP_R_REJECT : NP_R_RULE, rule->audit);
}

/* What one candidate says. NP_PASS: go on. The reason is left in st->reason. */
INLINE int np_apply(struct np_state *st, const struct np_tuple *t, const struct np_rule *rule, __u32 number)
{
	__u8 action = rule->action;

	if (rule->audit != NP_NOT_AUDIT) {
		np_audit_rule(st, t, rule, number);
		return NP_PASS;
	}
	if (np_is_hidden(t, rule)) {
		st->rule = number;
		st->reason = NP_R_FRAGMENT;
		return NP_DENY;
	}
	if (np_hit(st, number, rule->flags & NP_RULE_LOG))
		st->log = 1;
	if (action == NP_PASS)
		return NP_PASS;
	st->rule = number;
	st->reason = action == NP_ALLOW ? NP_ACCEPTED : action == NP_REJECT ? NP_R_REJECT : NP_R_RULE;
	st->reject_with = rule->reject_with;
	return action == NP_ALLOW ? NP_ALLOW : NP_DENY;
}

/* Number of the lowest bit: how many there are below it, counted without branches, each of which the verifier would follow. */
INLINE __u8 np_lowest_bit(__u64 bits)
{
	__u64 below = (bits & -bits) - 1;

	below -= (below >> 1) & 0x5555555555555555ull;
	below = (below & 0x3333333333333333ull) + ((below >> 2) & 0x3333333333333333ull);
	below = (below + (below >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (below * 0x0101010101010101ull) >> 56;
}

/* Policies in audit mode whose default would have denied what no rule of theirs has spoken of. */
INLINE void np_audit_default(struct np_state *st, const struct np_chain *chain)
{
	__u64 denying = chain->audit_denies & ~st->spoken;

	if (denying && np_hit(st, chain->audit_counter, 1))
		np_note_audit(st, NP_NONE, NP_R_DEFAULT, np_lowest_bit(denying));
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
	np_audit_default(st, chain);
	if (np_hit(st, chain->default_counter, !allows && chain->log_default))
		st->log = 1;
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
	st->asked = 0;
	return chain && np_collect(st, chain, &st->judged);
}

/* Whether the condition of a candidate holds; its rate is not asked where the rule could not decide. */
INLINE int np_ask_condition(struct np_state *st, const struct np_tuple *t, const struct np_rule *rule)
{
	__u32 index = rule->condition;
	struct np_condition *condition = bpf_map_lookup_elem(&conditions, &index);
	int holds;

	if (!condition || st->asked >= NP_MAX_CONDITIONAL)
		return NP_NO_CONDITION;
	st->asked += 1;
	holds = np_holds(st, condition, t);
	if (holds != NP_HOLDS || np_is_hidden(t, rule))
		return holds;
	return np_is_within(st, condition, t);
}

/* The candidate that has a condition, with which a run ends. */
INLINE int np_walk_conditional(struct np_state *st, const struct np_rule *rule, __u32 number)
{
	switch (np_ask_condition(st, &st->judged, rule)) {
	case NP_FAILS:
		return NP_MORE_RULES;
	case NP_NO_CONDITION:
		return NP_WALKED;
	}
	if (np_apply(st, &st->judged, rule, number) != NP_PASS)
		return NP_WALKED;
	st->from_policy = rule->policy + 1;
	return NP_MORE_RULES;
}

/* A few candidates; the program calls itself again for more, so that the verifier walks only these few. */
INLINE int np_walk_rules(struct np_state *st)
{
	struct np_rule *conditional = 0;
	__u32 number = NP_NONE;
	__u32 i;

	for (i = 0; i < NP_CANDIDATES_AT_ONCE; i++) {
		struct np_rule *rule;

		number = np_next_candidate(st);
		if (number == NP_NONE)
			return np_apply_default(st);
		/* The compiler makes no longer lists: nothing is decided by one that is. */
		if (st->steps >= NP_MAX_CANDIDATES)
			return NP_WALKED;
		st->steps += 1;
		rule = bpf_map_lookup_elem(&rules, &number);
		if (!rule)
			return NP_WALKED;
		if (rule->policy < st->from_policy)
			continue;
		if (rule->condition != NP_NONE) {
			conditional = rule;
			break;
		}
		if (np_apply(st, &st->judged, rule, number) != NP_PASS)
			return NP_WALKED;
		st->from_policy = rule->policy + 1;
	}
	return conditional ? np_walk_conditional(st, conditional, number) : NP_MORE_RULES;
}

#endif
