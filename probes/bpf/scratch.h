/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Where the state of a packet stands while it is judged. The first program takes a scratch, those after it find it, and whichever says
 * the verdict leaves it (np_leave).
 *
 * An ordinary kernel judges the packets of a CPU one after the other: each CPU has one scratch, and nobody asks whose it is. A
 * PREEMPT_RT kernel may serve packets without one lock for all softirqs of a CPU (since Linux 6.18, unless it is built with
 * CONFIG_PREEMPT_RT_NEEDS_BH_LOCK), so that one packet interrupts another in the middle. The objects built with NP_REALTIME have
 * NP_SCRATCHES for each CPU, and each belongs to the packet whose context's address it holds: two packets that are being judged have
 * two addresses. Where none is free the packet is dropped. No program moves to another CPU or ends without a verdict, so none stays taken.
 */
#ifndef NETPOL_SCRATCH_H
#define NETPOL_SCRATCH_H

#include "context.h"
#include "maps.h"
#include "state.h"

#ifdef NP_REALTIME

struct np_scratch {
	__u64 owner; /* address of the context; 0 = free */
	struct np_state state;
#ifndef NP_XDP
	__u8 answer[NP_ANSWER_SCRATCH_SIZE]; /* where the epilogue makes an answer */
#endif
};

#ifdef NP_XDP
MAP_XDP_SCRATCH_RT;
#define NP_SCRATCH_MAP xdp_scratch_rt
_Static_assert(sizeof(struct np_scratch) == NP_XDP_SCRATCH_RT_SIZE, "NP_XDP_SCRATCH_RT_SIZE of maps.h is the size of struct np_scratch");
#else
MAP_TC_SCRATCH_RT;
#define NP_SCRATCH_MAP tc_scratch_rt
_Static_assert(sizeof(struct np_scratch) == NP_TC_SCRATCH_RT_SIZE, "NP_TC_SCRATCH_RT_SIZE of maps.h is the size of struct np_scratch");
#endif

INLINE struct np_scratch *np_scratch_of(struct np_state *st)
{
	return (void *)st - __builtin_offsetof(struct np_scratch, state);
}

/* A free one, which becomes this packet's; or the one that is. Null: there is none. */
INLINE struct np_state *np_seek_scratch(np_ctx *ctx, const int free)
{
	__u32 i;

	UNROLL
	for (i = 0; i < NP_SCRATCHES; i++) {
		__u32 index = i;
		struct np_scratch *scratch = bpf_map_lookup_elem(&NP_SCRATCH_MAP, &index);

		if (!scratch)
			return 0;
		if (free ? __sync_val_compare_and_swap(&scratch->owner, 0, (__u64)ctx) == 0
			 : *(volatile __u64 *)&scratch->owner == (__u64)ctx)
			return &scratch->state;
	}
	return 0;
}

INLINE struct np_state *np_take_scratch(np_ctx *ctx)
{
	return np_seek_scratch(ctx, 1);
}

INLINE struct np_state *np_find_scratch(np_ctx *ctx)
{
	return np_seek_scratch(ctx, 0);
}

INLINE int np_leave(struct np_state *st, int verdict)
{
	BARRIER();
	*(volatile __u64 *)&np_scratch_of(st)->owner = 0;
	return verdict;
}

#else

#ifdef NP_XDP
MAP_XDP_SCRATCH;
#define NP_SCRATCH_MAP xdp_scratch
#else
MAP_TC_SCRATCH;
#define NP_SCRATCH_MAP tc_scratch
#endif

INLINE struct np_state *np_find_scratch(np_ctx *ctx)
{
	__u32 zero = 0;

	(void)ctx;
	return bpf_map_lookup_elem(&NP_SCRATCH_MAP, &zero);
}

INLINE struct np_state *np_take_scratch(np_ctx *ctx)
{
	return np_find_scratch(ctx);
}

INLINE int np_leave(struct np_state *st, int verdict)
{
	(void)st;
	return verdict;
}

#endif

#endif
