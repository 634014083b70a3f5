/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * `reject`: the packet itself becomes the answer to it and goes back. Whatever fails on the way leaves a plain drop.
 *
 * At the ingress hook the answer goes out of the same interface. At the egress hook it comes in there, as if the receiver had
 * sent it: so it finds a local socket, the host's connection tracking undoes address translation, and routing or the bridge
 * takes it back to whoever sent the packet here.
 */
#ifndef NETPOL_ANSWER_H
#define NETPOL_ANSWER_H

#include "answer_bytes.h"
#include "answer_pass.h"
#include "answer_tags.h"
#include "flow_key.h"
#include "verdict.h"

#define NP_PACKET_BROADCAST 1 /* linux/if_packet.h */
#define NP_PACKET_MULTICAST 2
#define NP_PACKET_OTHERHOST 3

#define NP_MACS 12

/* At most NP_ANSWERS_PER_SECOND in any second: a steady nine tenths of it, and one tenth at once. */
#define NP_ANSWER_COST (10000000000ull / 9 / NP_ANSWERS_PER_SECOND)
#define NP_ANSWER_DEPTH (NP_ANSWER_COST * (NP_ANSWERS_PER_SECOND / 10))

/* See np_resize(). */
#define NP_CUT 512

/* Multicast and broadcast as a destination (224.0.0.0/4, 255.255.255.255, ff00::/8), or nobody. */
INLINE int np_is_for_many(const struct np_tuple *t)
{
	__u8 first = *(const __u8 *)t->dst;

	if (t->family == 6)
		return first == 0xff || !(t->dst[0] | t->dst[1] | t->dst[2] | t->dst[3]);
	return (first & 0xf0) == 0xe0 || t->dst[0] == 0xffffffffu || t->dst[0] == 0;
}

INLINE int np_is_from_nobody(const struct np_tuple *t)
{
	return !(t->src[0] | t->src[1] | t->src[2] | t->src[3]);
}

/* Answers beget no answers: a RST, and of ICMP everything but requests (RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e)). */
INLINE int np_asks_nothing(const struct np_tuple *t)
{
	int answer;

	if (t->protocol == NP_TCP)
		return t->tcp_flags & NP_RST;
	if (t->protocol != NP_ICMP && t->protocol != NP_ICMPV6)
		return 0;
	if (!np_is_icmp(t->family, t->protocol))
		return 1;
	return np_query_type(t->family, t->icmp_type, &answer) == NP_NOT_ICMP_QUERY || answer;
}

/* A frame that a promiscuous device shows although it is for another host. A workload's bridge port is promiscuous by nature. */
INLINE int np_is_overheard(const struct __sk_buff *ctx, const struct np_state *st)
{
	return ctx->pkt_type == NP_PACKET_OTHERHOST && st->packet.hook == NP_HOOK_INGRESS && !(st->link.flags & NP_LINK_WORKLOAD);
}

/* Whether anybody may be told (RFC 1122 section 3.2.2, RFC 9293 section 3.10.7.1). */
INLINE int np_may_answer(const struct __sk_buff *ctx, const struct np_state *st)
{
	const struct np_tuple *t = &st->packet;

	if (t->family == 0 || t->part != NP_WHOLE || np_asks_nothing(t) || np_is_from_nobody(t) || np_is_for_many(t))
		return 0;
	/* What a tunnel has left before the network header would stand before the answer. */
	if (!st->ethernet && st->l3_offset)
		return 0;
	if (ctx->pkt_type == NP_PACKET_BROADCAST || ctx->pkt_type == NP_PACKET_MULTICAST)
		return 0;
	return !np_is_overheard(ctx, st);
}

INLINE int np_is_within_rate(const struct np_state *st, struct np_answer_work *work)
{
	__u64 arrival = (work->arrival > st->now ? work->arrival : st->now) + NP_ANSWER_COST;

	if (arrival - st->now > NP_ANSWER_DEPTH)
		return 0;
	work->arrival = arrival;
	return 1;
}

/* Leaves the frame's two addresses in work->macs, exchanged. 0 = one of them is of a group. */
INLINE int np_turn_macs(struct __sk_buff *ctx, struct np_answer_work *work)
{
	if (bpf_skb_load_bytes(ctx, 0, work->macs + 6, 6) || bpf_skb_load_bytes(ctx, 6, work->macs, 6))
		return 0;
	return !((work->macs[0] | work->macs[6]) & 1);
}

/*
 * Makes the packet `size` bytes long; the Ethernet header stays, everything behind it is undefined.
 *
 * It may be one whose checksum a device was to fill in (CHECKSUM_PARTIAL), at a place that has another meaning now. The kernel
 * takes that note away when what it speaks of is pulled off the front. So the packet is cut to NP_CUT bytes (the kernel refuses
 * where the checksum lies behind; segmentation offload ends here, too), made longer, and then NP_CUT bytes behind the Ethernet
 * header are taken out.
 */
INLINE int np_resize(struct __sk_buff *ctx, __u32 size)
{
	if (bpf_skb_change_tail(ctx, NP_CUT, 0) || bpf_skb_change_tail(ctx, NP_CUT + size, 0))
		return 0;
	return bpf_skb_adjust_room(ctx, -NP_CUT, BPF_ADJ_ROOM_MAC, 0) == 0;
}

/* L4 of the answer, at `offset`. */
INLINE long np_store_body(struct __sk_buff *ctx, struct np_state *st, struct np_answer_work *work, __u32 offset)
{
	__u32 last = work->quoted - 1;

	if (!work->quoted)
		return bpf_skb_store_bytes(ctx, offset, &work->tcp, sizeof(work->tcp), BPF_F_INVALIDATE_HASH);
	if (last >= NP_QUOTE)
		return -1;
	if (bpf_skb_store_bytes(ctx, offset, &work->icmp, sizeof(work->icmp), BPF_F_INVALIDATE_HASH))
		return -1;
	/* Bounded where it is used: verifiers before 6.8 forget the bounds of a number that was kept on the stack. */
	last = FORGET(st->forgotten, last) & (NP_QUOTE - 1);
	return bpf_skb_store_bytes(ctx, offset + sizeof(work->icmp), work->quote, last + 1, BPF_F_INVALIDATE_HASH);
}

/* Writes the answer over the packet. 0 = it is half a packet now and may only be dropped. */
INLINE int np_store_answer(struct __sk_buff *ctx, struct np_state *st, struct np_answer_work *work)
{
	__u32 offset = st->ethernet ? NP_ETHERNET : 0;

	if (!np_take_tags(ctx, st, work) || !np_resize(ctx, offset + work->length))
		return 0;
	if (offset && bpf_skb_store_bytes(ctx, 0, work->macs, NP_MACS, 0))
		return 0;
	if (st->packet.family == 6) {
		if (bpf_skb_store_bytes(ctx, offset, &work->ip6, sizeof(work->ip6), 0))
			return 0;
		offset += sizeof(work->ip6);
	} else {
		if (bpf_skb_store_bytes(ctx, offset, &work->ip4, sizeof(work->ip4), 0))
			return 0;
		offset += sizeof(work->ip4);
	}
	return np_store_body(ctx, st, work, offset) == 0 && np_restore_tags(ctx, work);
}

/*
 * Sends the packet, which is an answer now, on its way. On the loopback device it leaves again, whichever the hook: what arrives
 * there without having left is a martian to the kernel.
 */
INLINE int np_send_answer(struct __sk_buff *ctx, const struct np_state *st)
{
	int leaves = st->packet.hook == NP_HOOK_INGRESS || (st->link.flags & NP_LINK_LOOPBACK);
	__u32 mark;

	if (!np_expect_answer(st, leaves ? NP_HOOK_EGRESS : NP_HOOK_INGRESS, &mark))
		return 0;
	ctx->mark = mark;
	return bpf_redirect(st->ifindex, leaves ? 0 : BPF_F_INGRESS) == NP_VERDICT_REDIRECT;
}

/* 1 = the packet is its own answer and on its way: the verdict is NP_VERDICT_REDIRECT. */
INLINE int np_answer(struct __sk_buff *ctx, struct np_state *st)
{
	struct np_answer_work *work;

	if (!np_may_answer(ctx, st))
		return 0;
	work = np_answer_work_of(st);
	if (!work || (st->ethernet && !np_turn_macs(ctx, work)) || !np_is_within_rate(st, work))
		return 0;
	return np_make_answer(ctx, st, work) && np_store_answer(ctx, st, work) && np_send_answer(ctx, st);
}

#endif
