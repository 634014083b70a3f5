/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Life of a flow: which timeout it is under, what a packet changes in it. Knows no rules and no maps.
 *
 * Several CPUs may write one flow at the same time; each field is written whole, and the worst that a race can do is to lose
 * a count or to close a flow a little late.
 */
#ifndef NETPOL_CONNTRACK_H
#define NETPOL_CONNTRACK_H

#include "parse_l4.h"
#include "state.h"

INLINE __u32 np_timeout_of(__u32 protocol, __u32 state)
{
	switch (protocol) {
	case NP_TCP:
		if (state <= NP_FLOW_ANSWERED)
			return NP_T_TCP_SYN;
		return state == NP_FLOW_ESTABLISHED ? NP_T_TCP_ESTABLISHED : NP_T_TCP_FIN;
	case NP_UDP:
	case NP_UDPLITE:
		return state == NP_FLOW_NEW ? NP_T_UDP : NP_T_UDP_STREAM;
	case NP_ICMP:
	case NP_ICMPV6:
		return NP_T_ICMP;
	}
	return NP_T_GENERIC;
}

/* Another CPU may have seen the flow a moment after this packet's clock was read: the age is signed. */
INLINE int np_is_live(const struct np_flow *flow, __u32 protocol, const struct np_slot *slot, __u64 now)
{
	__u32 index = np_timeout_of(protocol, flow->state) & (NP_TIMEOUTS - 1);

	return (__s64)(now - flow->seen) < (__s64)slot->timeouts[index];
}

/* Set in np_flow.fins: side (0 opener, 1 answerer) has sent a FIN; the other side has acknowledged it. */
INLINE __u8 np_fin_sent(__u32 side)
{
	return side ? 2 : 1;
}

INLINE __u8 np_fin_confirmed(__u32 side)
{
	return side ? 8 : 4;
}

/* Where a flow stands that is past its handshake and was not reset. */
INLINE __u8 np_state_by_fins(const struct np_flow *flow)
{
	if ((flow->fins & 0xc) == 0xc)
		return NP_FLOW_CLOSED;
	return (flow->fins & 0xc) ? NP_FLOW_CLOSING : NP_FLOW_ESTABLISHED;
}

/* `side` acknowledges `ack`: does that confirm the FIN of the other side? */
INLINE void np_confirm_fin(struct np_flow *flow, __u32 side, __u32 ack)
{
	__u32 expected = side ? flow->sent[0] : flow->sent[1];
	__u32 other = !side;

	if (!(flow->fins & np_fin_sent(other)) || ack != expected)
		return;
	flow->fins |= np_fin_confirmed(other);
	if (flow->state >= NP_FLOW_ESTABLISHED && flow->state < NP_FLOW_CLOSED)
		flow->state = np_state_by_fins(flow);
}

/*
 * A flow that a RST may have ended: its number was not the one that the other side waits for, but not far beyond. It lives no
 * longer than one that closes, until either side goes on.
 */
INLINE int np_is_doubtful(const struct np_flow *flow)
{
	return flow->state == NP_FLOW_CLOSING && !(flow->fins & 0xc);
}

/* What a window holds without scaling: so much may have been sent and not acknowledged. */
#define NP_WINDOW 0x10000u

/*
 * A RST closes the flow only if its sender can see the flow: its number is what the other side has acknowledged last (RFC 5961
 * section 3.2, in its strict form), and near what its own side has sent: an honest host that refuses a forged acknowledgement sends a
 * RST with the number that was forged. Neither proves anything alone: whoever forges a RST says what its own side has sent.
 *
 * One that follows data on its way has to acknowledge what the other side has sent, as stacks do that give up a connection; so both
 * its numbers are near those of the other side, and a blind sender needs as many of them as to hit one number exactly. (One more than
 * was sent: a keepalive probe repeats the number before the last.)
 */
INLINE void np_reset_flow(struct np_flow *flow, const struct np_state *st, __u32 side)
{
	__u32 awaited = side ? flow->ack[0] : flow->ack[1];
	__u32 theirs = side ? flow->sent[0] : flow->sent[1];
	__u32 own = side ? flow->sent[1] : flow->sent[0];
	int own_known = flow->acks & (side ? 2 : 1);

	if (!(flow->acks & (side ? 1 : 2)))
		return;
	if (st->seq == awaited) {
		if (!own_known || st->seq - own + NP_WINDOW < 2 * NP_WINDOW)
			flow->state = NP_FLOW_CLOSED;
	} else if (flow->state == NP_FLOW_ESTABLISHED && (st->packet.tcp_flags & NP_ACK) && st->seq - awaited < NP_WINDOW &&
		   theirs + 1 - st->ack < NP_WINDOW) {
		flow->state = NP_FLOW_CLOSING;
	}
}

INLINE void np_note_ack(struct np_flow *flow, const struct np_state *st, __u32 side)
{
	flow->ack[MASKED(side, 1)] = st->ack;
	if (!(flow->acks & (side ? 2 : 1)))
		flow->acks |= side ? 2 : 1;
}

/* What a side has sent, of a segment that is no RST. */
INLINE void np_note_sent(struct np_flow *flow, const struct np_state *st, __u32 side)
{
	__u8 flags = st->packet.tcp_flags;

	if (flags & NP_FIN)
		flow->fins |= np_fin_sent(side);
	else if (flow->fins & np_fin_sent(side))
		return;
	flow->sent[MASKED(side, 1)] = st->seq + st->payload + !!(flags & NP_SYN) + !!(flags & NP_FIN);
}

/* A segment that is no SYN-ACK, of a live flow. */
INLINE void np_track_segment(struct np_flow *flow, const struct np_state *st, __u32 side)
{
	__u8 flags = st->packet.tcp_flags;

	if (flags & NP_RST) {
		np_reset_flow(flow, st, side);
		return;
	}
	if (np_is_doubtful(flow))
		flow->state = NP_FLOW_ESTABLISHED;
	np_note_sent(flow, st, side);
	if (!(flags & NP_ACK))
		return;
	np_note_ack(flow, st, side);
	if (flow->fins)
		np_confirm_fin(flow, side, st->ack);
}

INLINE void np_count_packet(struct np_flow *flow, const struct np_state *st, __u32 side)
{
	flow->seen = st->now;
	flow->packets[MASKED(side, 1)] += 1;
	flow->bytes[MASKED(side, 1)] += st->length;
}

#endif
