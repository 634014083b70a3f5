/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Stage 2c: whether a packet that arrives can come from where it says. Asked of every packet, whatever flow it belongs to,
 * on interfaces that want it; nothing here costs others anything. Bytes that cannot be read refuse the packet by the check
 * that wanted them.
 */
#ifndef NETPOL_ANTISPOOF_H
#define NETPOL_ANTISPOOF_H

#include "neighbour.h"
#include "sets.h"
#include "stages.h"

MAP_SOURCE_CHECKS;
MAP_MACS;
MAP_ROUTES4;
MAP_ROUTES6;
MAP_ROUTE_LINKS;

enum np_permit {
	NP_REFUSED = 0,
	NP_PERMITTED = 1,
	NP_NO_PERMIT = 2, /* a look-up failed that cannot */
};

INLINE int np_is_link_local4(const __u32 *address)
{
	return (address[0] & HTONL_CONST(0xffff0000u)) == HTONL_CONST(0xa9fe0000u);
}

INLINE int np_is_link_local(__u8 family, const __u32 *address)
{
	return family == 4 ? np_is_link_local4(address) : np_is_link_local6(address);
}

/* allowed_macs. */
INLINE int np_is_mac_allowed(struct np_state *st, int readable)
{
	if (!st->ethernet || st->link.mac_group == NP_NONE)
		return 1;
	st->mac.group = st->link.mac_group;
	return readable && bpf_map_lookup_elem(&macs, &st->mac) != 0;
}

/* One of the lists of allowed_sources, for the address in st->element; `groups` are those of its class. */
INLINE int np_ask_source_check(struct np_state *st, __u32 index, __u64 groups)
{
	struct np_source_check *check = bpf_map_lookup_elem(&source_checks, &index);
	__u64 until;

	if (!check)
		return NP_NO_PERMIT;
	if (check->group & groups)
		return NP_PERMITTED;
	switch (np_find_in_sets(st, check->sets, &until)) {
	case NP_IN_NONE:
		return NP_REFUSED;
	case NP_IN_SET:
		return NP_PERMITTED;
	}
	return NP_NO_PERMIT;
}

/* allowed_sources: every list has to hold the address. */
INLINE int np_is_source_allowed(struct np_state *st, __u8 family, const __u32 *address, __u64 groups)
{
	struct np_list checks = st->link.source_checks;
	__u32 i;

	if (checks.count > NP_MAX_SOURCE_CHECKS)
		return NP_NO_PERMIT;
	np_make_element(st, family, address);
	for (i = 0; i < NP_MAX_SOURCE_CHECKS; i++) {
		int permit;

		if (i >= checks.count)
			break;
		permit = np_ask_source_check(st, checks.first + i, groups);
		if (permit != NP_PERMITTED)
			return permit;
	}
	return NP_PERMITTED;
}

/* What leads back to the address: nothing, something (loose), this interface (strict). */
INLINE int np_has_route(struct np_state *st, __u8 family, const __u32 *address, int strict)
{
	struct np_route_key key = { .ifindex = st->ifindex };
	__u32 *set;

	if (family == 4) {
		struct np_lpm4 lpm = { .prefixlen = 32, .address = address[0] };

		set = bpf_map_lookup_elem(&routes4, &lpm);
	} else {
		struct np_lpm6 lpm = { .prefixlen = 128, .address = { address[0], address[1], address[2], address[3] } };

		set = bpf_map_lookup_elem(&routes6, &lpm);
	}
	key.set = set ? *set : 0;
	if (!key.set)
		return 0;
	return !strict || bpf_map_lookup_elem(&route_links, &key) != 0;
}

/* Neighbours must be able to speak before they have an address that is allowed (RFC 4861, RFC 3810, RFC 8415). */
INLINE int np_is_link_talk(const struct np_tuple *t)
{
	__u8 type = t->icmp_type;

	if (t->family != 6 || t->part == NP_LATER || !np_is_link_local6(t->src))
		return 0;
	if (t->protocol == NP_ICMPV6)
		return (type >= 130 && type <= 137) || type == 143;
	return t->protocol == NP_UDP && t->sport == 546 && t->dport == 547;
}

/* 224.0.0.0/24 and ff02::/16 never leave the link. */
INLINE int np_goes_to_link(const struct np_tuple *t)
{
	if (t->family == 4)
		return (t->dst[0] & HTONL_CONST(0xffffff00u)) == HTONL_CONST(0xe0000000u);
	return (t->dst[0] & HTONL_CONST(0xffff0000u)) == HTONL_CONST(0xff020000u);
}

INLINE int np_is_reverse_path_wrong(struct np_state *st, const struct np_tuple *t)
{
	__u32 strict = st->link.flags & NP_LINK_REVERSE_STRICT;

	if (!strict && !(st->link.flags & NP_LINK_REVERSE_LOOSE))
		return 0;
	if ((st->link.flags & NP_LINK_LOOPBACK) || np_is_link_local(t->family, t->src) || np_goes_to_link(t))
		return 0;
	return !np_has_route(st, t->family, t->src, strict != 0);
}

/* The source address of an IP packet. */
INLINE __u32 np_check_source(struct np_state *st, const struct np_tuple *t)
{
	__u32 index = np_source_class(st, t);
	struct np_class *class = bpf_map_lookup_elem(&classes, &index);

	if (!class)
		return NP_R_INTERNAL;
	if ((st->link.flags & NP_LINK_BOGONS) && (class->traits & NP_TRAIT_BOGON) && !np_is_link_local(t->family, t->src))
		return NP_R_BOGON;
	if (st->link.source_checks.count && !np_is_link_talk(t)) {
		switch (np_is_source_allowed(st, t->family, t->src, class->source_groups)) {
		case NP_REFUSED:
			return NP_R_ALLOWED_SOURCES;
		case NP_NO_PERMIT:
			return NP_R_INTERNAL;
		}
	}
	return np_is_reverse_path_wrong(st, t) ? NP_R_REVERSE_PATH : 0;
}

/* Whether the address that a neighbour speaks for, in st->claimed, can be its own. */
INLINE int np_is_claim_permitted(struct np_state *st, __u8 family)
{
	struct np_class *class;
	__u32 index;

	if (family == 6 && np_is_link_local6(st->claimed))
		return NP_PERMITTED;
	if (st->link.source_checks.count) {
		index = np_class_of(family, st->claimed);
		class = bpf_map_lookup_elem(&classes, &index);
		return class ? np_is_source_allowed(st, family, st->claimed, class->source_groups) : NP_NO_PERMIT;
	}
	if (st->link.flags & NP_LINK_REVERSE_STRICT)
		return np_has_route(st, family, st->claimed, 1);
	return NP_PERMITTED;
}

/* ARP and neighbour discovery. */
INLINE __u32 np_check_claim(np_ctx *ctx, struct np_state *st, int has_mac)
{
	__u8 family = st->packet.family == 6 ? 6 : 4;
	int claim;

	if (!(st->link.flags & NP_LINK_ARP))
		return 0;
	claim = family == 6 ? np_read_discovery(ctx, st, has_mac) : np_read_arp(ctx, st, has_mac);
	if (claim != NP_CLAIMS)
		return claim == NP_CLAIMS_NOTHING ? 0 : NP_R_ARP;
	switch (np_is_claim_permitted(st, family)) {
	case NP_REFUSED:
		return NP_R_ARP;
	case NP_NO_PERMIT:
		return NP_R_INTERNAL;
	}
	return 0;
}

/* All checks of a packet that arrives where they are wanted; 0 = they hold. */
INLINE __u32 np_anti_spoof(np_ctx *ctx, struct np_state *st)
{
	const struct np_tuple *t = &st->packet;
	__u32 reason;
	int has_mac;

	/* What the host says to itself is from the host. */
	if (t->hook != NP_HOOK_INGRESS || !(st->link.flags & NP_LINK_ANTI_SPOOF) || np_is_own_copy(ctx))
		return 0;
	has_mac = np_read_mac(ctx, st);
	if (!np_is_mac_allowed(st, has_mac))
		return NP_R_ALLOWED_MACS;
	if (t->family && !np_is_zero(t->src) && !np_is_dhcp(st, t)) {
		reason = np_check_source(st, t);
		if (reason)
			return reason;
	}
	return np_check_claim(ctx, st, has_mac);
}

#endif
