/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Part of abi.h: maps that all generations share. The rules of that file hold here too. */
#ifndef NETPOL_ABI_SHARED_H
#define NETPOL_ABI_SHARED_H

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
#define NP_LINK_ROUTER_ADVERTISEMENTS 0x08 /* the kernel's accept_ra is not 0 here, or a network manager listens itself */
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
#define NP_LINK_SETTLING 0x4000        /* new: packets may be on their way that tc has let pass without a record, so the guard stays */

/* A run of an array's elements. */
struct np_list {
	__u32 first;
	__u32 count;
};

/* The name of an interface: its bytes as they stand in memory, and zeros after them. */
struct np_name {
	__u64 part[2];
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
	struct np_name name;    /* of the device that this was written for: under another name it is not known yet (guard.c) */
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
	NP_FLOW_CLOSING = 3,      /* TCP: one side's FIN is acknowledged, or a RST was nearly in sequence */
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
	__u32 sent[2];            /* TCP: sequence number after what that side sent last; once it has sent a FIN, after that */
	__u32 isn;                /* TCP: sequence number of the last SYN or SYN-ACK that waits for its acknowledgement */
	__u8 state;               /* enum np_flow_state */
	__u8 opener;              /* hook at which the opening packet was seen */
	__u8 tcp_flags;           /* of the opening packet */
	__u8 icmp_code;           /* of the opening packet; its type is in the key */
	__u8 fins;                /* bit 0 / 1: that side has sent a FIN; bit 2 / 3: it has been acknowledged */
	__u8 acks;                /* bit 0 / 1: ack[0] / ack[1] is set, and sent[] of that side */
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

/* reasons: per-CPU array[NP_HOOKS * NP_MAX_REASONS] of __u64 packets, index hook * NP_MAX_REASONS + reason (or NP_LOST_EVENTS). */

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
	__u32 family;            /* 4 or 6 */
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

#endif
