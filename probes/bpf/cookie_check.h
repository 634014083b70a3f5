/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* SYN cookies at tc: the acknowledgement that comes back is the SYN that it stands for. */
#ifndef NETPOL_COOKIE_CHECK_H
#define NETPOL_COOKIE_CHECK_H

#include "cookie.h"

/* Whether the listening socket would take this segment's acknowledgement for a cookie of its own. */
INLINE int np_returns_cookie(np_ctx *ctx, const struct np_state *st)
{
	const struct np_tuple *t = &st->packet;
	struct np_tcp tcp = { 0 };
	struct bpf_sock *socket;
	union np_ip ip;
	long wrong;

	if ((t->tcp_flags & (NP_ACK | NP_SYN | NP_RST | NP_FIN)) != NP_ACK || !np_is_cookie_port(st))
		return 0;
	np_fill_ip(&ip, t);
	tcp.sport = NTOHS(t->sport);
	tcp.dport = NTOHS(t->dport);
	tcp.seq = NTOHL(st->seq);
	tcp.ack = NTOHL(st->ack);
	tcp.offset = sizeof(tcp) / 4 << 4;
	tcp.flags = NP_ACK;
	socket = np_find_socket(ctx, t);
	if (!socket)
		return 0;
	wrong = bpf_tcp_check_syncookie(socket, &ip, sizeof(ip), &tcp, sizeof(tcp));
	bpf_sk_release(socket);
	return !wrong;
}

/*
 * A segment without flow that returns a cookie is judged as a SYN, and the flow that it makes is established.
 *
 * A SYN for which no cookie was called passes, if the rules let it, also where there is no room for its flow: the socket's queue
 * has to be full before the kernel makes cookies, and our table may be full earlier.
 */
INLINE void np_take_cookie(np_ctx *ctx, struct np_state *st)
{
	if (st->table != NP_TABLE_NONE)
		return;
	if (st->kind == NP_KIND_ALWAYS && np_is_cookie_port(st)) {
		st->todo |= NP_DO_ANYWAY;
	} else if (st->kind == NP_KIND_SEGMENT && np_returns_cookie(ctx, st)) {
		st->kind = NP_KIND_ALWAYS;
		st->packet.tcp_flags = NP_SYN;
		st->todo |= NP_DO_ESTABLISHED;
	}
}

#endif
