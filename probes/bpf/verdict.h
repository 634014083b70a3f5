/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The last word on a packet: counted once, then said in the language of the hook. */
#ifndef NETPOL_VERDICT_H
#define NETPOL_VERDICT_H

#include "maps.h"
#include "state.h"

MAP_REASONS;

#ifdef NP_XDP
#define NP_VERDICT_PASS 2 /* XDP_PASS */
#define NP_VERDICT_DROP 1 /* XDP_DROP */
#define NP_VERDICT_SEND_BACK 3 /* XDP_TX */
#else
#define NP_VERDICT_PASS (-1) /* TC_ACT_UNSPEC: the next program may still refuse */
#define NP_VERDICT_DROP 2    /* TC_ACT_SHOT */
#define NP_VERDICT_REDIRECT 7 /* TC_ACT_REDIRECT: the packet has become an answer */
#endif

INLINE void np_count(__u32 hook, __u32 reason)
{
	__u32 index = hook * NP_MAX_REASONS + (reason & (NP_MAX_REASONS - 1));
	__u64 *packets = bpf_map_lookup_elem(&reasons, &index);

	if (packets)
		COUNT(*packets, 1);
}

INLINE int np_finish(__u32 hook, __u32 reason)
{
	np_count(hook, reason);
	return reason == NP_ACCEPTED ? NP_VERDICT_PASS : NP_VERDICT_DROP;
}

/* Whether a refusal by stage 1 is one here; elsewhere such a packet is not ours to refuse. */
INLINE int np_refuses_parse(const struct np_state *st, __u32 hook, __u32 reason)
{
	if (st->link.chain[hook] != NP_NONE)
		return 1;
	return hook == NP_HOOK_INGRESS && (st->link.flags & NP_LINK_DROP_MALFORMED) &&
	       (reason == NP_R_MALFORMED || reason == NP_R_UNREADABLE);
}

#endif
