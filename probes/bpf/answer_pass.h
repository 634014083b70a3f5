/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Answers to rejected packets on their way through our own programs: known by a mark that is noted in a map. They pass once, at
 * the hook where they are expected. Whoever can set a mark but is not in the map gains nothing by it.
 */
#ifndef NETPOL_ANSWER_PASS_H
#define NETPOL_ANSWER_PASS_H

#include "maps.h"
#include "state.h"

MAP_ANSWERS;

/* 1 = it will be recognised at that hook of this interface. *mark = what the packet has to carry. */
INLINE int np_expect_answer(const struct np_state *st, __u32 hook, __u32 *mark)
{
	struct np_answer answer = { .time = st->now, .ifindex = st->ifindex, .hook = hook };
	__u32 low = bpf_get_prandom_u32() & ~NP_ANSWER_MARK_MASK;

	*mark = NP_ANSWER_MARK | (low ? low : 1);
	return bpf_map_update_elem(&answers, mark, &answer, BPF_ANY) == 0;
}

/* On the loopback device what leaves arrives at once: there the answer is expected a second time. */
INLINE void np_pass_answer(struct __sk_buff *ctx, const struct np_state *st, __u32 hook, __u32 mark)
{
	struct np_answer again = { .time = st->now, .ifindex = st->ifindex, .hook = NP_HOOK_INGRESS };

	if ((st->link.flags & NP_LINK_LOOPBACK) && hook == NP_HOOK_EGRESS) {
		bpf_map_update_elem(&answers, &mark, &again, BPF_EXIST);
		return;
	}
	bpf_map_delete_elem(&answers, &mark);
	ctx->mark = 0;
}

/* Whether the packet is an answer of ours that is expected here. The clocks of two CPUs may be a tick apart. */
INLINE int np_is_answer(struct __sk_buff *ctx, const struct np_state *st, __u32 hook)
{
	__u32 mark = ctx->mark;
	struct np_answer *answer;

	if ((mark & NP_ANSWER_MARK_MASK) != NP_ANSWER_MARK)
		return 0;
	answer = bpf_map_lookup_elem(&answers, &mark);
	if (!answer || answer->ifindex != st->ifindex || answer->hook != hook || st->now >= answer->time + NP_ANSWER_LIFE_NS)
		return 0;
	np_pass_answer(ctx, st, hook, mark);
	return 1;
}

#endif
