/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* SYN cookies at XDP: a SYN becomes the SYN-ACK that answers it, and nothing is remembered. */
#ifndef NETPOL_COOKIE_SEND_H
#define NETPOL_COOKIE_SEND_H

#include "checksum.h"
#include "cookie.h"

MAP_ROUTES4;
MAP_ROUTES6;

#define NP_COOKIE_TTL 64
#define NP_COOKIE_ETHERNET 14
#define NP_LEAST_FRAME 60 /* of Ethernet, without its checksum */
#define NP_MAX_TCP_HEADER 60

/* TCP header and the one option that a cookie can carry. */
struct np_synack {
	struct np_tcp tcp;
	__u8 option;
	__u8 size;
	__u16 mss;
};

struct np_cookie_frame4 {
	__u8 dst[6], src[6];
	__u16 type;
	struct np_ip4 ip;
	struct np_synack synack;
} __attribute__((packed));

struct np_cookie_frame6 {
	__u8 dst[6], src[6];
	__u16 type;
	struct np_ip6 ip;
	struct np_synack synack;
} __attribute__((packed));

/* A socket that listens on every address speaks only for the addresses of this host, not for those that it routes or bridges to. */
INLINE int np_is_for_this_host(const struct np_tuple *t)
{
	struct np_lpm4 four = { .prefixlen = 32, .address = t->dst[0] };
	struct np_lpm6 six;
	__u32 *leads;
	__u32 i;

	if (t->family == 4) {
		leads = bpf_map_lookup_elem(&routes4, &four);
	} else {
		six.prefixlen = 128;
		for (i = 0; i < 4; i++)
			six.address[i] = t->dst[i];
		leads = bpf_map_lookup_elem(&routes6, &six);
	}
	return leads && *leads == 0;
}

/* The cookie in the lower and its MSS in the upper half; negative = none is called for. */
INLINE __s64 np_bake_cookie(struct xdp_md *ctx, struct np_state *st)
{
	const struct np_tuple *t = &st->packet;
	/* Its options are counted, not the header: verifiers before 6.10 do not see what a range check of a difference says of the number. */
	__u32 options = FORGET(st->forgotten, st->l4_bytes - st->payload - sizeof(struct np_tcp));
	__u32 size = sizeof(struct np_tcp) + options;
	struct bpf_sock *socket;
	union np_ip ip;
	__s64 cookie;

	if (options > NP_MAX_TCP_HEADER - sizeof(struct np_tcp))
		return -1;
	if (bpf_xdp_load_bytes(ctx, st->l4_offset, st->buffer, size))
		return -1;
	np_fill_ip(&ip, t);
	socket = np_find_socket(ctx, t);
	if (!socket)
		return -1;
	cookie = bpf_tcp_gen_syncookie(socket, &ip, sizeof(ip), st->buffer, size);
	bpf_sk_release(socket);
	return cookie;
}

INLINE void np_fill_synack(const struct np_state *st, struct np_synack *synack, __s64 cookie)
{
	const struct np_tuple *t = &st->packet;
	struct {
		__u32 src[4], dst[4], length, protocol;
	} pseudo = { { 0 }, { 0 }, 0, 0 };
	struct np_synack empty = { { 0 }, 0, 0, 0 };
	__u32 i;

	*synack = empty;
	synack->tcp.sport = NTOHS(t->dport);
	synack->tcp.dport = NTOHS(t->sport);
	synack->tcp.seq = NTOHL((__u32)cookie);
	synack->tcp.ack = NTOHL(st->seq + 1);
	synack->tcp.offset = sizeof(*synack) / 4 << 4;
	synack->tcp.flags = NP_SYN | NP_ACK;
	synack->tcp.window = 0xffff;
	synack->option = 2; /* maximum segment size (RFC 9293 section 3.7.1) */
	synack->size = 4;
	synack->mss = NTOHS((__u16)(cookie >> 32));
	for (i = 0; i < 4; i++) {
		pseudo.src[i] = t->dst[i];
		pseudo.dst[i] = t->src[i];
	}
	pseudo.length = NTOHL((__u32)sizeof(*synack));
	pseudo.protocol = NTOHL((__u32)NP_TCP);
	synack->tcp.checksum = np_folded(np_sum(synack, sizeof(*synack), np_sum(&pseudo, sizeof(pseudo), 0)));
}

/* Addresses of the Ethernet header, exchanged. */
INLINE void np_exchange(__u8 *dst, __u8 *src)
{
	__u32 i;

	UNROLL
	for (i = 0; i < 6; i++) {
		__u8 byte = dst[i];

		dst[i] = src[i];
		src[i] = byte;
	}
}

INLINE int np_write_cookie4(struct xdp_md *ctx, const struct np_state *st, const struct np_synack *synack)
{
	struct np_cookie_frame4 *frame = NP_CONTEXT_POINTER(ctx, data);
	struct np_ip4 ip = { 0 };

	if ((void *)frame + NP_LEAST_FRAME > NP_CONTEXT_POINTER(ctx, data_end))
		return 0;
	np_exchange(frame->dst, frame->src);
	ip.version_ihl = 0x45;
	ip.total = NTOHS((__u16)(sizeof(ip) + sizeof(*synack)));
	ip.fragment = NTOHS(0x4000); /* do not fragment */
	ip.ttl = NP_COOKIE_TTL;
	ip.protocol = NP_TCP;
	ip.src = st->packet.dst[0];
	ip.dst = st->packet.src[0];
	ip.checksum = np_folded(np_sum(&ip, sizeof(ip), 0));
	frame->ip = ip;
	frame->synack = *synack;
	*(__u16 *)(frame + 1) = 0; /* padding */
	return 1;
}

INLINE int np_write_cookie6(struct xdp_md *ctx, const struct np_state *st, const struct np_synack *synack)
{
	struct np_cookie_frame6 *frame = NP_CONTEXT_POINTER(ctx, data);
	__u32 i;

	if ((void *)(frame + 1) > NP_CONTEXT_POINTER(ctx, data_end))
		return 0;
	np_exchange(frame->dst, frame->src);
	frame->ip.flow = NTOHL(0x60000000u);
	frame->ip.payload = NTOHS((__u16)sizeof(*synack));
	frame->ip.next = NP_TCP;
	frame->ip.hop_limit = NP_COOKIE_TTL;
	for (i = 0; i < 4; i++) {
		frame->ip.src[i] = st->packet.dst[i];
		frame->ip.dst[i] = st->packet.src[i];
	}
	frame->synack = *synack;
	return 1;
}

enum np_cookie_sent {
	NP_COOKIE_NOT = 0,  /* none is called for: the packet is as it was */
	NP_COOKIE_SENT = 1, /* the packet is the SYN-ACK */
	NP_COOKIE_LOST = 2, /* half of it: drop */
};

/* Headers stand where they stand in all but strange packets, which take the usual way. */
INLINE int np_send_cookie(struct xdp_md *ctx, struct np_state *st)
{
	__u32 size = st->packet.family == 4 ? NP_LEAST_FRAME : sizeof(struct np_cookie_frame6);
	struct np_synack synack;
	__s64 cookie;

	if ((st->packet.tcp_flags & (NP_SYN | NP_ACK | NP_RST | NP_FIN)) != NP_SYN || !np_is_cookie_port(st))
		return NP_COOKIE_NOT;
	if (st->l4_offset != NP_COOKIE_ETHERNET + np_ip_size(&st->packet) || !np_is_for_this_host(&st->packet))
		return NP_COOKIE_NOT;
	cookie = np_bake_cookie(ctx, st);
	if (cookie < 0)
		return NP_COOKIE_NOT;
	np_fill_synack(st, &synack, cookie);
	if (bpf_xdp_adjust_tail(ctx, (__s32)size - (__s32)st->length))
		return NP_COOKIE_NOT;
	if (st->packet.family == 4)
		return np_write_cookie4(ctx, st, &synack) ? NP_COOKIE_SENT : NP_COOKIE_LOST;
	return np_write_cookie6(ctx, st, &synack) ? NP_COOKIE_SENT : NP_COOKIE_LOST;
}

#endif
