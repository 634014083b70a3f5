/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What no class can carry: dynamic sets, expiry, rates. Asked of one candidate at a time, after its classes have matched. */
#ifndef NETPOL_CONDITIONS_H
#define NETPOL_CONDITIONS_H

#include "limits.h"
#include "sets.h"

MAP_CONDITIONS;

enum np_answer_of_condition {
	NP_FAILS = 0,
	NP_HOLDS = 1,
	NP_NO_CONDITION = 2, /* a look-up failed that cannot */
};

#define NP_SET_LISTS 4 /* source any, source none, destination any, destination none */

/* The verdict rests on something that ends at `until`. */
INLINE void np_note_end(struct np_state *st, __u64 until)
{
	if (until != NP_NEVER && (!st->expires || until < st->expires))
		st->expires = until;
}

/* One of the four lists. */
INLINE int np_does_list_hold(struct np_state *st, struct np_list list, int none)
{
	__u64 until = NP_NEVER;
	int found;

	if (!list.count)
		return NP_HOLDS;
	found = np_find_in_sets(st, list, &until);
	if (found == NP_NO_SET)
		return NP_NO_CONDITION;
	if (found == NP_IN_SET)
		np_note_end(st, until);
	return (found == NP_IN_SET) != none ? NP_HOLDS : NP_FAILS;
}

INLINE int np_do_lists_hold(struct np_state *st, const struct np_condition *condition, const struct np_tuple *t)
{
	const struct np_list *lists = &condition->source_any;
	__u32 i;

	for (i = 0; i < NP_SET_LISTS; i++) {
		int holds;

		np_make_element(st, t->family, i < 2 ? t->src : t->dst);
		holds = np_does_list_hold(st, lists[i], i & 1);
		if (holds != NP_HOLDS)
			return holds;
	}
	return NP_HOLDS;
}

/* All but the rate. */
INLINE int np_holds(struct np_state *st, const struct np_condition *condition, const struct np_tuple *t)
{
	__u64 expires = *(volatile __u64 *)&condition->expires;

	if (expires && expires <= st->now)
		return NP_FAILS;
	if (expires)
		np_note_end(st, expires);
	return np_do_lists_hold(st, condition, t);
}

/* The rate. A flow that is judged again holds what it has, and uses nothing up. */
INLINE int np_is_within(struct np_state *st, const struct np_condition *condition, const struct np_tuple *t)
{
	int rate;

	if (condition->limit == NP_NONE || st->walking == NP_JUDGE_OPENING)
		return NP_HOLDS;
	rate = np_take_for_rule(st, condition->limit, t);
	if (rate == NP_NO_LIMIT)
		return NP_NO_CONDITION;
	return rate == NP_WITHIN ? NP_HOLDS : NP_FAILS;
}

#endif
