/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Addresses that no packet on a wire may carry (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5 and 2.7). */
#ifndef NETPOL_PARSE_ADDRESS_H
#define NETPOL_PARSE_ADDRESS_H

#include "parse_l4.h"

INLINE int np_is_zero(const __u32 *a)
{
	return !(a[0] | a[1] | a[2] | a[3]);
}

INLINE int np_is_loopback6(const __u32 *a)
{
	return !(a[0] | a[1] | a[2]) && a[3] == HTONL_CONST(1u);
}

INLINE __u32 np_check_addresses4(const struct np_tuple *t)
{
	const __u32 net127 = HTONL_CONST(0x7f000000u), mask8 = HTONL_CONST(0xff000000u);
	const __u32 multicast = HTONL_CONST(0xe0000000u), mask4 = HTONL_CONST(0xf0000000u);
	__u32 src = t->src[0];

	if ((src & mask8) == net127 || (t->dst[0] & mask8) == net127)
		return NP_R_LOOPBACK_ADDRESS;
	if ((src & mask4) == multicast || src == 0xffffffffu)
		return NP_R_MULTICAST_SOURCE;
	/* A DHCP client has no address yet (RFC 2131 section 4.1). */
	if (src == 0 && !(t->protocol == NP_UDP && t->sport == 68 && t->dport == 67))
		return NP_R_UNSPECIFIED_SOURCE;
	return 0;
}

INLINE __u32 np_check_addresses6(const struct np_tuple *t)
{
	__u8 type = t->icmp_type;

	if (np_is_loopback6(t->src) || np_is_loopback6(t->dst))
		return NP_R_LOOPBACK_ADDRESS;
	if ((t->src[0] & HTONL_CONST(0xff000000u)) == HTONL_CONST(0xff000000u))
		return NP_R_MULTICAST_SOURCE;
	if (!np_is_zero(t->src))
		return 0;
	/* Duplicate address detection (RFC 4862) and MLD before an address exists (RFC 3590). */
	if (t->protocol == NP_ICMPV6 && t->part != NP_LATER &&
	    ((type >= 133 && type <= 136) || (type >= 130 && type <= 132) || type == 143))
		return 0;
	return NP_R_UNSPECIFIED_SOURCE;
}

INLINE __u32 np_check_addresses(const struct np_state *st)
{
	if (st->link.flags & NP_LINK_LOOPBACK)
		return 0;
	return st->packet.family == 4 ? np_check_addresses4(&st->packet) : np_check_addresses6(&st->packet);
}

#endif
