/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Stages 4 and 6: what passes whatever the rules say. */
#ifndef NETPOL_STAGES_H
#define NETPOL_STAGES_H

#include "classes.h"

/* Stage 4: host endpoint, isolated hook. 1 = accepted, 0 = go on. */
INLINE int np_is_failsafe(struct np_state *st, const struct np_tuple *t)
{
	struct np_class *class;
	__u64 bits;
	__u32 index;

	if ((st->link.flags & NP_LINK_WORKLOAD) || t->part == NP_LATER)
		return 0;
	bits = np_failsafe_bits(t->hook, t->protocol, t->dport);
	if (!bits)
		return 0;
	index = t->hook == NP_HOOK_INGRESS ? np_source_class(st, t) : np_destination_class(st, t);
	class = bpf_map_lookup_elem(&classes, &index);
	return class && (class->failsafe & bits) != 0;
}

INLINE int np_is_link_local6(const __u32 *address)
{
	return (address[0] & HTONL_CONST(0xffc00000u)) == HTONL_CONST(0xfe800000u);
}

/*
 * Neighbour discovery is genuine only with hop limit 255, which no router lets through (RFC 4861). MLD goes no further than the link, and
 * comes from an address of it or from none (RFC 2710 section 3, RFC 3810 section 5): with another one it could be for a host behind us.
 */
INLINE int np_is_icmpv6_essential(const struct np_state *st, const struct np_tuple *t)
{
	__u8 type = t->icmp_type;
	int arrives_from_workload = (st->link.flags & NP_LINK_WORKLOAD) && t->hook == NP_HOOK_INGRESS;

	if (!(st->link.flags & NP_LINK_ICMPV6_ESSENTIAL) || t->family != 6 || t->protocol != NP_ICMPV6)
		return 0;
	if ((type >= 130 && type <= 132) || type == 143)
		return t->hop_limit == 1 && (np_is_link_local6(t->src) || np_is_zero(t->src));
	if (t->hop_limit != 255 || t->icmp_code != 0 || t->part != NP_WHOLE)
		return 0;
	if (type == 133 || type == 135 || type == 136)
		return 1;
	return type == 134 && (st->link.flags & NP_LINK_ROUTER_ADVERTISEMENTS) && !arrives_from_workload;
}

/* The client is the protected thing: its packets leave a host, and arrive from a workload. */
INLINE int np_is_dhcp(const struct np_state *st, const struct np_tuple *t)
{
	__u8 client_hook = (st->link.flags & NP_LINK_WORKLOAD) ? NP_HOOK_INGRESS : NP_HOOK_EGRESS;
	__u16 client = t->family == 4 ? 68 : 546;
	__u16 server = t->family == 4 ? 67 : 547;

	if (!(st->link.flags & NP_LINK_DHCP_CLIENT) || t->protocol != NP_UDP || t->vlan[0])
		return 0;
	/* The client speaks from, and is spoken to at, its link-local address (RFC 8415): no router sends those on. */
	if (t->family == 6 && !np_is_link_local6(t->hook == client_hook ? t->src : t->dst))
		return 0;
	if (t->hook == client_hook)
		return t->sport == client && t->dport == server;
	return t->sport == server && t->dport == client;
}

/* Stage 6. A later fragment has neither type nor ports. */
INLINE int np_is_essential(const struct np_state *st, const struct np_tuple *t)
{
	if (t->part == NP_LATER)
		return 0;
	return np_is_icmpv6_essential(st, t) || np_is_dhcp(st, t);
}

#endif
