/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What a packet is to the connection table: its kind and the key of its flow. */
#ifndef NETPOL_FLOW_KEY_H
#define NETPOL_FLOW_KEY_H

#include "parse_l4.h"
#include "state.h"

#define NP_NOT_ICMP_QUERY 0xff

INLINE __u8 np_opposite(__u8 hook)
{
	return hook == NP_HOOK_INGRESS ? NP_HOOK_EGRESS : NP_HOOK_INGRESS;
}

/*
 * Request type of a request or an answer (RFC 792, 950; RFC 4443, 4620); NP_NOT_ICMP_QUERY for other messages.
 * *answer = it is the answer.
 */
INLINE __u8 np_query_type(__u8 family, __u8 type, int *answer)
{
	*answer = 0;
	if (family == 4) {
		if (type == 8 || type == 13 || type == 15 || type == 17)
			return type;
		*answer = 1;
		if (type == 0)
			return 8;
		if (type == 14 || type == 16 || type == 18)
			return type - 1;
		return NP_NOT_ICMP_QUERY;
	}
	if (type == 128 || type == 139)
		return type;
	*answer = 1;
	if (type == 129 || type == 140)
		return type - 1;
	return NP_NOT_ICMP_QUERY;
}

INLINE int np_is_icmp(__u8 family, __u32 protocol)
{
	return family == 4 ? protocol == NP_ICMP : protocol == NP_ICMPV6;
}

INLINE int np_is_icmp_error(__u8 family, __u8 type)
{
	if (family == 4)
		return type == 3 || type == 4 || type == 11 || type == 12;
	return type < 128;
}

/* Both directions of a flow have one key: `remote` is what lies beyond the wire. */
INLINE void np_make_key(struct np_state *st, const struct np_tuple *t, __u16 echo_id)
{
	struct np_flow_key *key = &st->key;
	int arrives = t->hook == NP_HOOK_INGRESS;
	__u32 i;

	key->ifindex = st->ifindex;
	key->vlan[0] = t->vlan[0];
	key->vlan[1] = t->vlan[1];
	key->family = t->family;
	key->protocol = t->protocol;
	key->opener = 0;
	key->pad = 0;
	for (i = 0; i < 4; i++) {
		key->remote[i] = arrives ? t->src[i] : t->dst[i];
		key->local[i] = arrives ? t->dst[i] : t->src[i];
	}
	if (np_is_icmp(t->family, t->protocol)) {
		int answer;
		__u8 type = np_query_type(t->family, t->icmp_type, &answer);

		key->remote_port = echo_id;
		key->local_port = type;
		key->opener = answer ? np_opposite(t->hook) : t->hook;
	} else {
		key->remote_port = arrives ? t->sport : t->dport;
		key->local_port = arrives ? t->dport : t->sport;
	}
}

INLINE __u8 np_kind_of_tcp(__u8 flags)
{
	if ((flags & (NP_SYN | NP_ACK | NP_RST | NP_FIN)) == NP_SYN)
		return NP_KIND_ALWAYS;
	/* With RST it is a reset, as the receiver takes it (RFC 9293 section 3.10.7). */
	if ((flags & (NP_SYN | NP_ACK | NP_RST)) == (NP_SYN | NP_ACK))
		return NP_KIND_SYNACK;
	return NP_KIND_SEGMENT;
}

INLINE __u8 np_kind_of_icmp(__u8 family, __u8 type)
{
	int answer;

	if (np_query_type(family, type, &answer) != NP_NOT_ICMP_QUERY)
		return answer ? NP_KIND_NEEDS : NP_KIND_OPENS;
	if (np_is_icmp_error(family, type))
		return NP_KIND_ERROR;
	if (type == (family == 4 ? 5 : 137))
		return NP_KIND_REDIRECT;
	return NP_KIND_STATELESS;
}

INLINE __u8 np_kind_of(const struct np_state *st)
{
	const struct np_tuple *t = &st->packet;

	if (t->part == NP_LATER)
		return NP_KIND_LATER;
	if (t->protocol == NP_TCP)
		return np_kind_of_tcp(t->tcp_flags);
	if (t->protocol == NP_SCTP)
		return st->sctp_init ? NP_KIND_ALWAYS : NP_KIND_NEEDS;
	if (np_is_icmp(t->family, t->protocol))
		return np_kind_of_icmp(t->family, t->icmp_type);
	return NP_KIND_OPENS;
}

#endif
