/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * One instance a generation, bound to that generation's maps: stages 2 to 7. Reads state, writes none but counters; what has
 * to be written to flows and fragments is left as NP_DO_* for the epilogue.
 */
#include "antispoof.h"
#include "context.h"
#include "cookie_check.h"
#include "scratch.h"
#include "rules.h"
#include "stages.h"
#include "verdict.h"

MAP_ETHERTYPES;
MAP_TC_PROGRAMS;

INLINE int np_decide(struct np_state *st, __u32 reason)
{
	st->reason = reason;
	return NP_DECIDED;
}

/* Stage 3. The hook is isolated; ARP comes here only where stage 2c looks at it. */
INLINE int np_judge_ethertype(struct np_state *st)
{
	struct np_ethertype_key key = { .group = st->link.ethertype_group, .ethertype = st->ethertype };

	if (st->ethertype == NP_ETH_ARP)
		return np_decide(st, NP_ACCEPTED);
	return np_decide(st, bpf_map_lookup_elem(&ethertypes, &key) ? NP_ACCEPTED : NP_R_ETHERTYPE);
}

/* What makes a flow where there is none. */
INLINE __u32 np_creation(const struct np_state *st)
{
	switch (st->kind) {
	case NP_KIND_OPENS:
	case NP_KIND_ALWAYS:
		return NP_DO_CREATE;
	case NP_KIND_SEGMENT:
		/* A RST ends something: it begins nothing. And a segment that anybody can forge has no place among the connections. */
		return (st->packet.tcp_flags & NP_RST) ? 0 : NP_DO_CREATE;
	}
	return 0;
}

/* A mid-stream TCP packet may open a flow: always, or while the connections that were there before us are adopted. */
INLINE int np_is_loose(const struct np_state *st)
{
	return (st->slot_flags & NP_SLOT_LOOSE) || st->link.adopt_until > st->now;
}

/* Whether the rules would judge this packet, if there were any that isolate its hook. */
INLINE int np_is_for_rules(const struct np_state *st)
{
	int has_flow = st->table != NP_TABLE_NONE;

	switch (st->kind) {
	case NP_KIND_STATELESS:
	case NP_KIND_ALWAYS:
		return 1;
	case NP_KIND_OPENS:
		return !has_flow;
	case NP_KIND_SEGMENT:
		return !has_flow && np_is_loose(st);
	}
	return 0;
}

/* A hook that no policy isolates: state is kept, nothing is refused. Policies in audit mode may judge what opens flows. */
INLINE int np_watch(struct np_state *st)
{
	int is_audited = st->link.audit_chain[st->packet.hook & 1] != NP_NONE;

	if (st->kind == NP_KIND_ERROR || st->kind == NP_KIND_LATER)
		return np_decide(st, NP_ACCEPTED);
	if (st->table == NP_TABLE_NONE) {
		if (st->kind != NP_KIND_SEGMENT || np_is_loose(st))
			st->todo |= np_creation(st);
		st->rule = NP_NONE;
	} else if (st->kind != NP_KIND_SYNACK || st->fits) {
		st->todo |= NP_DO_TOUCH;
	}
	np_decide(st, NP_ACCEPTED);
	if (!is_audited || !np_is_for_rules(st) || np_is_failsafe(st, &st->packet))
		return NP_DECIDED;
	return NP_JUDGE_AUDIT;
}

/* A packet of a live flow: passes, or the flow has to be judged again first. */
INLINE int np_follow_flow(struct np_state *st)
{
	if (st->kind != NP_KIND_ERROR)
		st->todo |= NP_DO_TOUCH;
	return st->stale ? NP_JUDGE_OPENING : np_decide(st, NP_ACCEPTED);
}

/* Stage 5. */
INLINE int np_judge_state(struct np_state *st)
{
	int has_flow = st->table != NP_TABLE_NONE;

	switch (st->kind) {
	case NP_KIND_REDIRECT:
		return np_decide(st, NP_R_ICMP_REDIRECT);
	case NP_KIND_STATELESS:
		return NP_JUDGE_PACKET;
	case NP_KIND_LATER:
		if (st->memory != NP_MEMORY_KNOWN)
			return NP_JUDGE_PACKET;
		st->rule = st->remembered_rule;
		return np_decide(st, st->remembered_reason);
	case NP_KIND_ALWAYS:
		st->todo |= has_flow ? NP_DO_TOUCH : NP_DO_CREATE;
		return NP_JUDGE_PACKET;
	case NP_KIND_OPENS:
		if (has_flow)
			return np_follow_flow(st);
		st->todo |= NP_DO_CREATE;
		return NP_JUDGE_PACKET;
	case NP_KIND_SEGMENT:
		if (has_flow)
			return np_follow_flow(st);
		if (!np_is_loose(st))
			return np_decide(st, NP_R_NO_CONNECTION);
		st->todo |= np_creation(st);
		return NP_JUDGE_PACKET;
	case NP_KIND_SYNACK:
		return has_flow && st->fits ? np_follow_flow(st) : np_decide(st, NP_R_NO_CONNECTION);
	case NP_KIND_NEEDS:
	case NP_KIND_ERROR:
		return has_flow ? np_follow_flow(st) : np_decide(st, NP_R_NO_CONNECTION);
	}
	return np_decide(st, NP_R_INTERNAL);
}

INLINE void np_accept_failsafe(struct np_state *st)
{
	st->reason = NP_ACCEPTED;
	st->rule = NP_NONE;
	if (st->kind == NP_KIND_ERROR)
		return;
	st->todo |= NP_DO_ANYWAY | (st->table == NP_TABLE_NONE ? np_creation(st) : NP_DO_TOUCH);
}

/* Whether this interface asks something of packets as they arrive. */
INLINE int np_is_asked(const struct np_state *st)
{
	const struct np_link *link = &st->link;

	if (st->packet.hook != NP_HOOK_INGRESS)
		return 0;
	return np_has_deny_sets(st) || (link->flags & (NP_LINK_ANTI_SPOOF | NP_LINK_DROP_FRAGMENTS)) ||
	       link->limit_packets != NP_NONE || link->limit_syns != NP_NONE;
}

/* Stages 2 to 2c of the packet itself; 0 = it may go on. Where XDP is, it has counted the packet. */
INLINE __u32 np_judge_arrival(np_ctx *ctx, struct np_state *st)
{
	__u32 reason = 0;

	if (st->packet.family) {
		reason = np_deny_set(st, &st->packet);
		if (!reason && !(st->link.flags & NP_LINK_XDP))
			reason = np_rate_of_source(st, &st->packet);
	}
	if (reason || st->link.chain[NP_HOOK_INGRESS] == NP_NONE)
		return reason;
	return np_anti_spoof(ctx, st);
}

/* Stages 4 and 5 of the packet itself. */
INLINE int np_judge_packet(struct np_state *st)
{
	if (st->link.chain[st->packet.hook & 1] == NP_NONE)
		return np_watch(st);
	if (st->memory == NP_MEMORY_CONFLICT) {
		st->todo |= NP_DO_FORGET;
		return np_decide(st, NP_R_FRAGMENT_CONFLICT);
	}
	if (st->packet.part == NP_FIRST)
		st->todo |= NP_DO_REMEMBER;
	if (np_is_failsafe(st, &st->packet)) {
		np_accept_failsafe(st);
		return NP_DECIDED;
	}
	return np_judge_state(st);
}

/* Stages 2 and 4 of the opening packet of a flow that is stale. 1 = decided. */
INLINE int np_is_opening_decided(struct np_state *st)
{
	__u32 reason;

	st->source_class = NP_NONE;
	st->destination_class = NP_NONE;
	reason = np_deny_set(st, &st->judged);
	if (reason) {
		st->reason = reason;
		return 1;
	}
	if (st->link.chain[st->judged.hook & 1] == NP_NONE || np_is_failsafe(st, &st->judged)) {
		st->reason = NP_ACCEPTED;
		st->rule = NP_NONE;
		return 1;
	}
	return 0;
}

/* What the verdict on st->judged means for the packet and its flow. */
INLINE void np_conclude(struct np_state *st, __u32 judged)
{
	if (judged == NP_JUDGE_AUDIT) {
		st->reason = NP_ACCEPTED;
		st->rule = NP_NONE;
		st->log = 0;
		st->expires = 0;
		return;
	}
	if (judged == NP_JUDGE_PACKET) {
		if (st->reason != NP_ACCEPTED)
			st->todo &= NP_DO_REMEMBER;
		return;
	}
	if (st->reason == NP_ACCEPTED)
		st->todo |= NP_DO_STAMP;
	else
		/* What a ruleset on trial refuses may be allowed again a minute later: such flows stand still. */
		st->todo = (st->todo & NP_DO_REMEMBER) | (st->slot_flags & NP_SLOT_TRIAL ? 0 : NP_DO_DELETE);
}

INLINE __u32 np_chain_of(const struct np_state *st, int next)
{
	__u32 hook = st->judged.hook & 1;

	return next == NP_JUDGE_AUDIT ? st->link.audit_chain[hook] : st->link.chain[hook];
}

/* Stages 4 to 6, and the candidates of stage 7. Afterwards the packet is decided, or st->walking says what is judged. */
INLINE void np_begin(struct np_state *st)
{
	int next = np_judge_packet(st);

	if (next == NP_DECIDED)
		return;
	if (next != NP_JUDGE_OPENING)
		st->judged = st->packet;
	else if (np_is_opening_decided(st)) {
		np_conclude(st, next);
		return;
	}
	BARRIER();
	if (np_is_essential(st, &st->judged)) {
		st->reason = NP_ACCEPTED;
		st->rule = NP_NONE;
		if (next != NP_JUDGE_AUDIT)
			st->todo &= ~(NP_DO_CREATE | NP_DO_ESTABLISHED);
		np_conclude(st, next);
	} else if (np_begin_rules(st, np_chain_of(st, next))) {
		st->walking = next;
	} else {
		np_conclude(st, next);
	}
}

/* What only this program and the epilogue read; main does not spend time on it. */
INLINE void np_reset_verdict(struct np_state *st)
{
	st->walking = NP_DECIDED;
	st->reason = NP_R_INTERNAL;
	st->chain = st->link.chain[st->packet.hook & 1];
	st->expires = 0;
	st->spoken = 0;
	st->audits = 0;
	st->reject_with = NP_REJECT_UNSTATED;
}

SEC("classifier/np_tc_policy") int np_tc_policy(np_ctx *ctx)
{
	struct np_state *st;

	st = np_find_scratch(ctx);
	if (!st)
		return NP_VERDICT_DROP;
	if (st->walking == NP_DECIDED && np_is_asked(st)) {
		np_reset_verdict(st);
		st->reason = np_judge_arrival(ctx, st);
		if (st->reason == NP_ACCEPTED) {
			/* A run of its own: the verifier need not follow what comes after for each way through these checks. */
			st->walking = NP_ARRIVED;
			bpf_tail_call(ctx, &tc_programs, st->slot);
			return np_leave(st, np_finish(st->packet.hook & 1, NP_R_TAIL_CALL));
		}
		bpf_tail_call(ctx, &tc_programs, NP_TC_EPILOGUE);
		return np_leave(st, np_finish(st->packet.hook & 1, NP_R_TAIL_CALL));
	}
	if (st->walking == NP_DECIDED || st->walking == NP_ARRIVED) {
		np_reset_verdict(st);
		if (st->packet.family == 0) {
			np_judge_ethertype(st);
		} else {
			np_take_cookie(ctx, st);
			np_begin(st);
		}
		BARRIER();
	}
	if (st->walking) {
		if (np_walk_rules(st) == NP_MORE_RULES) {
			bpf_tail_call(ctx, &tc_programs, st->slot);
			return np_leave(st, np_finish(st->packet.hook & 1, NP_R_TAIL_CALL));
		}
		np_conclude(st, st->walking);
	}
	bpf_tail_call(ctx, &tc_programs, NP_TC_EPILOGUE);
	return np_leave(st, np_finish(st->packet.hook & 1, NP_R_TAIL_CALL));
}
