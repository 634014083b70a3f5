/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What one program of the chain tells the next about the packet: one element of a per-CPU array, or one of several (scratch.h).
 * tc and XDP have elements of their own, because tc of another packet may run between the two on the same CPU.
 *
 * Nothing in here but the clock outlives the packet. Values kept here are unknown to the verifier, which keeps its walk short.
 */
#ifndef NETPOL_STATE_H
#define NETPOL_STATE_H

#include "abi.h"
#include "helpers.h"

/* Where a packet stands in its datagram. */
enum np_part {
	NP_WHOLE = 0,
	NP_FIRST = 1, /* offset 0, more to come */
	NP_LATER = 2, /* offset > 0: no L4 header */
};

/* What the rules read. Either the packet's own, or that of the packet that opened its flow. */
struct np_tuple {
	__u32 src[4]; /* network order; IPv4 in [0], the rest 0 */
	__u32 dst[4];
	__u16 sport; /* host order; 0 where the protocol has no ports */
	__u16 dport;
	__u16 protocol; /* 0..255 or NP_PROTOCOL_UNKNOWN */
	__u16 vlan[2];
	__u8 family; /* 4, 6, or 0 = not IP */
	__u8 hook;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 part; /* enum np_part */
	__u8 hop_limit;
	__u8 pad[3];
};

/* What stage 5 has to know of a packet without looking at its bytes again. */
enum np_kind {
	NP_KIND_STATELESS = 0, /* judged by the rules, makes no flow */
	NP_KIND_OPENS = 1,     /* opens a flow where there is none */
	NP_KIND_ALWAYS = 2,    /* judged by the rules, flow or not: TCP SYN, SCTP INIT */
	NP_KIND_NEEDS = 3,     /* needs a flow */
	NP_KIND_SEGMENT = 4,   /* TCP: needs a flow, or `loose` */
	NP_KIND_SYNACK = 5,    /* TCP: needs a flow that waits for it */
	NP_KIND_ERROR = 6,     /* ICMP error: needs the flow that it quotes */
	NP_KIND_REDIRECT = 7,
	NP_KIND_LATER = 8, /* later fragment */
};

enum np_table {
	NP_TABLE_NONE = 0,
	NP_TABLE_CONNECTIONS = 1,
	NP_TABLE_HALF_OPEN = 2,
};

/* What is remembered of the datagram that a fragment belongs to. */
enum np_memory {
	NP_MEMORY_NONE = 0,
	NP_MEMORY_KNOWN = 1,
	NP_MEMORY_CONFLICT = 2, /* another first fragment, with other bytes */
};

/* What is being judged, and so what the verdict of the rules means. */
enum np_next {
	NP_DECIDED = 0, /* st->reason holds */
	NP_JUDGE_PACKET = 1,
	NP_JUDGE_OPENING = 2, /* st->judged is the flow's opening packet */
	NP_JUDGE_AUDIT = 3,   /* the packet passes, whatever policies in audit mode say */
	NP_ARRIVED = 4,       /* nothing yet, but stages 2 to 2c have let the packet through */
};

/* What a policy in audit mode would have said of the packet. */
struct np_audit {
	__u32 rule; /* NP_NONE = its default */
	__u8 reason;
	__u8 audit; /* np_rule.audit */
	__u8 pad[2];
};

#define NP_MAX_AUDIT_EVENTS 8 /* of one packet; a power of 2 */

/* What the epilogue does besides counting. */
#define NP_DO_CREATE 0x01      /* a flow for this packet */
#define NP_DO_ESTABLISHED 0x02 /* with CREATE: it is established at once */
#define NP_DO_TOUCH 0x04       /* this packet belongs to the flow */
#define NP_DO_STAMP 0x08       /* this generation allows the flow */
#define NP_DO_DELETE 0x10      /* this generation refuses the flow */
#define NP_DO_REMEMBER 0x20    /* verdict of a first fragment */
#define NP_DO_FORGET 0x40      /* datagram with conflicting first fragments */
#define NP_DO_ANYWAY 0x80      /* a full table does not refuse the packet */

struct np_state {
	__u64 now; /* boot time, ns: read once a tick of the kernel */
	__u64 tick;
	struct np_link link;
	__u32 generation;
	__u32 epoch; /* np_word.set_epoch, read before any set is */
	__u32 slot;
	__u32 slot_flags; /* NP_SLOT_* */
	__u32 ifindex;

	/* the packet */
	__u32 length; /* bytes of the frame */
	__u32 l3_offset; /* bytes before the network header */
	__u32 l4_offset;
	__u32 l4_bytes; /* L4 header and payload, by the IP header's word */
	__u32 payload;  /* TCP: bytes after its header */
	__u32 seq;
	__u32 ack;
	__u32 fragment_id;
	__u32 fragment_offset; /* bytes */
	__u16 ethertype;
	__u16 echo_id;
	__u8 sctp_init;
	__u8 l4_length; /* of `l4`: first fragments only */
	__u8 l4[20];
	__u8 ethernet; /* an Ethernet header stands first; else what stands before the network header is not the device's */
	__u8 pad1[1];
	struct np_tuple packet;

	/* its flow */
	struct np_tuple judged; /* the tuple that rules judge: the flow's opening packet, or the packet itself */
	__u32 source_class;     /* of `judged`; NP_NONE = not looked up yet */
	__u32 destination_class;
	__u8 kind;
	__u8 table;
	__u8 stale;   /* the flow has to be judged again */
	__u8 forward; /* from the side that opened the flow */
	__u8 fits;    /* SYN-ACK: it answers the flow's SYN */
	__u8 memory;
	__u8 remembered_reason;
	__u8 reject_with; /* enum np_reject, where the reason is NP_R_REJECT */
	__u32 remembered_rule;

	/* the verdict */
	__u32 reason;
	__u32 rule;
	__u32 todo;  /* NP_DO_* */
	__u32 chain;
	__u32 log;
	__u32 forgotten; /* FORGET() */
	__u32 pad2;
	__u64 expires; /* boot time, ns: until then the verdict holds if no map changes; 0 = no end */

	/* the walk through the rules; it may take several runs of the policy program */
	__u32 walking; /* enum np_next of what is being judged; NP_DECIDED = no walk has begun */
	__u32 from_policy; /* lowest rank that may still speak */
	__u32 steps;   /* candidates taken off the lists */
	__u32 asked;   /* conditions asked */
	__u32 lists;
	__u32 best;
	__u32 head[NP_MAX_LAYERS];
	struct np_list list[NP_MAX_LAYERS];
	__u64 spoken; /* bits of np_rule.audit: policies in audit mode of which a rule has matched */
	__u32 audits;
	struct np_audit audit[NP_MAX_AUDIT_EVENTS];

	struct np_flow_key key;
	struct np_flow flow;
	struct np_fragment_key fragment_key;
	struct np_fragment fragment;
	struct np_event event;
	struct np_element_key element;
	struct np_bucket_key bucket;
	struct np_mac_key mac;  /* the frame's source */
	__u32 claimed[4];       /* address that ARP or neighbour discovery speaks for */
	__u8 buffer[64]; /* header bytes that are not in the linear part */
};

INLINE int np_has_deny_sets(const struct np_state *st)
{
	return st->link.deny_groups || st->link.deny_sets.count;
}

_Static_assert(sizeof(struct np_state) == NP_SCRATCH_SIZE, "NP_SCRATCH_SIZE of abi.h is the size of struct np_state");

#endif
