/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The one definition of everything that the programs and the daemon share: keys and values of maps, slots,
 * reasons, verdicts, events. The Rust types are generated from this file.
 *
 * Rules of this file: fixed-width types, explicit padding (`pad` is always zero), no implicit holes (asserted at
 * the end), enums are append-only. Any change of layout or meaning raises NP_ABI: the number is part of the
 * pin's path, so objects of another layout are never taken for ours.
 *
 * Byte order: addresses are in network order as on the wire; everything else is in host order.
 */
#ifndef NETPOL_ABI_H
#define NETPOL_ABI_H

#include <linux/types.h>

#ifdef NP_OTHER_ABI /* the second binary of tests of upgrades */
#define NP_ABI 1004
#else
#define NP_ABI 4
#endif

/* ---- sizes ------------------------------------------------------------------------------------------------ */

#define NP_SLOTS 4                /* generations that can exist at once: running, former, being built, retiring */
#define NP_TC_EPILOGUE NP_SLOTS   /* tc_programs: [0, NP_SLOTS) = policy of that slot, then the epilogue */
#define NP_TC_PROGRAMS (NP_SLOTS + 1)
#define NP_XDP_PROGRAMS NP_SLOTS
#define NP_MAX_LINKS 16384        /* entries of `links`, over all slots */
#define NP_MAX_LAYERS 8           /* of one chain */
#define NP_MAX_CANDIDATES 48      /* rules that one packet may be compared with, one by one */
#define NP_MAX_CONDITIONAL 12     /* of these, rules with a condition: each costs a tail call, and there are 33 */
#define NP_MAX_SETS 256           /* dynamic sets of one generation */
#define NP_MAX_SET_LIST 8         /* dynamic sets that one selector, or one interface's deny sets, may name */
#define NP_MAX_SET_LISTS 4096     /* entries of `set_lists` */
#define NP_MAX_SOURCE_CHECKS 4    /* lists of allowed sources of one interface */
#define NP_MAX_LIMITS 1024        /* rates of one generation */
#define NP_MAX_BUCKETS 65536      /* sources (or destinations) whose rate is remembered */
#define NP_MAX_ROUTES (1 << 20)   /* prefixes of one family, for the reverse path */
#define NP_MAX_ROUTE_LINKS 65536
#define NP_MAX_AUDITS 64          /* policies in audit mode: one bit each */
#define NP_MAX_COOKIE_PORTS 4096
#define NP_MAX_ANSWERS 1024       /* answers to rejected packets that are on their way */
#define NP_ANSWERS_PER_SECOND 1000 /* answers sent in one second by one CPU */
#define NP_MAX_FRAGMENTS 16384    /* datagrams whose first fragment's verdict is remembered */
#define NP_MAX_PREFIXES (1 << 22) /* of one family, in one generation */
#define NP_CONNECTION_RING (1 << 18) /* keys of recent connections, from which the programs sweep (sweep.h); a power of 2 */
#define NP_HALF_OPEN_RING (1 << 16)
#define NP_RINGS 2                /* ring_heads: where each ring is written next, then where it is swept next */
#define NP_MAX_CLASSES (1 << 16)  /* kinds of addresses, in one generation */
#define NP_MAX_GUARD_NAMES 65536 /* entries of `guard_names`, over all slots */
#define NP_GUARD_TABLE 65536      /* entries of np_guard.next; a mask + 1 */
#define NP_MAX_FAILSAFE 64        /* entries: one bit each */
#define NP_SCRATCH_SIZE 1016     /* bytes of the programs' own per-packet state (state.h); of no interest to the daemon */
#define NP_MAX_REASONS 64         /* counters kept for each hook */
#define NP_EVENT_RING (1 << 20)   /* bytes */
#define NP_PORTS 65536
#define NP_PROTOCOLS 257          /* 0..255, and 256 = "not known" (a later fragment behind an extension header) */
#define NP_PROTOCOL_UNKNOWN 256
#define NP_NONE 0xffffffffu       /* "no such index" wherever an index is stored */

/* ---- hooks and verdicts ----------------------------------------------------------------------------------- */

enum np_hook {
	NP_HOOK_INGRESS = 0, /* tc, packet arrives at the interface */
	NP_HOOK_EGRESS = 1,  /* tc, packet leaves through the interface */
	NP_HOOK_XDP = 2,     /* before tc ingress */
	NP_HOOKS = 3,
};

enum np_action {
	NP_ALLOW = 0,
	NP_DENY = 1,
	NP_PASS = 2, /* leave this policy, go on with the next one of the chain */
	NP_REJECT = 3, /* deny, and tell the sender */
};

/*
 * Why a packet was dropped. Exactly one for every drop; 0 counts what was let through.
 * Append only: scripts and dashboards know the names (daemon/src/policy/reason.rs).
 */
enum np_reason {
	NP_ACCEPTED = 0,
	NP_R_MALFORMED = 1,          /* version, IHL, lengths, L4 header cut, TCP data offset, too many tags */
	NP_R_EXTENSION_HEADERS = 2,  /* more than 8 IPv6 extension headers, or a chain that cannot be walked */
	NP_R_SOURCE_ROUTE = 3,       /* IPv4 option LSRR or SSRR */
	NP_R_ROUTING_HEADER = 4,     /* IPv6 routing header type 0 (RFC 5095) */
	NP_R_LOOPBACK_ADDRESS = 5,   /* 127.0.0.0/8 or ::1, as source or destination */
	NP_R_MULTICAST_SOURCE = 6,   /* multicast or broadcast source */
	NP_R_UNSPECIFIED_SOURCE = 7, /* 0.0.0.0 outside DHCP, :: outside neighbour discovery and MLD */
	NP_R_LLC_IP = 8,             /* IP inside LLC/SNAP */
	NP_R_ETHERTYPE = 9,          /* an EtherType that no policy lists */
	NP_R_FRAGMENT = 10,          /* later fragment, its first one not known, and a rule reads L4 fields */
	NP_R_FRAGMENT_CONFLICT = 11, /* a second, different first fragment of the same datagram */
	NP_R_FRAGMENTS_REFUSED = 12, /* policy.xdp.drop_fragments */
	NP_R_DENY_SET = 13,          /* source is in a deny set of the interface */
	NP_R_NO_CONNECTION = 14,     /* belongs to no flow and cannot open one */
	NP_R_CONNTRACK_FULL = 15,    /* no room for a new flow */
	NP_R_ICMP_REDIRECT = 16,     /* ICMP or ICMPv6 redirect */
	NP_R_RULE = 17,              /* a rule says deny */
	NP_R_DEFAULT = 18,           /* no rule matched, and the default of a policy is deny */
	NP_R_TAIL_CALL = 19,         /* a program of the chain is missing */
	NP_R_INTERNAL = 20,          /* a look-up that cannot fail did */
	NP_R_UNREADABLE = 21,        /* header bytes could not be read */
	NP_R_REJECT = 22,            /* a rule says reject */
	NP_R_RATE_LIMIT = 23,        /* policy.xdp.rate_limit: too much from that source */
	NP_R_REVERSE_PATH = 24,      /* anti_spoof.check_reverse_path: the route back to the source is another one, or none */
	NP_R_ALLOWED_SOURCES = 25,   /* anti_spoof.allowed_sources */
	NP_R_ALLOWED_MACS = 26,      /* anti_spoof.allowed_macs */
	NP_R_ARP = 27,               /* anti_spoof.arp: ARP or neighbour discovery that speaks for somebody else */
	NP_R_BOGON = 28,             /* anti_spoof.bogons */
	NP_R_SYN_COOKIE = 29,        /* not a refusal: the SYN was answered with a cookie, and its sender has to come back */
	NP_R_NOT_YET_ENFORCED = 30,  /* a policy selects the interface, and our programs do not judge there yet */
	NP_R_REASONS = 31,           /* number of reasons, not one of them */
};

#define NP_LOST_EVENTS (NP_MAX_REASONS - 1) /* in `reasons`, at the place of a reason: packets that were to be logged and found the ring full */

#include "abi_shared.h"
#include "abi_generation.h"
#include "abi_guard.h"

#define NP_ASSERT_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type " has a hole or has changed")
_Static_assert(NP_R_REASONS <= NP_LOST_EVENTS, "no room for another reason");
NP_ASSERT_SIZE(np_word, 16);
NP_ASSERT_SIZE(np_slot, 32 + 8 * NP_TIMEOUTS);
NP_ASSERT_SIZE(np_link_key, 8);
NP_ASSERT_SIZE(np_link, 88);
NP_ASSERT_SIZE(np_guard_key, 24);
NP_ASSERT_SIZE(np_guard, 8 + 256 + 2 * NP_GUARD_TABLE);
NP_ASSERT_SIZE(np_bucket_key, 32);
NP_ASSERT_SIZE(np_route_key, 8);
NP_ASSERT_SIZE(np_answer, 16);
NP_ASSERT_SIZE(np_flow_key, 48);
NP_ASSERT_SIZE(np_flow, 96);
NP_ASSERT_SIZE(np_fragment_key, 48);
NP_ASSERT_SIZE(np_fragment, 40);
NP_ASSERT_SIZE(np_event, 80);
NP_ASSERT_SIZE(np_lpm4, 8);
NP_ASSERT_SIZE(np_lpm6, 20);
NP_ASSERT_SIZE(np_class, 40);
NP_ASSERT_SIZE(np_element_key, 24);
NP_ASSERT_SIZE(np_element, 8);
NP_ASSERT_SIZE(np_source_check, 16);
NP_ASSERT_SIZE(np_mac_key, 12);
NP_ASSERT_SIZE(np_cookie_key, 8);
NP_ASSERT_SIZE(np_limit, 40);
NP_ASSERT_SIZE(np_condition, 48);
NP_ASSERT_SIZE(np_chain, 32);
NP_ASSERT_SIZE(np_layer, 8);
NP_ASSERT_SIZE(np_row_key, 12);
NP_ASSERT_SIZE(np_list, 8);
NP_ASSERT_SIZE(np_decision_key, 8);
NP_ASSERT_SIZE(np_protocol, 16);
NP_ASSERT_SIZE(np_port_table, 131072);
NP_ASSERT_SIZE(np_vlan_key, 4);
NP_ASSERT_SIZE(np_l4_dims, 16);
NP_ASSERT_SIZE(np_rule, 12);
NP_ASSERT_SIZE(np_counter, 40);
NP_ASSERT_SIZE(np_failsafe_key, 4);
NP_ASSERT_SIZE(np_ethertype_key, 8);
NP_ASSERT_SIZE(np_meta, 48);

#endif
