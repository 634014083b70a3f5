/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Stage 1: bytes -> struct np_state. Every refusal is a reason; whether it drops the packet is not decided here. */
#ifndef NETPOL_PARSE_H
#define NETPOL_PARSE_H

#include "parse_address.h"
#include "parse_ip4.h"
#include "parse_ip6.h"
#include "parse_l2.h"
#include "parse_l4.h"

INLINE void np_reset_packet(np_ctx *ctx, struct np_state *st, __u8 hook)
{
	struct np_tuple empty = { .hook = hook };

	st->length = np_frame_length(ctx);
	st->packet = empty;
	st->payload = 0;
	st->seq = 0;
	st->ack = 0;
	st->echo_id = 0;
	st->sctp_init = 0;
	st->l4_length = 0;
}

/* 0 = parsed; st->packet.family says whether it is IP. */
INLINE __u32 np_parse(np_ctx *ctx, struct np_state *st, int raw)
{
	__u32 offset = 0;
	__u32 reason, refused;

#ifndef NP_XDP
	reason = raw || np_is_own_copy(ctx) ? np_parse_raw(ctx, st, &offset) : np_parse_ethernet(ctx, st, &offset);
#else
	(void)raw;
	reason = np_parse_ethernet(ctx, st, &offset);
#endif
	if (reason)
		return reason;
	st->l3_offset = offset;
	if (st->ethertype == NP_ETH_IP)
		reason = np_parse_ip4(ctx, st, offset);
	else if (st->ethertype == NP_ETH_IPV6)
		reason = np_parse_ip6(ctx, st, offset);
	else
		return 0;
	if (reason)
		return reason;
	/* L4 is read first because two addresses are excused by ports or types; a bad address is named before a bad header. */
	reason = np_parse_l4(ctx, st);
	refused = np_check_addresses(st);
	return refused ? refused : reason;
}

#endif
