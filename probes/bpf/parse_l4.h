/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Ports, flags, types. Every header must stand whole within the length that the IP header states. */
#ifndef NETPOL_PARSE_L4_H
#define NETPOL_PARSE_L4_H

#include "context.h"

#define NP_ICMP 1
#define NP_TCP 6
#define NP_UDP 17
#define NP_DCCP 33
#define NP_ICMPV6 58
#define NP_SCTP 132
#define NP_UDPLITE 136

#define NP_FIN 0x01
#define NP_SYN 0x02
#define NP_RST 0x04
#define NP_ACK 0x10

#define NP_SCTP_INIT 1

struct np_tcp {
	__u16 sport;
	__u16 dport;
	__u32 seq;
	__u32 ack;
	__u8 offset; /* high nibble: header length in words */
	__u8 flags;
	__u16 window;
	__u16 checksum;
	__u16 urgent;
};

struct np_ports {
	__u16 sport;
	__u16 dport;
	__u32 rest;
};

struct np_icmp {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__u16 id; /* of requests and answers; errors: unused or MTU */
	__u16 sequence;
};

INLINE int np_has_ports(__u32 protocol)
{
	return protocol == NP_TCP || protocol == NP_UDP || protocol == NP_DCCP || protocol == NP_SCTP || protocol == NP_UDPLITE;
}

INLINE __u32 np_parse_tcp(np_ctx *ctx, struct np_state *st)
{
	struct np_tcp *tcp;
	__u32 header;

	if (st->l4_bytes < sizeof(*tcp))
		return NP_R_MALFORMED;
	tcp = np_header(ctx, st->l4_offset, sizeof(*tcp), st->buffer);
	if (!tcp)
		return NP_R_UNREADABLE;
	header = (tcp->offset >> 4) * 4;
	st->packet.sport = NTOHS(tcp->sport);
	st->packet.dport = NTOHS(tcp->dport);
	st->packet.tcp_flags = tcp->flags;
	st->seq = NTOHL(tcp->seq);
	st->ack = NTOHL(tcp->ack);
	if (header < sizeof(*tcp) || header > st->l4_bytes)
		return NP_R_MALFORMED;
	st->payload = st->l4_bytes - header;
	return 0;
}

/* UDP and UDP-Lite: 8 bytes; SCTP and DCCP: 12. */
INLINE __u32 np_parse_ports(np_ctx *ctx, struct np_state *st, __u32 least)
{
	struct np_ports *ports;

	if (st->l4_bytes < least)
		return NP_R_MALFORMED;
	ports = np_header(ctx, st->l4_offset, sizeof(*ports), st->buffer);
	if (!ports)
		return NP_R_UNREADABLE;
	st->packet.sport = NTOHS(ports->sport);
	st->packet.dport = NTOHS(ports->dport);
	return 0;
}

INLINE __u32 np_parse_sctp(np_ctx *ctx, struct np_state *st)
{
	__u32 reason = np_parse_ports(ctx, st, 12);
	__u8 *chunk;

	if (reason || st->l4_bytes < 16)
		return reason;
	chunk = np_header(ctx, st->l4_offset + 12, 4, st->buffer);
	if (!chunk)
		return NP_R_UNREADABLE;
	st->sctp_init = chunk[0] == NP_SCTP_INIT;
	return 0;
}

/* ICMPv6 messages of 4 bytes exist; echo and errors have 8, and so has every ICMPv4 message (RFC 792). */
INLINE __u32 np_parse_icmp(np_ctx *ctx, struct np_state *st, int v6)
{
	struct np_icmp *icmp;
	__u8 *start;

	if (st->l4_bytes < (v6 ? 4u : 8u))
		return NP_R_MALFORMED;
	start = np_header(ctx, st->l4_offset, 4, st->buffer);
	if (!start)
		return NP_R_UNREADABLE;
	st->packet.icmp_type = start[0];
	st->packet.icmp_code = start[1];
	if (st->l4_bytes < sizeof(*icmp)) {
		__u8 type = start[0];

		return type <= 129 ? NP_R_MALFORMED : 0;
	}
	icmp = np_header(ctx, st->l4_offset, sizeof(*icmp), st->buffer);
	if (!icmp)
		return NP_R_UNREADABLE;
	st->echo_id = NTOHS(icmp->id);
	return 0;
}

INLINE __u32 np_parse_known(np_ctx *ctx, struct np_state *st)
{
	switch (st->packet.protocol) {
	case NP_TCP:
		return np_parse_tcp(ctx, st);
	case NP_UDP:
	case NP_UDPLITE:
		return np_parse_ports(ctx, st, 8);
	case NP_DCCP:
		return np_parse_ports(ctx, st, 12);
	case NP_SCTP:
		return np_parse_sctp(ctx, st);
	case NP_ICMP:
		return st->packet.family == 4 ? np_parse_icmp(ctx, st, 0) : 0;
	case NP_ICMPV6:
		return st->packet.family == 6 ? np_parse_icmp(ctx, st, 1) : 0;
	}
	return 0;
}

/* The first bytes of a first fragment, to know it again. */
INLINE __u32 np_keep_first_bytes(np_ctx *ctx, struct np_state *st)
{
	__u32 size = st->l4_bytes;
	__u32 last;

	if (size == 0)
		return 0;
	/* Counted from 0, so that every verifier sees that at least one byte is read. */
	last = FORGET(st->forgotten, (size < sizeof(st->l4) ? size : sizeof(st->l4)) - 1);
	if (last >= sizeof(st->l4))
		return NP_R_INTERNAL;
	size = last + 1;
	st->l4_length = size;
	return np_load(ctx, st->l4_offset, st->l4, size) ? NP_R_UNREADABLE : 0;
}

INLINE __u32 np_parse_l4(np_ctx *ctx, struct np_state *st)
{
	__u32 reason;

	if (st->packet.part == NP_LATER) {
		/* RFC 1858 and 3128: it can only be meant to overwrite a TCP header that has been judged. */
		if (st->packet.protocol == NP_TCP && st->fragment_offset < 20)
			return NP_R_MALFORMED;
		return 0;
	}
	reason = np_parse_known(ctx, st);
	if (reason || st->packet.part == NP_WHOLE)
		return reason;
	return np_keep_first_bytes(ctx, st);
}

#endif
