/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The packet that an ICMP error quotes (RFC 792, RFC 4443 section 3), turned into the key of its flow. */
#ifndef NETPOL_ICMP_ERROR_H
#define NETPOL_ICMP_ERROR_H

#include "flow_key.h"
#include "parse_ip4.h"
#include "parse_ip6.h"

/* Quoted IPv4 header at `offset`. *l4 = where its L4 header begins; 0 = not usable. */
INLINE int np_quoted_ip4(np_ctx *ctx, struct np_state *st, __u32 offset, struct np_tuple *t, __u32 *l4)
{
	struct np_ip4 *ip;
	__u32 header;

	ip = np_header(ctx, offset, sizeof(*ip), st->buffer);
	if (!ip)
		return 0;
	header = (ip->version_ihl & 0xf) * 4;
	if (ip->version_ihl >> 4 != 4 || header < sizeof(*ip) || NTOHS(ip->fragment) & NP_IP4_OFFSET)
		return 0;
	t->protocol = ip->protocol;
	t->src[0] = ip->src;
	t->dst[0] = ip->dst;
	*l4 = offset + header;
	return 1;
}

INLINE int np_quoted_ip6(np_ctx *ctx, struct np_state *st, __u32 offset, struct np_tuple *t, __u32 *l4)
{
	struct np_chain6 chain = { 0 };
	struct np_ip6 *ip;
	__u32 i;

	if (offset + sizeof(*ip) > st->length)
		return 0;
	ip = np_header(ctx, offset, sizeof(*ip), st->buffer);
	if (!ip || *(__u8 *)ip >> 4 != 6)
		return 0;
	for (i = 0; i < 4; i++) {
		t->src[i] = ip->src[i];
		t->dst[i] = ip->dst[i];
	}
	chain.offset = offset + sizeof(*ip);
	chain.next = ip->next;
	chain.end = st->l4_offset + st->l4_bytes;
	if (np_walk_headers(ctx, st, &chain) || chain.part == NP_LATER)
		return 0;
	t->protocol = chain.next;
	*l4 = chain.offset;
	return 1;
}

/* Ports, or type and identifier: the first 8 bytes of the quoted L4 header. */
INLINE int np_quoted_l4(np_ctx *ctx, struct np_state *st, __u32 l4, struct np_tuple *t, __u16 *echo_id)
{
	__u8 *bytes;

	if (l4 + 8 > st->l4_offset + st->l4_bytes)
		return 0;
	bytes = np_header(ctx, l4, 8, st->buffer);
	if (!bytes)
		return 0;
	if (np_has_ports(t->protocol)) {
		t->sport = (__u16)bytes[0] << 8 | bytes[1];
		t->dport = (__u16)bytes[2] << 8 | bytes[3];
		return 1;
	}
	if (np_is_icmp(t->family, t->protocol)) {
		int answer;

		t->icmp_type = bytes[0];
		*echo_id = (__u16)bytes[4] << 8 | bytes[5];
		return np_query_type(t->family, bytes[0], &answer) != NP_NOT_ICMP_QUERY;
	}
	return 1;
}

INLINE int np_is_same_address(const __u32 *a, const __u32 *b)
{
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

/*
 * Leaves the key of the flow that the error speaks of: the quoted packet passed this interface the other way. The error must
 * go to the one who sent it. 0 = it quotes nothing that could be looked up.
 */
INLINE int np_key_of_error(np_ctx *ctx, struct np_state *st)
{
	struct np_tuple *quoted = &st->judged;
	struct np_tuple empty = { .family = st->packet.family, .hook = np_opposite(st->packet.hook) };
	__u32 offset = st->l4_offset + 8;
	__u16 echo_id = 0;
	__u32 l4 = 0;
	int readable;

	*quoted = empty;
	quoted->vlan[0] = st->packet.vlan[0];
	quoted->vlan[1] = st->packet.vlan[1];
	readable = quoted->family == 4 ? np_quoted_ip4(ctx, st, offset, quoted, &l4) : np_quoted_ip6(ctx, st, offset, quoted, &l4);
	if (!readable || !np_is_same_address(quoted->src, st->packet.dst))
		return 0;
	if (!np_quoted_l4(ctx, st, FORGET(st->forgotten, l4), quoted, &echo_id))
		return 0;
	np_make_key(st, quoted, echo_id);
	return 1;
}

#endif
