/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* One event for the daemon, or none: a full ring never holds up a packet. */
#ifndef NETPOL_EVENTS_H
#define NETPOL_EVENTS_H

#include "maps.h"
#include "state.h"

MAP_EVENTS;

INLINE void np_fill_event(struct np_state *st)
{
	const struct np_tuple *t = &st->packet;
	struct np_event *event = &st->event;
	struct np_event empty = { 0 };
	__u32 i;

	*event = empty;
	event->time = st->now;
	event->ifindex = st->ifindex;
	event->generation = st->generation;
	event->rule = st->rule;
	event->chain = st->chain;
	event->length = st->length;
	event->vlan[0] = t->vlan[0];
	event->vlan[1] = t->vlan[1];
	event->ethertype = st->ethertype;
	event->hook = t->hook;
	event->reason = st->reason;
	event->family = t->family;
	event->protocol = t->protocol;
	event->tcp_flags = t->tcp_flags;
	event->icmp_type = t->icmp_type;
	event->icmp_code = t->icmp_code;
	event->sport = t->sport;
	event->dport = t->dport;
	for (i = 0; i < 4; i++) {
		event->src[i] = t->src[i];
		event->dst[i] = t->dst[i];
	}
}

INLINE void np_send_event(struct np_state *st)
{
	np_fill_event(st);
	bpf_ringbuf_output(&events, &st->event, sizeof(st->event), 0);
}

#endif
