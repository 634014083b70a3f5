/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Events for the daemon; a full ring never holds up a packet: what is lost is counted. */
#ifndef NETPOL_EVENTS_H
#define NETPOL_EVENTS_H

#include "maps.h"
#include "state.h"
#include "verdict.h"

MAP_EVENTS;

INLINE void np_fill_event(struct np_state *st, __u32 rule, __u8 reason, __u8 audit)
{
	const struct np_tuple *t = &st->packet;
	struct np_event *event = &st->event;
	struct np_event empty = { 0 };
	__u32 i;

	*event = empty;
	event->time = st->now;
	event->ifindex = st->ifindex;
	event->generation = st->generation;
	event->rule = rule;
	event->chain = st->chain;
	event->length = st->length;
	event->vlan[0] = t->vlan[0];
	event->vlan[1] = t->vlan[1];
	event->ethertype = st->ethertype;
	event->hook = t->hook;
	event->reason = reason;
	event->family = t->family;
	event->protocol = t->protocol;
	event->tcp_flags = t->tcp_flags;
	event->icmp_type = t->icmp_type;
	event->icmp_code = t->icmp_code;
	event->flags = audit == NP_NOT_AUDIT ? 0 : NP_EVENT_AUDIT;
	event->audit = audit;
	event->sport = t->sport;
	event->dport = t->dport;
	for (i = 0; i < 4; i++) {
		event->src[i] = t->src[i];
		event->dst[i] = t->dst[i];
	}
}

INLINE void np_send_event(struct np_state *st, __u32 rule, __u8 reason, __u8 audit)
{
	np_fill_event(st, rule, reason, audit);
	if (bpf_ringbuf_output(&events, &st->event, sizeof(st->event), 0))
		np_count(st->packet.hook & 1, NP_LOST_EVENTS);
}

/* What was asked for of the packet itself, and what policies in audit mode would have said of it. */
INLINE void np_send_events(struct np_state *st)
{
	__u32 i;

	if (st->log)
		np_send_event(st, st->rule, st->reason, NP_NOT_AUDIT);
	for (i = 0; i < NP_MAX_AUDIT_EVENTS; i++) {
		const struct np_audit *noted = &st->audit[i];

		if (i >= st->audits)
			break;
		np_send_event(st, noted->rule, noted->reason, noted->audit);
	}
}

#endif
