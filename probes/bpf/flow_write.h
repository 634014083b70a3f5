/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Makes, changes, moves and deletes flows. Only the epilogue does so, and main for packets of established flows.
 *
 * Counts and times are written through the looked-up pointer. The element behind it may be deleted and given to another flow
 * at the same moment; so what decides about later packets (who judged it and until when that holds, a move between tables) is written under the table's
 * own lock, by a whole update.
 */
#ifndef NETPOL_FLOW_WRITE_H
#define NETPOL_FLOW_WRITE_H

#include "flow_lookup.h"
#include "sweep.h"

INLINE void np_delete_flow(struct np_state *st)
{
	bpf_map_delete_elem(&connections, &st->key);
	bpf_map_delete_elem(&half_open, &st->key);
}

/* There is no room for the flow: without it the answers would be refused, so the packet is. */
INLINE void np_refuse_full(struct np_state *st)
{
	if (!(st->todo & NP_DO_ANYWAY) && st->link.chain[st->packet.hook & 1] != NP_NONE)
		st->reason = NP_R_CONNTRACK_FULL;
}

/* This generation allows the flow, with the sets as they are, until something expires. */
INLINE void np_stamp(struct np_state *st, struct np_flow *flow)
{
	flow->generation = st->generation;
	flow->epoch = st->epoch;
	flow->expires = st->expires;
	flow->rule = st->rule;
}

INLINE void np_fill_new_flow(struct np_state *st, __u8 state)
{
	struct np_flow empty = { 0 };
	struct np_flow *flow = &st->flow;

	*flow = empty;
	flow->seen = st->now;
	flow->created = st->now;
	flow->packets[0] = 1;
	flow->bytes[0] = st->length;
	np_stamp(st, flow);
	flow->isn = st->seq;
	flow->state = state;
	flow->opener = st->packet.hook;
	flow->tcp_flags = st->packet.tcp_flags;
	flow->icmp_code = st->packet.icmp_code;
}

/* A flow for this packet. An expired one under the same key, in either table, is no longer seen by anybody. */
INLINE void np_create_flow(struct np_state *st)
{
	long failed;

	if (st->todo & NP_DO_ESTABLISHED) {
		np_fill_new_flow(st, NP_FLOW_ESTABLISHED);
		failed = np_insert_connection(st);
	} else {
		np_fill_new_flow(st, NP_FLOW_NEW);
		failed = np_insert_half_open(st);
	}
	if (failed)
		np_refuse_full(st);
}

/* What a SYN (or INIT) that the rules allow does to a flow that is there: a closed one, and a new one of the same side, begin anew. */
INLINE void np_reopen(struct np_state *st, struct np_flow *flow)
{
	if (flow->state < NP_FLOW_CLOSED && (flow->state != NP_FLOW_NEW || !st->forward))
		return;
	/* A new flow is written over: deleted, it would lose its place in a full table to a flow on another CPU. The ring knows its key. */
	if (flow->state == NP_FLOW_NEW) {
		np_fill_new_flow(st, NP_FLOW_NEW);
		if (bpf_map_update_elem(&half_open, &st->key, &st->flow, BPF_EXIST) == 0)
			return;
	}
	np_delete_flow(st);
	np_create_flow(st);
}

/* TCP. 1 = the handshake is complete with this packet. */
INLINE int np_track_tcp(struct np_state *st, struct np_flow *flow)
{
	__u32 side = !st->forward;

	if (st->kind == NP_KIND_SYNACK) {
		if (flow->state <= NP_FLOW_ANSWERED) {
			flow->isn = st->seq;
			flow->state = NP_FLOW_ANSWERED;
			np_note_sent(flow, st, side);
			np_note_ack(flow, st, side);
		}
		return 0;
	}
	np_track_segment(flow, st, side);
	if ((st->packet.tcp_flags & (NP_ACK | NP_RST)) != NP_ACK)
		return 0;
	/* A flow that began in mid-stream is a connection as soon as the other side acknowledges anything. */
	if (flow->state == NP_FLOW_NEW)
		return !st->forward && (flow->tcp_flags & (NP_SYN | NP_ACK | NP_RST | NP_FIN)) != NP_SYN;
	/*
	 * The first acknowledgement of the SYN-ACK may be lost and a later one, that covers data as well, take its place; but nobody sends
	 * more than a window to a peer that has acknowledged nothing. Whoever does not see the SYN-ACK has one guess in 65,536.
	 */
	return flow->state == NP_FLOW_ANSWERED && st->forward && st->ack - (flow->isn + 1) < NP_WINDOW;
}

/* 1 = the flow is answered with this packet and belongs among the connections. */
INLINE int np_track(struct np_state *st, struct np_flow *flow)
{
	if (st->packet.protocol == NP_TCP)
		return np_track_tcp(st, flow);
	return flow->state == NP_FLOW_NEW && !st->forward;
}

/* Writes st->flow, whole, where it belongs; from half_open it moves to the connections if it was answered. */
INLINE void np_store_flow(struct np_state *st, int answered)
{
	if (st->table == NP_TABLE_HALF_OPEN && !answered) {
		bpf_map_update_elem(&half_open, &st->key, &st->flow, BPF_EXIST);
		return;
	}
	if (st->table == NP_TABLE_CONNECTIONS) {
		bpf_map_update_elem(&connections, &st->key, &st->flow, BPF_EXIST);
		return;
	}
	if (np_insert_connection(st))
		np_refuse_full(st);
	else
		bpf_map_delete_elem(&half_open, &st->key);
}

/* The packet belongs to a flow that was there when main looked. */
INLINE void np_continue_flow(struct np_state *st)
{
	struct np_flow *flow;
	int answered = 0;

	if (st->table == NP_TABLE_CONNECTIONS)
		flow = bpf_map_lookup_elem(&connections, &st->key);
	else
		flow = bpf_map_lookup_elem(&half_open, &st->key);
	if (!flow)
		return;
	if (st->todo & NP_DO_TOUCH) {
		np_count_packet(flow, st, !st->forward);
		if (st->kind == NP_KIND_ALWAYS) {
			np_reopen(st, flow);
			return;
		}
		answered = np_track(st, flow);
	}
	if (!answered && !(st->todo & NP_DO_STAMP))
		return;
	st->flow = *flow;
	if (answered)
		st->flow.state = st->packet.protocol == NP_TCP ? np_state_by_fins(flow) : NP_FLOW_ANSWERED;
	if (st->todo & NP_DO_STAMP)
		np_stamp(st, &st->flow);
	np_store_flow(st, answered);
}

#endif
