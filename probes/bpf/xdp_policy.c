/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* One instance a generation: stage 2 at XDP. */
#define NP_XDP
#include "classes.h"
#include "context.h"
#include "verdict.h"

MAP_XDP_SCRATCH;

SEC("xdp/np_xdp_policy") int np_xdp_policy(struct xdp_md *ctx)
{
	struct np_state *st;
	__u32 zero = 0;

	(void)ctx;
	st = bpf_map_lookup_elem(&xdp_scratch, &zero);
	if (!st)
		return np_finish(NP_HOOK_XDP, NP_R_INTERNAL);
	st->source_class = NP_NONE;
	return np_finish(NP_HOOK_XDP, np_deny_set(st, &st->packet));
}
