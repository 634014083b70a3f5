/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * First program at every tc hook, the same for all generations: parse, choose the generation, find the flow.
 * A packet of an established flow that the running generation allows ends here; all others are judged by its policy program.
 */
#include "answer_pass.h"
#include "flow_lookup.h"
#include "fragments.h"
#include "generation.h"
#include "parse.h"
#include "scratch.h"
#include "verdict.h"

MAP_TC_PROGRAMS;

INLINE void np_reset_state(struct np_state *st)
{
	st->kind = NP_KIND_STATELESS;
	st->table = NP_TABLE_NONE;
	st->stale = 0;
	st->forward = 0;
	st->fits = 0;
	st->memory = NP_MEMORY_NONE;
	st->reason = NP_R_INTERNAL;
	st->rule = NP_NONE;
	st->todo = 0;
	st->walking = 0;
	st->log = 0;
	st->source_class = NP_NONE;
	st->destination_class = NP_NONE;
}

/* Whether something about every arriving packet is asked by the policy program. */
INLINE int np_asks_arrivals(const struct np_state *st)
{
	if ((st->link.flags & NP_LINK_ANTI_SPOOF) && st->link.chain[NP_HOOK_INGRESS] != NP_NONE)
		return 1;
	/* Where XDP is, it has looked at deny sets and counted the packet. */
	return !(st->link.flags & NP_LINK_XDP) && (np_has_deny_sets(st) || st->link.limit_packets != NP_NONE);
}

/* Whether an ARP frame may pass without a look at it. */
INLINE int np_is_free_arp(const struct np_state *st)
{
	return st->ethertype == NP_ETH_ARP &&
	       (st->packet.hook != NP_HOOK_INGRESS || !(st->link.flags & NP_LINK_ANTI_SPOOF));
}

/* Whether a packet of this flow may be accepted without the policy program: nothing about it can still be refused. */
INLINE int np_is_plain(const struct np_state *st)
{
	if (st->table != NP_TABLE_CONNECTIONS || st->stale || st->packet.part != NP_WHOLE)
		return 0;
	if (st->packet.hook == NP_HOOK_INGRESS && np_asks_arrivals(st))
		return 0;
	if (st->kind == NP_KIND_SEGMENT)
		return !(st->packet.tcp_flags & (NP_RST | NP_FIN));
	return st->kind == NP_KIND_OPENS || st->kind == NP_KIND_NEEDS;
}

/* Accepts a plain packet of a live flow. 0 = the policy program has to see it. */
INLINE int np_is_accepted_here(np_ctx *ctx, struct np_state *st, const struct np_slot *slot)
{
	struct np_flow *flow;

	st->kind = np_kind_of(st);
	if (st->packet.part != NP_WHOLE)
		np_recall_fragment(st);
	if (st->kind == NP_KIND_LATER || st->kind == NP_KIND_STATELESS || st->kind == NP_KIND_REDIRECT)
		return 0;
	if (st->kind == NP_KIND_ERROR) {
		if (!np_key_of_error(ctx, st))
			return 0;
	} else {
		np_make_key(st, &st->packet, st->echo_id);
	}
	flow = np_find_flow(st, slot);
	if (!flow)
		return 0;
	np_note_flow(st, flow);
	if (!np_is_plain(st))
		return 0;
	np_count_packet(flow, st, !st->forward);
	if (st->kind == NP_KIND_SEGMENT)
		np_track_segment(flow, st, !st->forward);
	return 1;
}

INLINE int np_main(np_ctx *ctx, __u8 hook, int raw)
{
	struct np_slot *slot = 0;
	struct np_state *st;
	__u32 reason;

	st = np_take_scratch(ctx);
	if (!st)
		return np_finish(hook, NP_R_INTERNAL);
	np_read_clock(st);
	switch (np_select(st, ctx->ifindex, &slot)) {
	case NP_UNTOUCHED:
		return np_leave(st, np_finish(hook, NP_ACCEPTED));
	case NP_BROKEN:
		return np_leave(st, np_finish(hook, NP_R_INTERNAL));
	}
	if (!slot)
		return np_leave(st, np_finish(hook, NP_R_INTERNAL));
	if (np_is_answer(ctx, st, hook))
		return np_leave(st, np_finish(hook, NP_ACCEPTED));
	np_reset_packet(ctx, st, hook);
	np_reset_state(st);
	reason = np_parse(ctx, st, raw);
	if (reason)
		return np_leave(st, np_finish(hook, np_refuses_parse(st, hook, reason) ? reason : NP_ACCEPTED));
	if (st->packet.family == 0) {
		if (np_is_free_arp(st) || st->link.chain[hook] == NP_NONE)
			return np_leave(st, np_finish(hook, NP_ACCEPTED));
	} else if (np_is_accepted_here(ctx, st, slot)) {
		return np_leave(st, np_finish(hook, NP_ACCEPTED));
	}
	bpf_tail_call(ctx, &tc_programs, st->slot);
	return np_leave(st, np_finish(hook, NP_R_TAIL_CALL));
}

SEC("classifier/np_tc_ingress") int np_tc_ingress(np_ctx *ctx)
{
	return np_main(ctx, NP_HOOK_INGRESS, 0);
}

SEC("classifier/np_tc_egress") int np_tc_egress(np_ctx *ctx)
{
	return np_main(ctx, NP_HOOK_EGRESS, 0);
}

SEC("classifier/np_raw_ingress") int np_raw_ingress(np_ctx *ctx)
{
	return np_main(ctx, NP_HOOK_INGRESS, 1);
}

SEC("classifier/np_raw_egress") int np_raw_egress(np_ctx *ctx)
{
	return np_main(ctx, NP_HOOK_EGRESS, 1);
}
