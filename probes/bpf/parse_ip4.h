/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* IPv4 header and options (RFC 791). Leaves addresses, protocol, place in the datagram and where L4 begins. */
#ifndef NETPOL_PARSE_IP4_H
#define NETPOL_PARSE_IP4_H

#include "context.h"

struct np_ip4 {
	__u8 version_ihl;
	__u8 tos;
	__u16 total;
	__u16 id;
	__u16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__u32 src;
	__u32 dst;
};

#define NP_IP4_MORE 0x2000
#define NP_IP4_OFFSET 0x1fff
#define NP_IP4_LSRR 131
#define NP_IP4_SSRR 137

/* `size` (<= 40) bytes of options stand in st->buffer. Source routes are refused (RFC 7126, section 4.3 and 4.4). */
INLINE __u32 np_walk_options(struct np_state *st, __u32 size)
{
	__u32 at = 0;
	__u32 i;

	UNROLL
	for (i = 0; i < 40; i++) {
		__u32 type, length;

		if (at >= size || at >= 40)
			return 0;
		type = st->buffer[MASKED(at, sizeof(st->buffer) - 1)];
		if (type == 0)
			return 0; /* end of options */
		if (type == 1) {
			at = FORGET(st->forgotten, at + 1);
			continue;
		}
		if (type == NP_IP4_LSRR || type == NP_IP4_SSRR)
			return NP_R_SOURCE_ROUTE;
		if (at + 2 > size || at + 2 > 40)
			return NP_R_MALFORMED;
		length = st->buffer[MASKED(at + 1, sizeof(st->buffer) - 1)];
		if (length < 2 || at + length > size)
			return NP_R_MALFORMED;
		at = FORGET(st->forgotten, at + length);
	}
	return 0;
}

INLINE __u32 np_parse_options(np_ctx *ctx, struct np_state *st, __u32 offset, __u32 size)
{
	/* The compiler knows these bounds; older verifiers do not, or lose them on the stack: 1 to all of the buffer is what they see. */
	size = FORGET(st->forgotten, size);
	if (size < 4 || size > 40)
		return NP_R_INTERNAL;
	if (np_load(ctx, offset, st->buffer, MASKED(size - 1, sizeof(st->buffer) - 1) + 1))
		return NP_R_UNREADABLE;
	return np_walk_options(st, size);
}

INLINE void np_keep_ip4(struct np_state *st, const struct np_ip4 *ip)
{
	__u16 fragment = NTOHS(ip->fragment);
	struct np_tuple *t = &st->packet;

	t->family = 4;
	t->protocol = ip->protocol;
	t->hop_limit = ip->ttl;
	t->src[0] = ip->src;
	t->dst[0] = ip->dst;
	st->fragment_id = NTOHS(ip->id);
	st->fragment_offset = (fragment & NP_IP4_OFFSET) * 8;
	if (fragment & NP_IP4_OFFSET)
		t->part = NP_LATER;
	else if (fragment & NP_IP4_MORE)
		t->part = NP_FIRST;
}

INLINE __u32 np_parse_ip4(np_ctx *ctx, struct np_state *st, __u32 offset)
{
	__u32 there, header, total;
	struct np_ip4 *ip;

	if (offset + sizeof(*ip) > st->length)
		return NP_R_MALFORMED;
	there = st->length - offset;
	ip = np_header(ctx, offset, sizeof(*ip), st->buffer);
	if (!ip)
		return NP_R_UNREADABLE;
	header = (ip->version_ihl & 0xf) * 4;
	total = NTOHS(ip->total);
	if (total == 0 && np_is_oversize(ctx))
		total = there;
	if (ip->version_ihl >> 4 != 4 || header < sizeof(*ip) || total < header || total > there)
		return NP_R_MALFORMED;
	np_keep_ip4(st, ip);
	st->l4_offset = offset + header;
	st->l4_bytes = total - header;
	if (header == sizeof(*ip))
		return 0;
	return np_parse_options(ctx, st, offset + sizeof(*ip), header - sizeof(*ip));
}

#endif
