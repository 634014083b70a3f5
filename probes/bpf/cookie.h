/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * SYN cookies: what XDP and tc have in common. The kernel makes and checks the cookies, for a listening socket of this host, so
 * that the socket takes them for its own; it makes one only when the socket's own queue is full (net.ipv4.tcp_syncookies = 1) or
 * always (2), and none for a socket that accepts no more.
 */
#ifndef NETPOL_COOKIE_H
#define NETPOL_COOKIE_H

#include "context.h"
#include "maps.h"
#include "parse_ip4.h"
#include "parse_ip6.h"
#include "parse_l4.h"

MAP_COOKIE_PORTS;

/* Where the headers that the kernel reads are put together: an IP header without options and a TCP header. */
union np_ip {
	struct np_ip4 v4;
	struct np_ip6 v6;
};

/* A packet that may be part of a handshake with a cookie: to a listed port, untagged (a tag may lead into another namespace). */
INLINE int np_is_cookie_port(const struct np_state *st)
{
	const struct np_tuple *t = &st->packet;
	struct np_cookie_key key = { .group = st->link.cookie_group, .port = t->dport };

	if (!(st->link.flags & NP_LINK_SYN_COOKIES) || t->hook != NP_HOOK_INGRESS || t->protocol != NP_TCP || t->part != NP_WHOLE)
		return 0;
	return !t->vlan[0] && bpf_map_lookup_elem(&cookie_ports, &key);
}

/* The socket that this packet is for, held; or null. */
INLINE struct bpf_sock *np_find_socket(np_ctx *ctx, const struct np_tuple *t)
{
	struct bpf_sock_tuple tuple;
	__u32 i;

	if (t->family == 4) {
		tuple.ipv4.saddr = t->src[0];
		tuple.ipv4.daddr = t->dst[0];
		tuple.ipv4.sport = NTOHS(t->sport);
		tuple.ipv4.dport = NTOHS(t->dport);
		return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	for (i = 0; i < 4; i++) {
		tuple.ipv6.saddr[i] = t->src[i];
		tuple.ipv6.daddr[i] = t->dst[i];
	}
	tuple.ipv6.sport = NTOHS(t->sport);
	tuple.ipv6.dport = NTOHS(t->dport);
	return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/* The IP header as far as cookies read it: version and addresses. */
INLINE void np_fill_ip(union np_ip *ip, const struct np_tuple *t)
{
	union np_ip empty = { .v6 = { 0 } };
	__u32 i;

	*ip = empty;
	if (t->family == 4) {
		ip->v4.version_ihl = 0x45;
		ip->v4.src = t->src[0];
		ip->v4.dst = t->dst[0];
		return;
	}
	ip->v6.flow = NTOHL(0x60000000u);
	for (i = 0; i < 4; i++) {
		ip->v6.src[i] = t->src[i];
		ip->v6.dst[i] = t->dst[i];
	}
}

INLINE __u32 np_ip_size(const struct np_tuple *t)
{
	return t->family == 4 ? sizeof(struct np_ip4) : sizeof(struct np_ip6);
}

#endif
