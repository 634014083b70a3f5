/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The bytes of an answer to a rejected packet: a TCP reset (RFC 9293 section 3.10.7.1), or an ICMP error that quotes it
 * (RFC 792, RFC 4443 section 3.1). Everything is made in a workplace of this CPU; knows nothing of how it is sent.
 */
#ifndef NETPOL_ANSWER_BYTES_H
#define NETPOL_ANSWER_BYTES_H

#include "checksum.h"
#include "context.h"
#include "maps.h"
#include "parse_ip4.h"
#include "parse_ip6.h"
#include "parse_l4.h"
#include "scratch.h"

#ifndef NP_REALTIME
MAP_ANSWER_SCRATCH;
#endif

#define NP_ANSWER_TTL 64
#define NP_IP4_DONT_FRAGMENT 0x4000
/* Errors are worth more than what they speak of: precedence 6 (RFC 1812 section 4.3.2.5). */
#define NP_ICMP_TOS 0xc0
/* IPv4 errors stay below 576 bytes (RFC 1812 section 4.3.2.3), IPv6 ones below 1280; the kernel sums up 512 bytes at a time. */
#define NP_QUOTE 512

/* Serves both families: an IPv4 address is followed by zeros, which add nothing to a sum. */
struct np_pseudo {
	__u32 src[4];
	__u32 dst[4];
	__u32 length; /* network order */
	__u32 protocol;
};

/* As the kernel tells and takes it. */
struct np_tag {
	__u16 protocol; /* network order */
	__u16 tci;
};

#define NP_MAX_TAGS 4 /* more are malformed (parse_l2.h) */

/* What stands in the workplace. */
struct np_answer_work {
	__u64 arrival; /* of answers on this CPU, or from this place of it: outlives the packet */
	__u32 length;  /* of the answer, from its IP header on */
	__u32 quoted;  /* bytes of `quote`; 0 = a TCP reset */
	struct np_ip4 ip4;
	struct np_icmp icmp;
	struct np_ip6 ip6;
	struct np_tcp tcp;
	__u8 macs[12];
	struct np_tag tag[NP_MAX_TAGS]; /* that were taken off, outermost first */
	__u32 tags;
	struct np_pseudo pseudo;
	__u8 quote[NP_QUOTE] __attribute__((aligned(8))); /* zeros behind the end */
	__u8 spare[NP_ANSWER_SCRATCH_SIZE - 176 - NP_QUOTE];
};
_Static_assert(sizeof(struct np_answer_work) == NP_ANSWER_SCRATCH_SIZE, "NP_ANSWER_SCRATCH_SIZE of abi.h is the size of np_answer_work");

/* Null: there is none. */
INLINE struct np_answer_work *np_answer_work_of(struct np_state *st)
{
#ifdef NP_REALTIME
	return (void *)np_scratch_of(st)->answer;
#else
	__u32 zero = 0;

	(void)st;
	return bpf_map_lookup_elem(&answer_scratch, &zero);
#endif
}

/* From the packet's destination to its source. */
INLINE __u32 np_pseudo_sum(const struct np_state *st, struct np_answer_work *work, __u32 length, __u32 protocol)
{
	struct np_pseudo *pseudo = &work->pseudo;
	__u32 i;

	for (i = 0; i < 4; i++) {
		pseudo->src[i] = st->packet.dst[i];
		pseudo->dst[i] = st->packet.src[i];
	}
	pseudo->length = NTOHL(length);
	pseudo->protocol = NTOHL(protocol);
	return np_sum(pseudo, sizeof(*pseudo), 0);
}

/* A reset that the sender believes: in answer to an ACK it has the number that this acknowledges. */
INLINE void np_make_reset(const struct np_state *st, struct np_answer_work *work)
{
	struct np_tcp reset = { 0 };
	__u8 flags = st->packet.tcp_flags;

	reset.offset = 0x50;
	reset.sport = NTOHS(st->packet.dport);
	reset.dport = NTOHS(st->packet.sport);
	if (flags & NP_ACK) {
		reset.seq = NTOHL(st->ack);
		reset.flags = NP_RST;
	} else {
		reset.ack = NTOHL(st->seq + st->payload + !!(flags & NP_SYN) + !!(flags & NP_FIN));
		reset.flags = NP_RST | NP_ACK;
	}
	work->tcp = reset;
	work->tcp.checksum = np_folded(np_sum(&work->tcp, sizeof(work->tcp), np_pseudo_sum(st, work, sizeof(work->tcp), NP_TCP)));
	work->length = sizeof(work->tcp);
	work->quoted = 0;
}

/* "Destination unreachable" of either family. The compiler would make a table of a switch, and there is no place for one. */
INLINE void np_name_error(const struct np_state *st, struct np_icmp *icmp)
{
	int v6 = st->packet.family == 6;
	__u32 with = *(const volatile __u8 *)&st->reject_with;

	icmp->type = v6 ? 1 : 3;
	if (with == NP_REJECT_HOST)
		icmp->code = v6 ? 3 : 1;
	else if (with == NP_REJECT_ADMIN)
		icmp->code = v6 ? 1 : 13;
	else
		icmp->code = v6 ? 4 : 3;
}

/* As much of the packet as fits, from its IP header on and without the padding of a short frame. 0 = unreadable. */
INLINE int np_quote(struct __sk_buff *ctx, struct np_state *st, struct np_answer_work *work)
{
	__u32 size = st->l4_offset - st->l3_offset + st->l4_bytes;
	__u32 last;

	__builtin_memset(work->quote, 0, NP_QUOTE);
	/* Counted from 0, so that every verifier sees that at least one byte is read. */
	last = FORGET(st->forgotten, (size < NP_QUOTE ? size : NP_QUOTE) - 1);
	if (last >= NP_QUOTE)
		return 0;
	work->quoted = last + 1;
	return bpf_skb_load_bytes(ctx, st->l3_offset, work->quote, last + 1) == 0;
}

INLINE int np_make_error(struct __sk_buff *ctx, struct np_state *st, struct np_answer_work *work)
{
	struct np_icmp icmp = { 0 };
	__u32 sum = 0;

	if (!np_quote(ctx, st, work))
		return 0;
	work->length = sizeof(icmp) + work->quoted;
	np_name_error(st, &icmp);
	work->icmp = icmp;
	if (st->packet.family == 6)
		sum = np_pseudo_sum(st, work, work->length, NP_ICMPV6);
	sum = np_sum(&work->icmp, sizeof(work->icmp), sum);
	work->icmp.checksum = np_folded(np_sum(work->quote, NP_QUOTE, sum));
	return 1;
}

/* The IP header before work->length bytes; adds itself to the length. */
INLINE void np_make_ip4(const struct np_state *st, struct np_answer_work *work)
{
	struct np_ip4 ip = { 0 };

	work->length += sizeof(ip);
	ip.version_ihl = 0x45;
	ip.ttl = NP_ANSWER_TTL;
	ip.tos = work->quoted ? NP_ICMP_TOS : 0;
	ip.total = NTOHS((__u16)work->length);
	ip.fragment = NTOHS(NP_IP4_DONT_FRAGMENT);
	ip.protocol = work->quoted ? NP_ICMP : NP_TCP;
	ip.src = st->packet.dst[0];
	ip.dst = st->packet.src[0];
	work->ip4 = ip;
	work->ip4.checksum = np_folded(np_sum(&work->ip4, sizeof(work->ip4), 0));
}

INLINE void np_make_ip6(const struct np_state *st, struct np_answer_work *work)
{
	struct np_ip6 *ip = &work->ip6;
	__u32 i;

	ip->flow = NTOHL(0x60000000u);
	ip->payload = NTOHS((__u16)work->length);
	ip->next = work->quoted ? NP_ICMPV6 : NP_TCP;
	ip->hop_limit = NP_ANSWER_TTL;
	for (i = 0; i < 4; i++) {
		ip->src[i] = st->packet.dst[i];
		ip->dst[i] = st->packet.src[i];
	}
	work->length += sizeof(*ip);
}

/* 1 = the answer to this packet stands in `work`. */
INLINE int np_make_answer(struct __sk_buff *ctx, struct np_state *st, struct np_answer_work *work)
{
	if (st->packet.protocol == NP_TCP && st->reject_with <= NP_REJECT_TCP_RESET)
		np_make_reset(st, work);
	else if (!np_make_error(ctx, st, work))
		return 0;
	if (st->packet.family == 6)
		np_make_ip6(st, work);
	else
		np_make_ip4(st, work);
	return 1;
}

#endif
