/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What ARP (RFC 826) and neighbour discovery (RFC 4861) say of their sender. Knows no policy. */
#ifndef NETPOL_NEIGHBOUR_H
#define NETPOL_NEIGHBOUR_H

#include "context.h"
#include "parse_address.h"
#include "parse_l2.h"
#include "parse_l4.h"

enum np_claim {
	NP_CLAIMS_NOTHING = 0,
	NP_CLAIMS = 1,   /* that st->claimed is its own */
	NP_CLAIM_BAD = 2 /* it is not whole, or names another link-layer address than the frame's */
};

struct np_arp {
	__u16 hardware;
	__u16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__u16 operation;
	__u8 sender_mac[6];
	__u16 sender[2];
	__u8 target_mac[6];
	__u16 target[2];
};

#define NP_ND_ROUTER_SOLICITATION 133
#define NP_ND_ROUTER_ADVERTISEMENT 134
#define NP_ND_SOLICITATION 135
#define NP_ND_ADVERTISEMENT 136
#define NP_ND_SOURCE_OPTION 1 /* link-layer address of the sender */
#define NP_ND_TARGET_OPTION 2 /* of the target, in an advertisement */

/* The frame's source into st->mac. 0 = it has none, or it cannot be read. */
INLINE int np_read_mac(np_ctx *ctx, struct np_state *st)
{
	__u8 *bytes;
	__u32 i;

	if (!st->ethernet)
		return 0;
	bytes = np_header(ctx, 6, 6, st->buffer);
	if (!bytes)
		return 0;
	UNROLL
	for (i = 0; i < 6; i++)
		st->mac.mac[i] = bytes[i];
	return 1;
}

INLINE int np_is_frames_mac(const struct np_state *st, const __u8 *mac)
{
	__u8 different = 0;
	__u32 i;

	UNROLL
	for (i = 0; i < 6; i++)
		different |= mac[i] ^ st->mac.mac[i];
	return !different;
}

/* Whoever asks or answers for Ethernet and IPv4; 0.0.0.0 asks before it has an address (RFC 5227). */
INLINE int np_read_arp(np_ctx *ctx, struct np_state *st, int has_mac)
{
	struct np_arp *arp;
	__u16 operation;

	if (st->packet.family || st->ethertype != NP_ETH_ARP)
		return NP_CLAIMS_NOTHING;
	if (!has_mac || st->l3_offset + sizeof(*arp) > st->length)
		return NP_CLAIM_BAD;
	arp = np_header(ctx, st->l3_offset, sizeof(*arp), st->buffer);
	if (!arp)
		return NP_CLAIM_BAD;
	operation = NTOHS(arp->operation);
	if (NTOHS(arp->hardware) != 1 || NTOHS(arp->protocol) != NP_ETH_IP || arp->hardware_length != 6 || arp->protocol_length != 4)
		return NP_CLAIM_BAD;
	if (operation < 1 || operation > 2 || !np_is_frames_mac(st, arp->sender_mac))
		return NP_CLAIM_BAD;
	((__u16 *)st->claimed)[0] = arp->sender[0];
	((__u16 *)st->claimed)[1] = arp->sender[1];
	st->claimed[1] = 0;
	st->claimed[2] = 0;
	st->claimed[3] = 0;
	return (arp->sender[0] | arp->sender[1]) ? NP_CLAIMS : NP_CLAIMS_NOTHING;
}

/* Where the options of a message begin. */
INLINE __u32 np_options_of(__u8 type)
{
	if (type == NP_ND_ROUTER_SOLICITATION)
		return 8;
	return type == NP_ND_ROUTER_ADVERTISEMENT ? 16 : 24;
}

/* The first option at `offset` is no link-layer address, or it is the frame's. */
INLINE int np_is_option_honest(np_ctx *ctx, struct np_state *st, __u32 offset, int has_mac)
{
	__u8 *option;

	if (offset + 2 > st->l4_bytes)
		return 1;
	option = np_header(ctx, st->l4_offset + offset, 2, st->buffer);
	if (!option)
		return 0;
	if (option[0] != NP_ND_SOURCE_OPTION && option[0] != NP_ND_TARGET_OPTION)
		return 1;
	if (!has_mac || offset + 8 > st->l4_bytes)
		return 0;
	option = np_header(ctx, st->l4_offset + offset, 8, st->buffer);
	return option && np_is_frames_mac(st, option + 2);
}

/* The target of an advertisement is the sender's own, and so is that of a solicitation that looks for duplicates. */
INLINE int np_read_discovery(np_ctx *ctx, struct np_state *st, int has_mac)
{
	const struct np_tuple *t = &st->packet;
	__u8 type = t->icmp_type;
	__u32 *target;

	if (t->protocol != NP_ICMPV6 || t->part != NP_WHOLE || type < NP_ND_ROUTER_SOLICITATION || type > NP_ND_ADVERTISEMENT)
		return NP_CLAIMS_NOTHING;
	if (!np_is_option_honest(ctx, st, FORGET(st->forgotten, np_options_of(type)), has_mac))
		return NP_CLAIM_BAD;
	if (type != NP_ND_ADVERTISEMENT && (type != NP_ND_SOLICITATION || !np_is_zero(t->src)))
		return NP_CLAIMS_NOTHING;
	if (st->l4_bytes < 24)
		return NP_CLAIM_BAD;
	target = np_header(ctx, st->l4_offset + 8, 16, st->buffer);
	if (!target)
		return NP_CLAIM_BAD;
	st->claimed[0] = target[0];
	st->claimed[1] = target[1];
	st->claimed[2] = target[2];
	st->claimed[3] = target[3];
	return NP_CLAIMS;
}

#endif
