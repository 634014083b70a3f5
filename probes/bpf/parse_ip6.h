/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* IPv6 header and extension headers (RFC 8200). The walk serves packets and the packets that ICMPv6 errors quote. */
#ifndef NETPOL_PARSE_IP6_H
#define NETPOL_PARSE_IP6_H

#include "context.h"

struct np_ip6 {
	__u32 flow; /* version, class, label */
	__u16 payload;
	__u8 next;
	__u8 hop_limit;
	__u32 src[4];
	__u32 dst[4];
};

#define NP_IP6_MAX_HEADERS 8
#define NP_IP6_FRAGMENT 44
#define NP_IP6_ROUTING 43
#define NP_IP6_NONE 59

/* A chain of extension headers, as walked. */
struct np_chain6 {
	__u32 offset; /* in: of the first one; out: of what follows the last one */
	__u32 end;    /* first byte behind the IP payload */
	__u32 next;   /* protocol; NP_PROTOCOL_UNKNOWN for a later fragment behind which more headers stand */
	__u32 part;   /* enum np_part */
	__u32 id;
	__u32 fragment_offset; /* bytes */
};

/* AH and ESP are not among them: they end the walk and are the protocol. */
INLINE int np_is_extension(__u32 next)
{
	return next == 0 || next == NP_IP6_ROUTING || next == NP_IP6_FRAGMENT || next == 60;
}

/*
 * Mobility, HIP and shim6: receivers take them for protocols and deliver them to whoever listens, whatever follows. Some may go on
 * behind them. Neither is hidden from the rules if nothing follows (RFC 6275 section 6.1.1 and RFC 7401 section 5.1 ask for that).
 */
INLINE int np_may_go_on(__u32 protocol)
{
	return protocol == 135 || protocol == 139 || protocol == 140;
}

/*
 * The fragment header at `bytes` (its first 8). An atomic fragment (RFC 6946) is a whole packet: behind the header of a fragment
 * it changes nothing, so that the verdict is remembered for the datagram that will be put together.
 */
INLINE void np_note_fragment6(struct np_chain6 *chain, const __u8 *bytes)
{
	__u32 field = (__u32)bytes[2] << 8 | bytes[3];

	if (!(field & 0xfff9))
		return;
	chain->id = (__u32)bytes[4] << 24 | (__u32)bytes[5] << 16 | (__u32)bytes[6] << 8 | bytes[7];
	chain->fragment_offset = field & 0xfff8;
	chain->part = field & 0xfff8 ? NP_LATER : NP_FIRST;
}

INLINE __u32 np_walk_headers(np_ctx *ctx, struct np_state *st, struct np_chain6 *chain)
{
	__u32 offset = chain->offset;
	__u32 next = chain->next;
	__u32 i;

	UNROLL
	for (i = 0; i <= NP_IP6_MAX_HEADERS; i++) {
		__u8 *bytes;
		__u32 size;

		if (!np_is_extension(next))
			break;
		if (i == NP_IP6_MAX_HEADERS)
			return NP_R_EXTENSION_HEADERS;
		if (offset + 8 > chain->end)
			return NP_R_MALFORMED;
		bytes = np_header(ctx, offset, 8, st->buffer);
		if (!bytes)
			return offset > NP_MAX_OFFSET ? NP_R_EXTENSION_HEADERS : NP_R_UNREADABLE;
		size = next == NP_IP6_FRAGMENT ? 8 : ((__u32)bytes[1] + 1) * 8;
		if (offset + size > chain->end)
			return NP_R_MALFORMED;
		/* RFC 5095; and whatever still has a segment to go to (RFC 8754, 6554, 6275): where that is, the rules were not asked about. */
		if (next == NP_IP6_ROUTING && (bytes[2] == 0 || bytes[3] != 0))
			return NP_R_ROUTING_HEADER;
		if (next == NP_IP6_FRAGMENT)
			np_note_fragment6(chain, bytes);
		next = bytes[0];
		offset = FORGET(st->forgotten, offset + size);
		if (chain->part == NP_LATER) {
			if (np_is_extension(next))
				next = NP_PROTOCOL_UNKNOWN;
			break;
		}
	}
	chain->offset = offset;
	chain->next = next;
	return 0;
}

INLINE __u32 np_check_last_header(np_ctx *ctx, struct np_state *st, const struct np_chain6 *chain)
{
	__u8 *bytes;

	if (chain->part == NP_LATER || !np_may_go_on(chain->next))
		return 0;
	if (chain->offset + 8 > chain->end)
		return NP_R_MALFORMED;
	bytes = np_header(ctx, chain->offset, 8, st->buffer);
	if (!bytes)
		return NP_R_UNREADABLE;
	return bytes[0] == NP_IP6_NONE ? 0 : NP_R_EXTENSION_HEADERS;
}

INLINE void np_keep_ip6(struct np_state *st, const struct np_ip6 *ip)
{
	struct np_tuple *t = &st->packet;
	__u32 i;

	t->family = 6;
	t->hop_limit = ip->hop_limit;
	for (i = 0; i < 4; i++) {
		t->src[i] = ip->src[i];
		t->dst[i] = ip->dst[i];
	}
}

INLINE __u32 np_parse_ip6(np_ctx *ctx, struct np_state *st, __u32 offset)
{
	struct np_chain6 chain = { 0 };
	__u32 there, payload, reason;
	struct np_ip6 *ip;

	if (offset + sizeof(*ip) > st->length)
		return NP_R_MALFORMED;
	there = st->length - offset - sizeof(*ip);
	ip = np_header(ctx, offset, sizeof(*ip), st->buffer);
	if (!ip)
		return NP_R_UNREADABLE;
	payload = NTOHS(ip->payload);
	chain.next = ip->next;
	if (payload == 0 && np_is_oversize(ctx))
		payload = there;
	if (*(__u8 *)ip >> 4 != 6 || payload > there || (payload == 0 && chain.next != NP_IP6_NONE))
		return NP_R_MALFORMED;
	np_keep_ip6(st, ip);
	chain.offset = offset + sizeof(*ip);
	chain.end = chain.offset + payload;
	reason = np_walk_headers(ctx, st, &chain);
	if (!reason)
		reason = np_check_last_header(ctx, st, &chain);
	if (reason)
		return reason;
	st->packet.protocol = chain.next;
	st->packet.part = chain.part;
	st->fragment_id = chain.id;
	st->fragment_offset = chain.fragment_offset;
	st->l4_offset = chain.offset;
	st->l4_bytes = chain.end - chain.offset;
	return 0;
}

#endif
