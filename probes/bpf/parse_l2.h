/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Ethernet: tags, EtherType, LLC. Leaves the offset of the layer above. Knows no IP. */
#ifndef NETPOL_PARSE_L2_H
#define NETPOL_PARSE_L2_H

#include "context.h"

#define NP_ETH_IP 0x0800
#define NP_ETH_ARP 0x0806
#define NP_ETH_IPV6 0x86dd
#define NP_ETH_8021Q 0x8100
#define NP_ETH_8021AD 0x88a8
#define NP_ETH_MIN 0x0600 /* less is a length: IEEE 802.3 */

struct np_tags {
	__u32 all;   /* tags seen, priority tags included */
	__u32 named; /* tags with a VID */
};

/* One more tag; 0 = too many. A priority tag (VID 0) carries no membership and is skipped (IEEE 802.1Q 9.6). */
INLINE int np_add_tag(struct np_state *st, struct np_tags *tags, __u16 tci)
{
	__u16 vid = tci & 0xfff;

	if (tags->all >= 4)
		return 0;
	tags->all++;
	if (!vid)
		return 1;
	if (tags->named >= 2)
		return 0;
	if (tags->named == 0)
		st->packet.vlan[0] = vid;
	else
		st->packet.vlan[1] = vid;
	tags->named++;
	return 1;
}

/* 802.3 with LLC (IEEE 802.2): spanning tree has a name, IP has another way in, all else is EtherType 0. */
INLINE __u32 np_parse_llc(np_ctx *ctx, struct np_state *st, __u32 offset)
{
	__u8 *llc;

	st->ethertype = 0;
	if (offset + 3 > st->length)
		return NP_R_MALFORMED;
	llc = np_header(ctx, offset, 3, st->buffer);
	if (!llc)
		return NP_R_UNREADABLE;
	if (llc[0] == 0x42 && llc[1] == 0x42) {
		st->ethertype = NP_ETHERTYPE_STP;
		return 0;
	}
	if (llc[0] == 0x06)
		return NP_R_LLC_IP;
	if (llc[0] != 0xaa || llc[1] != 0xaa || llc[2] != 0x03)
		return 0;
	if (offset + 8 > st->length)
		return NP_R_MALFORMED;
	llc = np_header(ctx, offset, 8, st->buffer);
	if (!llc)
		return NP_R_UNREADABLE;
	if (llc[3] || llc[4] || llc[5])
		return 0;
	if ((llc[6] == 0x08 && llc[7] == 0x00) || (llc[6] == 0x86 && llc[7] == 0xdd))
		return NP_R_LLC_IP; /* RFC 1042: receivers take it for IP */
	return 0;
}

/* Reads tags and EtherType of an Ethernet frame. *next = offset of what the EtherType announces. */
INLINE __u32 np_parse_ethernet(np_ctx *ctx, struct np_state *st, __u32 *next)
{
	struct np_tags tags = { 0, 0 };
	__u32 offset = 12;
	__u32 i;

	st->ethernet = 1;
#ifndef NP_XDP
	/* The kernel keeps the outermost tag beside the bytes (on arrival always, on departure where the device inserts it). */
	if (ctx->vlan_present && !np_add_tag(st, &tags, ctx->vlan_tci))
		return NP_R_MALFORMED;
#endif
	UNROLL
	for (i = 0; i < 5; i++) {
		__u16 *field;
		__u16 type;

		if (offset + 2 > st->length)
			return NP_R_MALFORMED;
		field = np_header(ctx, offset, 2, st->buffer);
		if (!field)
			return NP_R_UNREADABLE;
		type = NTOHS(*field);
		if (type != NP_ETH_8021Q && type != NP_ETH_8021AD) {
			st->ethertype = type;
			*next = FORGET(st->forgotten, offset + 2);
			if (type < NP_ETH_MIN)
				return np_parse_llc(ctx, st, *next);
			return 0;
		}
		if (offset + 4 > st->length)
			return NP_R_MALFORMED;
		field = np_header(ctx, offset + 2, 2, st->buffer);
		if (!field)
			return NP_R_UNREADABLE;
		if (!np_add_tag(st, &tags, NTOHS(*field)))
			return NP_R_MALFORMED;
		offset += 4;
	}
	return NP_R_MALFORMED;
}

#ifndef NP_XDP
/* Whether the network header begins within so many bytes; `last` is the offset of the last byte of the linear part. */
INLINE int np_begins_within(np_ctx *ctx, struct np_state *st, __u32 last, __u32 bytes)
{
	return bytes > last || bpf_skb_load_bytes_relative(ctx, last - bytes, st->buffer, 1, BPF_HDR_START_NET) == 0;
}

/*
 * Devices without a link header (tun, WireGuard, IP tunnels): the kernel says what the frame is.
 *
 * Most begin with the IP header. Not multipoint GRE (net/ipv4/ip_gre.c: skb_pop_mac_header() where the device writes GRE headers itself):
 * what arrives there begins with the IP and GRE headers from outside, so rules would be asked about those; and the devices of IPsec keep
 * the Ethernet header of the device below. No field says where the network header is, but a load that counts from there fails beyond
 * the linear part: the smallest number of bytes by which the last one has to come nearer, found by halving.
 */
INLINE __u32 np_parse_raw(np_ctx *ctx, struct np_state *st, __u32 *next)
{
	__u32 last = np_linear(ctx) - 1;
	__u32 before = 0;
	__u32 step;

	st->ethernet = 0;
	st->ethertype = NTOHS(ctx->protocol);
	*next = 0;
	if (np_begins_within(ctx, st, last, 0))
		return 0;
	UNROLL
	for (step = 64; step; step >>= 1)
		if (!np_begins_within(ctx, st, last, before + step))
			before += step;
	if (before >= last || !np_begins_within(ctx, st, last, before + 1))
		return NP_R_UNREADABLE;
	*next = FORGET(st->forgotten, before + 1);
	return 0;
}
#endif

#endif
