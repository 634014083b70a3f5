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

#define NP_ABI 2

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
#define NP_MAX_FAILSAFE 64        /* entries: one bit each */
#define NP_SCRATCH_SIZE 1000     /* bytes of the programs' own per-packet state (state.h); of no interest to the daemon */
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
	NP_R_REASONS = 30,           /* number of reasons, not one of them */
};

/* ---- shared by all generations ---------------------------------------------------------------------------- */

/* generation: array of one np_word, mmap-able. Slot of a generation = number % NP_SLOTS. */
struct np_word {
	__u64 generations;       /* written by one 8-byte store: bits 0..31 the running one, bits 32..63 the former one; 0 = none yet */
	__u32 set_epoch;         /* rises with every change of a dynamic set: flows are judged again */
	__u32 pad;
};

enum np_timeout {
	NP_T_TCP_SYN = 0,
	NP_T_TCP_ESTABLISHED = 1,
	NP_T_TCP_FIN = 2,
	NP_T_UDP = 3,
	NP_T_UDP_STREAM = 4,
	NP_T_ICMP = 5,
	NP_T_GENERIC = 6,
	NP_TIMEOUTS = 8, /* one spare */
};

#define NP_SLOT_KEEP 0x1    /* established = "keep": flows are not judged again */
#define NP_SLOT_LOOSE 0x2   /* a mid-stream TCP packet may open a flow */
#define NP_SLOT_TRIAL 0x4   /* never stored: what the programs make of a deadline that is not over */

/* slots: array[NP_SLOTS]. What main needs to know of a generation. `generation` differs from the word: slot is stale, drop. */
struct np_slot {
	__u32 generation;
	__u32 flags;                    /* NP_SLOT_* */
	__u64 deadline;                 /* boot time in ns after which the former generation counts again; 0 = none */
	__u64 timeouts[NP_TIMEOUTS];    /* ns, by enum np_timeout */
	__u64 log_cost;                 /* events of one rule or default on one CPU: ns that one costs (np_limit), ... */
	__u64 log_depth;                /* ... and ns that may be saved up */
};

struct np_link_key {
	__u32 slot;
	__u32 ifindex;
};

#define NP_LINK_WORKLOAD 0x01          /* endpoint = "workload" (else host) */
#define NP_LINK_ICMPV6_ESSENTIAL 0x02
#define NP_LINK_DHCP_CLIENT 0x04
#define NP_LINK_ROUTER_ADVERTISEMENTS 0x08 /* the kernel's accept_ra is not 0 here */
#define NP_LINK_XDP 0x10               /* our XDP program runs here: the per-packet deny-set look-up is not repeated at tc */
#define NP_LINK_DROP_MALFORMED 0x20    /* policy.xdp.drop_malformed: refuse malformed arrivals even where ingress is not isolated */
#define NP_LINK_DROP_FRAGMENTS 0x40    /* policy.xdp.drop_fragments: refuse every arriving fragment */
#define NP_LINK_LOOPBACK 0x80          /* the loopback device: 127/8 and ::1 are at home */
#define NP_LINK_ANTI_SPOOF 0x100       /* some anti_spoof check is on: every arriving packet is seen by the policy program */
#define NP_LINK_REVERSE_STRICT 0x200   /* check_reverse_path */
#define NP_LINK_REVERSE_LOOSE 0x400
#define NP_LINK_ARP 0x800              /* anti_spoof.arp */
#define NP_LINK_BOGONS 0x1000          /* anti_spoof.bogons */
#define NP_LINK_SYN_COOKIES 0x2000     /* policy.xdp.syn_cookies, and XDP and the kernel can do it */

/* A run of an array's elements. */
struct np_list {
	__u32 first;
	__u32 count;
};

/* links: hash np_link_key -> np_link. No entry: the interface is not under policy in that generation and is not touched. */
struct np_link {
	__u32 chain[2];         /* by hook (ingress, egress): index into chains; NP_NONE = that direction is not isolated */
	__u32 audit_chain[2];   /* where no enforcing policy isolates the direction but policies in audit mode judge it; else NP_NONE */
	__u32 flags;            /* NP_LINK_* */
	__u32 ethertype_group;  /* key of `ethertypes` */
	__u64 deny_groups;      /* one bit: this interface's union of static deny sets; 0 = none */
	__u64 adopt_until;      /* boot time, ns: until then a mid-stream TCP packet may open a flow; 0 = never */
	struct np_list deny_sets;     /* run of set_lists: dynamic deny sets; at most NP_MAX_SET_LIST */
	struct np_list source_checks; /* run of source_checks: all of them must allow the source; at most NP_MAX_SOURCE_CHECKS */
	__u32 mac_group;        /* key of `macs`; NP_NONE = every source MAC */
	__u32 cookie_group;     /* key of `cookie_ports`; NP_NONE = no cookies */
	__u32 limit_packets;    /* index into limits: arriving IP packets of one source; NP_NONE = no limit */
	__u32 limit_syns;       /* the same for TCP SYNs */
};

/*
 * Connections. Seen from the interface: `remote` is what lies beyond the wire (source of arriving, destination of leaving
 * packets), `local` the other side. So both directions of a flow have one key without any comparison, and a packet that
 * enters with our own address as source can never meet our flow.
 */
struct np_flow_key {
	__u32 ifindex;
	__u16 vlan[2];        /* outer, inner VID; 0 = none */
	__u8 family;          /* 4 or 6 */
	__u8 protocol;
	__u8 opener;          /* ICMP only: the hook of the request; else 0 */
	__u8 pad;
	__u16 remote_port;    /* ICMP: echo identifier */
	__u16 local_port;     /* ICMP: type of the request */
	__u32 remote[4];      /* network order; IPv4 in [0], the rest 0 */
	__u32 local[4];
};

enum np_flow_state {
	NP_FLOW_NEW = 0,          /* opened, not answered */
	NP_FLOW_ANSWERED = 1,     /* TCP: SYN-ACK seen; others: established */
	NP_FLOW_ESTABLISHED = 2,  /* TCP: handshake complete */
	NP_FLOW_CLOSING = 3,      /* TCP: one side's FIN is acknowledged */
	NP_FLOW_CLOSED = 4,       /* TCP: both FINs acknowledged, or a RST in sequence */
};

/* connections and half_open: hash np_flow_key -> np_flow. Updated only through the looked-up pointer. */
struct np_flow {
	__u64 seen;               /* boot time of the last packet, ns */
	__u64 created;
	__u64 packets[2];         /* [0] from the opener, [1] answers */
	__u64 bytes[2];
	__u64 expires;            /* boot time, ns: what allowed the flow holds until then; 0 = no end */
	__u32 generation;         /* that judged the flow last */
	__u32 epoch;              /* np_word.set_epoch at that time */
	__u32 rule;               /* index in that generation; NP_NONE = no rule (default, failsafe, unpoliced direction) */
	__u32 ack[2];             /* TCP: last acknowledgement number that side [0 opener, 1 answerer] sent */
	__u32 fin[2];             /* TCP: sequence number after that side's FIN, not yet confirmed */
	__u32 isn;                /* TCP: sequence number of the last SYN or SYN-ACK that waits for its acknowledgement */
	__u8 state;               /* enum np_flow_state */
	__u8 opener;              /* hook at which the opening packet was seen */
	__u8 tcp_flags;           /* of the opening packet */
	__u8 icmp_code;           /* of the opening packet; its type is in the key */
	__u8 fins;                /* bit 0 / 1: fin[0] / fin[1] is set; bit 2 / 3: it has been acknowledged */
	__u8 acks;                /* bit 0 / 1: ack[0] / ack[1] is set */
	__u8 pad[2];
};

struct np_fragment_key {
	__u32 ifindex;
	__u16 vlan[2];
	__u32 id;
	__u8 hook;
	__u8 family;
	__u8 protocol;
	__u8 pad;
	__u32 src[4];
	__u32 dst[4];
};

/* fragments: LRU hash. Verdict of a datagram's first fragment. */
struct np_fragment {
	__u64 seen;
	__u32 generation;
	__u8 reason;             /* NP_ACCEPTED, or why the datagram is refused */
	__u8 l4_length;          /* valid bytes of l4 */
	__u8 pad[2];
	__u32 rule;
	__u8 l4[20];             /* first bytes of the L4 header, to notice a second first fragment */
};

#define NP_FRAGMENT_LIFE_NS (30ull * 1000000000ull)

/* reasons: per-CPU array[NP_HOOKS * NP_MAX_REASONS] of __u64 packets, index hook * NP_MAX_REASONS + reason. */

/* events: ring buffer. Packets that a policy asked to log. */
struct np_event {
	__u64 time;              /* boot time, ns */
	__u32 ifindex;
	__u32 generation;
	__u32 rule;              /* NP_NONE = no rule */
	__u32 chain;             /* NP_NONE = not isolated */
	__u32 length;            /* bytes of the packet */
	__u16 vlan[2];
	__u16 ethertype;
	__u8 hook;
	__u8 reason;             /* NP_ACCEPTED = let through */
	__u8 family;             /* 4, 6, 0 = not IP */
	__u8 protocol;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 flags;              /* NP_EVENT_* */
	__u8 audit;              /* number of the audit policy whose default would deny; NP_NOT_AUDIT */
	__u8 pad;
	__u16 sport;
	__u16 dport;
	__u32 src[4];
	__u32 dst[4];
};

#define NP_EVENT_AUDIT 0x1        /* `reason` and `rule` are what a policy in audit mode would have said; the packet was not dropped for it */

/*
 * Rates are kept as one "theoretical arrival time" (the generic cell rate algorithm, ITU-T I.371): an event is within the rate when
 * max(arrival, now) + cost - now <= depth, and then arrival becomes max(arrival, now) + cost.
 *
 * buckets: LRU hash np_bucket_key -> __u64 arrival, for rates by source or destination.
 */
struct np_bucket_key {
	__u64 limit;             /* np_limit.id */
	__u32 scope;             /* ifindex for policy.xdp.rate_limit, 0 for rules */
	__u32 family;            /* 4 or 6: an IPv4 address is not the first half of a /64 */
	__u32 address[4];        /* IPv6: the /64; IPv4 in [0], the rest 0 */
};

/*
 * The reverse path, kept by the daemon from the kernel's routes: routes4 and routes6: LPM trie -> __u32 number of a set of interfaces;
 * route_links: hash np_route_key -> __u8 1. Set 0 = an address of this host, a broadcast address or a prefix that is refused.
 * An address that no prefix holds has no route.
 */
struct np_route_key {
	__u32 set;
	__u32 ifindex;
};

/*
 * answers: LRU hash __u32 mark -> np_answer. An answer to a rejected packet that is on its way through our own programs; it
 * carries the mark, which is taken off when it is recognised.
 */
struct np_answer {
	__u64 time;              /* boot time, ns */
	__u32 ifindex;
	__u32 hook;              /* at which it will be seen next */
};

#define NP_ANSWER_MARK 0x4e500000u      /* upper half of the mark; the lower one is random and not 0 */
#define NP_ANSWER_MARK_MASK 0xffff0000u
#define NP_ANSWER_LIFE_NS 1000000000ull
#define NP_ANSWER_SCRATCH_SIZE 1024     /* bytes of the programs' workplace for answers (answer.h) */

/* ---- of one generation ------------------------------------------------------------------------------------ */

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

#define NP_ASSERT_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type " has a hole or has changed")
NP_ASSERT_SIZE(np_word, 16);
NP_ASSERT_SIZE(np_slot, 32 + 8 * NP_TIMEOUTS);
NP_ASSERT_SIZE(np_link_key, 8);
NP_ASSERT_SIZE(np_link, 72);
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
