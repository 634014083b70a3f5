/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Protocol, ports or type, TCP flags and tags -> one small number. */
#ifndef NETPOL_L4_CLASS_H
#define NETPOL_L4_CLASS_H

#include "maps.h"
#include "parse_l4.h"
#include "state.h"

MAP_L4_PROTOCOLS;
MAP_L4_TABLES;
MAP_L4_FLAGS;
MAP_L4_VLANS;
MAP_L4_DIMS;
MAP_L4_COMBINE;

/* *found stays what it was where `table` is NP_NONE. 0 = a table is missing. */
INLINE int np_in_table(__u32 table, __u16 index, __u32 *found)
{
	struct np_port_table *ports;

	if (table == NP_NONE)
		return 1;
	ports = bpf_map_lookup_elem(&l4_tables, &table);
	if (!ports)
		return 0;
	*found = ports->class_[MASKED(index, NP_PORTS - 1)];
	return 1;
}

/* D and S. 0 = a table is missing. */
INLINE int np_port_classes(const struct np_tuple *t, __u32 *destination, __u32 *source)
{
	__u32 index = (t->family == 6 ? NP_PROTOCOLS : 0) + t->protocol;
	struct np_protocol *protocol = bpf_map_lookup_elem(&l4_protocols, &index);
	__u16 key = t->dport;

	*source = 0;
	if (!protocol)
		return 0;
	if (t->part == NP_LATER) {
		*destination = protocol->fragment_class;
		return 1;
	}
	if (t->protocol == NP_ICMP || t->protocol == NP_ICMPV6)
		key = (__u16)t->icmp_type << 8 | t->icmp_code;
	*destination = protocol->class_;
	return np_in_table(protocol->destination_table, key, destination) && np_in_table(protocol->source_table, t->sport, source);
}

INLINE int np_flag_class(const struct np_tuple *t, __u32 *class)
{
	__u32 index = t->tcp_flags;
	__u32 *found;

	*class = 0;
	if (t->protocol != NP_TCP || t->part == NP_LATER)
		return 1;
	found = bpf_map_lookup_elem(&l4_flags, &index);
	if (!found)
		return 0;
	*class = *found;
	return 1;
}

INLINE __u32 np_vlan_class(const struct np_tuple *t)
{
	struct np_vlan_key key = { .outer = t->vlan[0], .inner = t->vlan[1] };
	__u32 *found;

	if (!key.outer)
		return 0;
	found = bpf_map_lookup_elem(&l4_vlans, &key);
	return found ? *found : 1;
}

/* 0 = a look-up failed that cannot. */
INLINE int np_l4_class(const struct np_tuple *t, __u32 *class)
{
	__u32 destination, source, flags, index, zero = 0;
	struct np_l4_dims *dims;
	__u32 *found;

	dims = bpf_map_lookup_elem(&l4_dims, &zero);
	if (!dims || !np_port_classes(t, &destination, &source) || !np_flag_class(t, &flags))
		return 0;
	index = ((destination * dims->s + source) * dims->f + flags) * dims->v + np_vlan_class(t);
	found = bpf_map_lookup_elem(&l4_combine, &index);
	if (!found)
		return 0;
	*class = *found;
	return 1;
}

#endif
