/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Part of abi.h: maps that each generation has of its own. The rules of that file hold here too. */
#ifndef NETPOL_ABI_GENERATION_H
#define NETPOL_ABI_GENERATION_H

/* addresses4 / addresses6: LPM trie -> __u32 class. No match = class 0. A class = "member of exactly these nets and sets". */
struct np_lpm4 {
	__u32 prefixlen;
	__u32 address;
};

struct np_lpm6 {
	__u32 prefixlen;
	__u32 address[4];
};

/* classes: array[class]. What is true of an address of that class, whatever the rules say. */
struct np_class {
	__u64 deny_groups;       /* bits of np_link.deny_groups whose sets hold the address */
	__u64 source_groups;     /* bits of np_source_check.group whose static nets and sets hold the address */
	__u64 failsafe;          /* bits of failsafe entries that name no nets, or whose nets hold the address */
	__u64 failsafe_nets;     /* bits of failsafe entries whose own nets hold the address: these beat deny sets */
	__u64 traits;            /* NP_TRAIT_* */
};

#define NP_TRAIT_BOGON 0x1       /* not an address of the public internet */

/*
 * sets: array of maps. Element = the content of one dynamic set, an LPM trie np_element_key -> np_element. The same content may
 * stand in several generations.
 */
struct np_element_key {
	__u32 prefixlen;         /* 32 bits of family, then the prefix's own length */
	__u32 family;            /* 4 or 6, in network order */
	__u32 address[4];
};

/* Of all elements that cover the prefix, the one that lives longest. */
struct np_element {
	__u64 expires;           /* boot time, ns; 0 = never */
};

/* set_lists: array of __u32 indexes into sets. */

/* source_checks: array. The source must be in the group's static part or in one of its dynamic sets. */
struct np_source_check {
	__u64 group;             /* one bit of np_class.source_groups; 0 = no static part */
	struct np_list sets;     /* run of set_lists; at most NP_MAX_SET_LIST */
};

/* macs: hash np_mac_key -> __u8 1. */
struct np_mac_key {
	__u32 group;
	__u8 mac[6];
	__u8 pad[2];
};

/* cookie_ports: hash np_cookie_key -> __u8 1. Destination ports whose SYNs are answered with a cookie. */
struct np_cookie_key {
	__u32 group;
	__u16 port;
	__u16 pad;
};

enum np_per {
	NP_PER_RULE = 0,
	NP_PER_SOURCE = 1,
	NP_PER_DESTINATION = 2,
};

/* limits: array. */
struct np_limit {
	__u64 cost;              /* ns of one event */
	__u64 depth;             /* ns that may be used up at once: burst * cost */
	__u64 id;                /* the same over generations: first part of np_bucket_key */
	__u64 arrival;           /* NP_PER_RULE: the state itself */
	__u32 per;               /* enum np_per */
	__u32 pad;
};

/*
 * chains: array. All policies of one direction of an interface, in order. Rule numbers rise along the chain, so "first match"
 * is "lowest number". Rules are spread over layers; in each layer source, destination and L4 are reduced to small numbers
 * and one hash look-up gives the row. A packet's candidates are the merge of its lists in all layers.
 */
struct np_chain {
	__u32 first_layer;
	__u32 layers;            /* <= NP_MAX_LAYERS */
	__u8 default_action;     /* NP_ALLOW or NP_DENY */
	__u8 log_default;        /* 1: log what the default denies */
	__u8 reads_source;       /* 1: some layer has a source view */
	__u8 reads_destination;
	__u32 default_counter;   /* index into rule_counters for the default's hits */
	__u32 audit_counter;     /* the same for what defaults of audit policies would have denied; NP_NONE = there are none */
	__u32 pad;
	__u64 audit_denies;      /* bits of np_rule.audit: audit policies of the chain whose default is deny */
};

struct np_layer {
	__u32 source_view;       /* views[source_view + class] = local source number; NP_NONE = not read, number 0 */
	__u32 destination_view;
};

/* views: array of __u32. */

/* rows: hash np_row_key -> __u32 row. No entry: no rule of this layer concerns that pair. */
struct np_row_key {
	__u32 layer;
	__u32 source;
	__u32 destination;
};

/* candidates: array of __u32 rule numbers; a list is a run of it, rising, of at most NP_MAX_CANDIDATES. */

/* row_defaults: array[row] of np_list, for L4 classes without an entry in decisions. */

/* decisions: hash np_decision_key -> np_list. */
struct np_decision_key {
	__u32 row;
	__u32 l4_class;
};

/*
 * L4 reduction: D = (family, protocol, destination port or ICMP type/code), S = source port, F = TCP flags, V = VLAN tags.
 * l4_class = l4_combine[((D * l4_dims.s + S) * l4_dims.f + F) * l4_dims.v + V].
 *
 * l4_protocols: array[2 * NP_PROTOCOLS], index (family == 6) * NP_PROTOCOLS + protocol.
 */
struct np_protocol {
	__u32 destination_table; /* l4_tables[...][port] (ICMP: type << 8 | code) gives D; NP_NONE: D = class */
	__u32 source_table;      /* l4_tables[...][port] gives S; NP_NONE: S = 0 */
	__u32 class_;            /* D where there is no table */
	__u32 fragment_class;    /* D of a later fragment, whose ports are not known (then S = F = 0) */
};

/* l4_tables: array of np_port_table. */
struct np_port_table {
	__u16 class_[NP_PORTS];
};

/* l4_flags: array[256] of __u32: TCP flag byte -> F (>= 0; not TCP: F = 0). */

/* l4_vlans: hash np_vlan_key -> __u32 V >= 2. Untagged: V = 0. Tagged, no entry: V = 1. */
struct np_vlan_key {
	__u16 outer;
	__u16 inner;             /* 0 = single tag */
};

/* l4_dims: array of one. */
struct np_l4_dims {
	__u32 s;
	__u32 f;
	__u32 v;
	__u32 total;             /* entries of l4_combine */
};

#define NP_RULE_LOG 0x1
#define NP_RULE_READS_L4 0x2   /* cannot be decided for a later fragment */
#define NP_RULE_READS_PROTOCOL 0x4 /* cannot be decided for a later fragment of protocol NP_PROTOCOL_UNKNOWN */

#define NP_NOT_AUDIT 0xff

/* With what a reject answers. */
enum np_reject {
	NP_REJECT_UNSTATED = 0,  /* TCP: reset; everything else: port unreachable */
	NP_REJECT_TCP_RESET = 1, /* for other protocols than TCP: port unreachable */
	NP_REJECT_PORT = 2,
	NP_REJECT_HOST = 3,
	NP_REJECT_ADMIN = 4,
};

/* rules: array of np_rule, in (policy order, direction, position) order. */
struct np_rule {
	__u8 action;             /* enum np_action */
	__u8 flags;              /* NP_RULE_* */
	__u8 reject_with;        /* enum np_reject */
	__u8 audit;              /* number of the audit policy that it belongs to: counted and logged, then as `pass`; NP_NOT_AUDIT */
	__u32 policy;            /* rank of the policy: `pass` skips all further candidates of the same rank */
	__u32 condition;         /* index into conditions: matches only if that holds; NP_NONE = always */
};

/* conditions: array. What no class can carry. All parts must hold, the rate is asked last. Runs are of set_lists. */
struct np_condition {
	__u64 expires;           /* boot time, ns: the rule does not match from then on; 0 = never. Written by the daemon, also later */
	struct np_list source_any;       /* the source is in one of these sets; count 0 = not asked */
	struct np_list source_none;      /* and in none of these */
	struct np_list destination_any;
	struct np_list destination_none;
	__u32 limit;             /* index into limits; NP_NONE = no rate */
	__u32 pad;
};

/* rule_counters: per-CPU array; rule_base: array. Index = rule number, then one for each chain's default. */
struct np_counter {
	__u64 packets;
	__u64 bytes;
	__u64 last_hit;          /* boot time, ns; 0 = never */
	__u64 log_arrival;       /* of events: np_slot.log_cost, .log_depth */
	__u64 log_suppressed;    /* events that were too many */
};

/* failsafe: hash np_failsafe_key -> __u64 bits of entries. */
struct np_failsafe_key {
	__u8 hook;
	__u8 protocol;
	__u16 port;              /* destination port of the opening packet */
};

/* ethertypes: hash np_ethertype_key -> __u8 1. What passes besides IPv4, IPv6 and ARP. 802.3/LLC spanning tree = NP_ETHERTYPE_STP. */
struct np_ethertype_key {
	__u32 group;
	__u16 ethertype;
	__u16 pad;
};

#define NP_ETHERTYPE_STP 0x0042  /* not an EtherType: DSAP and SSAP 0x42 of an 802.3 frame (IEEE 802.1D) */

/* meta: array of one. Lets a restarted daemon recognise what runs. */
struct np_meta {
	__u8 digest[32];         /* SHA-256 of the compiled ruleset */
	__u64 created;           /* Unix time, s */
	__u32 rules;
	__u32 chains;
};

#endif
