/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* One instance a generation: stages 2 and 2b at XDP, and the SYNs that are answered with a cookie. */
#define NP_XDP
#include "classes.h"
#include "context.h"
#include "cookie_send.h"
#include "limits.h"
#include "scratch.h"
#include "verdict.h"

SEC("xdp/np_xdp_policy") int np_xdp_policy(struct xdp_md *ctx)
{
	struct np_state *st;
	__u32 reason;

	st = np_find_scratch(ctx);
	if (!st)
		return np_finish(NP_HOOK_XDP, NP_R_INTERNAL);
	st->source_class = NP_NONE;
	reason = np_deny_set(st, &st->packet);
	if (!reason)
		reason = np_rate_of_source(st, &st->packet);
	if (reason)
		return np_leave(st, np_finish(NP_HOOK_XDP, reason));
	BARRIER();
	switch (np_send_cookie(ctx, st)) {
	case NP_COOKIE_SENT:
		np_finish(NP_HOOK_XDP, NP_R_SYN_COOKIE);
		return np_leave(st, NP_VERDICT_SEND_BACK);
	case NP_COOKIE_LOST:
		return np_leave(st, np_finish(NP_HOOK_XDP, NP_R_INTERNAL));
	}
	return np_leave(st, np_finish(NP_HOOK_XDP, NP_ACCEPTED));
}
