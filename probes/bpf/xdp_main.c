/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The earliest refusal, before the kernel spends anything on a packet: malformed ones here, deny sets and unwanted fragments
 * by the policy program. Never an acceptance: what passes here is judged by tc.
 */
#define NP_XDP
#include "generation.h"
#include "parse.h"
#include "scratch.h"
#include "verdict.h"

MAP_XDP_PROGRAMS;

INLINE __u32 np_refuse_early(struct np_state *st, __u32 reason)
{
	return reason && np_refuses_parse(st, NP_HOOK_INGRESS, reason) ? reason : NP_ACCEPTED;
}

/* Whether stages 2 and 2b could refuse this packet, or a cookie answer it. */
INLINE int np_may_be_denied(const struct np_state *st)
{
	if (st->packet.family == 0)
		return 0;
	if (np_has_deny_sets(st) || st->link.limit_packets != NP_NONE || st->link.limit_syns != NP_NONE)
		return 1;
	if ((st->link.flags & NP_LINK_SYN_COOKIES) && (st->packet.tcp_flags & NP_SYN))
		return 1;
	return st->packet.part != NP_WHOLE && (st->link.flags & NP_LINK_DROP_FRAGMENTS);
}

SEC("xdp/np_xdp_main") int np_xdp_main(struct xdp_md *ctx)
{
	struct np_slot *slot = 0;
	struct np_state *st;
	__u32 reason;

	st = np_take_scratch(ctx);
	if (!st)
		return np_finish(NP_HOOK_XDP, NP_R_INTERNAL);
	np_read_clock(st);
	switch (np_select(st, ctx->ingress_ifindex, &slot)) {
	case NP_UNTOUCHED:
		return np_leave(st, np_finish(NP_HOOK_XDP, NP_ACCEPTED));
	case NP_BROKEN:
		return np_leave(st, np_finish(NP_HOOK_XDP, NP_R_INTERNAL));
	}
	np_reset_packet(ctx, st, NP_HOOK_INGRESS);
	reason = np_parse(ctx, st, 0);
	if (reason || !np_may_be_denied(st))
		return np_leave(st, np_finish(NP_HOOK_XDP, np_refuse_early(st, reason)));
	bpf_tail_call(ctx, &xdp_programs, st->slot);
	return np_leave(st, np_finish(NP_HOOK_XDP, NP_R_TAIL_CALL));
}
