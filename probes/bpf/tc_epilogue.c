/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Last program of a judged packet, the same for all generations: writes flows and fragment memory, counts, logs, answers what
 * is rejected, and says the verdict. A packet that should have got a flow and finds no room is refused here.
 */
#include "answer.h"
#include "events.h"
#include "flow_write.h"
#include "fragments.h"
#include "scratch.h"
#include "verdict.h"

INLINE void np_write_flow(struct np_state *st)
{
	if (st->todo & NP_DO_DELETE) {
		np_delete_flow(st);
		return;
	}
	if (st->todo & NP_DO_CREATE)
		np_create_flow(st);
	else if (st->todo & (NP_DO_TOUCH | NP_DO_STAMP))
		np_continue_flow(st);
}

INLINE void np_write_fragment(struct np_state *st)
{
	if (st->todo & NP_DO_FORGET)
		bpf_map_delete_elem(&fragments, &st->fragment_key);
	else if (st->todo & NP_DO_REMEMBER)
		np_remember_fragment(st);
}

SEC("classifier/np_tc_epilogue") int np_tc_epilogue(struct __sk_buff *ctx)
{
	struct np_state *st;
	int verdict;

	st = np_find_scratch(ctx);
	if (!st)
		return NP_VERDICT_DROP;
	np_write_flow(st);
	np_write_fragment(st);
	np_send_events(st);
	verdict = np_finish(st->packet.hook & 1, st->reason);
	if (st->reason == NP_R_REJECT && np_answer(ctx, st))
		return np_leave(st, NP_VERDICT_REDIRECT);
	return np_leave(st, verdict);
}
