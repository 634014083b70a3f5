/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The definition of every map that a program uses; each object names those it needs (`MAP_LINKS;`), once.
 * The daemon makes all maps itself from the table in probes/src/maps.rs and puts them in the place of these; a unit test
 * holds the two against each other. Sizes that depend on the policy stand here as 1 (NP_MEASURED).
 *
 * tc objects are read by libbpf: all definitions in one section `maps`. XDP objects are read by redbpf, which can replace
 * only maps that have a section of their own, and only by maps of equal type and sizes.
 */
#ifndef NETPOL_MAPS_H
#define NETPOL_MAPS_H

#include "abi.h"
#include "helpers.h"

struct np_map_definition {
	__u32 type;
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	__u32 flags;
};

#ifdef NP_XDP
#define NP_MAP_SECTION(name) "maps/" #name
#else
#define NP_MAP_SECTION(name) "maps"
#endif

#define NP_MAP(name, kind, key, value, entries, map_flags) \
	struct np_map_definition SEC(NP_MAP_SECTION(name)) name = { \
		.type = BPF_MAP_TYPE_##kind, \
		.key_size = (key), \
		.value_size = (value), \
		.max_entries = (entries), \
		.flags = (map_flags), \
	}

#define NP_MEASURED 1

/* Shared by all generations. */
#define MAP_GENERATION NP_MAP(generation, ARRAY, 4, sizeof(struct np_word), 1, BPF_F_MMAPABLE)
#define MAP_SLOTS NP_MAP(slots, ARRAY, 4, sizeof(struct np_slot), NP_SLOTS, 0)
#define MAP_LINKS NP_MAP(links, HASH, sizeof(struct np_link_key), sizeof(struct np_link), NP_MAX_LINKS, 0)
#define MAP_CONNECTIONS NP_MAP(connections, HASH, sizeof(struct np_flow_key), sizeof(struct np_flow), NP_MEASURED, 0)
#define MAP_HALF_OPEN NP_MAP(half_open, HASH, sizeof(struct np_flow_key), sizeof(struct np_flow), NP_MEASURED, 0)
#define MAP_CONNECTION_RING NP_MAP(connection_ring, ARRAY, 4, sizeof(struct np_flow_key), NP_CONNECTION_RING, 0)
#define MAP_HALF_OPEN_RING NP_MAP(half_open_ring, ARRAY, 4, sizeof(struct np_flow_key), NP_HALF_OPEN_RING, 0)
#define MAP_RING_HEADS NP_MAP(ring_heads, ARRAY, 4, 8, 2 * NP_RINGS, 0)
#define MAP_FRAGMENTS NP_MAP(fragments, LRU_HASH, sizeof(struct np_fragment_key), sizeof(struct np_fragment), NP_MAX_FRAGMENTS, 0)
#define MAP_BUCKETS NP_MAP(buckets, LRU_HASH, sizeof(struct np_bucket_key), 8, NP_MAX_BUCKETS, 0)
#define MAP_ROUTES4 NP_MAP(routes4, LPM_TRIE, sizeof(struct np_lpm4), 4, NP_MAX_ROUTES, BPF_F_NO_PREALLOC)
#define MAP_ROUTES6 NP_MAP(routes6, LPM_TRIE, sizeof(struct np_lpm6), 4, NP_MAX_ROUTES, BPF_F_NO_PREALLOC)
#define MAP_ROUTE_LINKS NP_MAP(route_links, HASH, sizeof(struct np_route_key), 1, NP_MAX_ROUTE_LINKS, BPF_F_NO_PREALLOC)
#define MAP_ANSWERS NP_MAP(answers, LRU_HASH, 4, sizeof(struct np_answer), NP_MAX_ANSWERS, 0)
#define MAP_ANSWER_SCRATCH NP_MAP(answer_scratch, PERCPU_ARRAY, 4, NP_ANSWER_SCRATCH_SIZE, 1, 0)
#define MAP_REASONS NP_MAP(reasons, PERCPU_ARRAY, 4, 8, NP_HOOKS * NP_MAX_REASONS, 0)
#define MAP_GUARDS NP_MAP(guards, ARRAY, 4, sizeof(struct np_guard), NP_SLOTS, 0)
#define MAP_GUARD_NAMES NP_MAP(guard_names, HASH, sizeof(struct np_guard_key), 4, NP_MAX_GUARD_NAMES, BPF_F_NO_PREALLOC)
#define MAP_EVENTS NP_MAP(events, RINGBUF, 0, 0, NP_EVENT_RING, 0)
#define MAP_TC_SCRATCH NP_MAP(tc_scratch, PERCPU_ARRAY, 4, NP_SCRATCH_SIZE, 1, 0)
#define MAP_XDP_SCRATCH NP_MAP(xdp_scratch, PERCPU_ARRAY, 4, NP_SCRATCH_SIZE, 1, 0)
/* PREEMPT_RT (scratch.h): in the place of the scratches. */
#define NP_SCRATCHES 16
#define NP_XDP_SCRATCH_RT_SIZE (8 + NP_SCRATCH_SIZE)
#define NP_TC_SCRATCH_RT_SIZE (NP_XDP_SCRATCH_RT_SIZE + NP_ANSWER_SCRATCH_SIZE)
#define MAP_TC_SCRATCH_RT NP_MAP(tc_scratch_rt, PERCPU_ARRAY, 4, NP_TC_SCRATCH_RT_SIZE, NP_SCRATCHES, 0)
#define MAP_XDP_SCRATCH_RT NP_MAP(xdp_scratch_rt, PERCPU_ARRAY, 4, NP_XDP_SCRATCH_RT_SIZE, NP_SCRATCHES, 0)
#define MAP_TC_PROGRAMS NP_MAP(tc_programs, PROG_ARRAY, 4, 4, NP_TC_PROGRAMS, 0)
#define MAP_XDP_PROGRAMS NP_MAP(xdp_programs, PROG_ARRAY, 4, 4, NP_XDP_PROGRAMS, 0)

/* Of one generation. */
#define MAP_ADDRESSES4 NP_MAP(addresses4, LPM_TRIE, sizeof(struct np_lpm4), 4, NP_MAX_PREFIXES, BPF_F_NO_PREALLOC)
#define MAP_ADDRESSES6 NP_MAP(addresses6, LPM_TRIE, sizeof(struct np_lpm6), 4, NP_MAX_PREFIXES, BPF_F_NO_PREALLOC)
#define MAP_CLASSES NP_MAP(classes, ARRAY, 4, sizeof(struct np_class), NP_MAX_CLASSES, 0)
#define MAP_SETS NP_MAP(sets, ARRAY_OF_MAPS, 4, 4, NP_MAX_SETS, 0)
#define MAP_SET_LISTS NP_MAP(set_lists, ARRAY, 4, 4, NP_MAX_SET_LISTS, 0)
#define MAP_SOURCE_CHECKS NP_MAP(source_checks, ARRAY, 4, sizeof(struct np_source_check), NP_MEASURED, 0)
#define MAP_MACS NP_MAP(macs, HASH, sizeof(struct np_mac_key), 1, NP_MEASURED, 0)
#define MAP_COOKIE_PORTS NP_MAP(cookie_ports, HASH, sizeof(struct np_cookie_key), 1, NP_MAX_COOKIE_PORTS, 0)
#define MAP_LIMITS NP_MAP(limits, ARRAY, 4, sizeof(struct np_limit), NP_MAX_LIMITS, 0)
#define MAP_CONDITIONS NP_MAP(conditions, ARRAY, 4, sizeof(struct np_condition), NP_MEASURED, 0)
#define MAP_FAILSAFE NP_MAP(failsafe, HASH, sizeof(struct np_failsafe_key), 8, NP_MAX_FAILSAFE, 0)
#define MAP_CHAINS NP_MAP(chains, ARRAY, 4, sizeof(struct np_chain), NP_MEASURED, 0)
#define MAP_LAYERS NP_MAP(layers, ARRAY, 4, sizeof(struct np_layer), NP_MEASURED, 0)
#define MAP_VIEWS NP_MAP(views, ARRAY, 4, 4, NP_MEASURED, 0)
#define MAP_ROWS NP_MAP(rows, HASH, sizeof(struct np_row_key), 4, NP_MEASURED, 0)
#define MAP_ROW_DEFAULTS NP_MAP(row_defaults, ARRAY, 4, sizeof(struct np_list), NP_MEASURED, 0)
#define MAP_DECISIONS NP_MAP(decisions, HASH, sizeof(struct np_decision_key), sizeof(struct np_list), NP_MEASURED, 0)
#define MAP_CANDIDATES NP_MAP(candidates, ARRAY, 4, 4, NP_MEASURED, 0)
#define MAP_L4_PROTOCOLS NP_MAP(l4_protocols, ARRAY, 4, sizeof(struct np_protocol), 2 * NP_PROTOCOLS, 0)
#define MAP_L4_TABLES NP_MAP(l4_tables, ARRAY, 4, sizeof(struct np_port_table), NP_MEASURED, 0)
#define MAP_L4_FLAGS NP_MAP(l4_flags, ARRAY, 4, 4, 256, 0)
#define MAP_L4_VLANS NP_MAP(l4_vlans, HASH, sizeof(struct np_vlan_key), 4, NP_MEASURED, 0)
#define MAP_L4_DIMS NP_MAP(l4_dims, ARRAY, 4, sizeof(struct np_l4_dims), 1, 0)
#define MAP_L4_COMBINE NP_MAP(l4_combine, ARRAY, 4, 4, NP_MEASURED, 0)
#define MAP_RULES NP_MAP(rules, ARRAY, 4, sizeof(struct np_rule), NP_MEASURED, 0)
#define MAP_RULE_COUNTERS NP_MAP(rule_counters, PERCPU_ARRAY, 4, sizeof(struct np_counter), NP_MEASURED, 0)
#define MAP_ETHERTYPES NP_MAP(ethertypes, HASH, sizeof(struct np_ethertype_key), 1, NP_MEASURED, 0)

#endif
