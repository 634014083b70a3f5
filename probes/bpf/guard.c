/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The guard: refuses what arrives at or leaves an interface that a policy selects and that our other programs do not judge yet.
 *
 * tc and XDP programs hang on devices, so they always come after a device has come; netfilter's hooks hang on the network
 * namespace and are there before. This runs for every IP packet of the host, so it asks the cheapest question first. "Judged"
 * means: the generation has a record for this index, written for a device of this name, and something hangs on its tc hooks
 * (which another device that has come by index and name of one that is gone does not have), and every packet that our programs saw
 * before there was a record has arrived.
 * What has been refused here never was accepted there: the guard decides nothing where they judge.
 */
#include "generation.h"
#include "verdict.h"

MAP_GUARDS;
MAP_GUARD_NAMES;

/* struct bpf_nf_ctx of net/netfilter/nf_bpf_link.h. */
struct np_nf_ctx {
	__u64 state;
	__u64 skb;
};

#define NP_NF_DROP 0
#define NP_NF_ACCEPT 1
#define NP_IFF_LOOPBACK 0x8
#define NP_NAME_BYTES 16

/* A field of a kernel object; by hand, so that the number of the field stands in one instruction as its offset. */
#define NP_KERNEL(size, object, field) \
	({ \
		__u64 value; \
		__asm__ volatile("%0 = *(" size " *)(%1 + %2)" : "=r"(value) : "r"(object), "i"(field)); \
		value; \
	})

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NP_MEMORY_ORDER(x) (x)
#else
#define NP_MEMORY_ORDER(x) __builtin_bswap64(x)
#endif

#define NP_ONES 0x0101010101010101ull

/* The bits of bytes before the first zero byte, in a word whose first byte is the lowest; all where there is none. */
INLINE __u64 np_before_zero(__u64 bytes)
{
	__u64 zero = (bytes - NP_ONES) & ~bytes & (NP_ONES << 7);

	return zero ? ((zero & -zero) >> 7) - 1 : ~0ull;
}

/* After a rename the end of a longer, older name may stand behind the name. */
INLINE void np_name_of(__u64 device, struct np_name *name)
{
	__u64 first = NP_MEMORY_ORDER(NP_KERNEL("u64", device, NP_K_NAME));
	__u64 keep = np_before_zero(first);

	name->part[0] = NP_MEMORY_ORDER(first & keep);
	name->part[1] = 0;
	if (keep == ~0ull) {
		__u64 rest = NP_MEMORY_ORDER(NP_KERNEL("u64", device, NP_K_NAME_REST));

		name->part[1] = NP_MEMORY_ORDER(rest & np_before_zero(rest));
	}
}

/* Bits of the hooks at which packets of an interface of that name are refused until it is judged. */
INLINE __u32 np_selected_at(__u32 index, const struct np_name *name)
{
	struct np_guard *guard = bpf_map_lookup_elem(&guards, &index);
	__u32 at;

	if (!guard)
		return ~0u;
	if (guard->names) {
		struct np_guard_key key = { .slot = index, .name = *name };
		__u32 *known = bpf_map_lookup_elem(&guard_names, &key);

		if (known)
			return *known;
	}
	if (!guard->globs)
		return 0;
	at = guard->start;
	UNROLL for (int i = 0; i < NP_NAME_BYTES; i++) {
		__u8 byte = NP_MEMORY_ORDER(name->part[i / 8]) >> (8 * (i % 8));

		at = guard->next[MASKED(at + guard->classes[byte], NP_GUARD_TABLE - 1)];
		if (!byte)
			return at;
	}
	return ~0u; /* the kernel's names end with a zero byte */
}

INLINE int np_refuse_unjudged(__u32 hook, __u32 reason)
{
	np_finish(hook, reason);
	return NP_NF_DROP;
}

INLINE int np_guard_hook(__u64 device, __u64 judged_there, const __u32 hook)
{
	struct np_link_key key = {};
	struct np_slot *slot = 0;
	struct np_word *word;
	struct np_link *link;
	struct np_name name;
	__u32 judging;
	__u32 zero = 0;

	word = bpf_map_lookup_elem(&generation, &zero);
	if (!word)
		return np_refuse_unjudged(hook, NP_R_INTERNAL);
	switch (np_judging(*(volatile __u64 *)&word->generations, 0, &judging, &slot)) {
	case NP_UNTOUCHED:
		return NP_NF_ACCEPT;
	case NP_BROKEN:
		return np_refuse_unjudged(hook, NP_R_INTERNAL);
	}
	key.slot = judging % NP_SLOTS;
	key.ifindex = NP_KERNEL("u32", device, NP_K_IFINDEX);
	np_name_of(device, &name);
	link = bpf_map_lookup_elem(&links, &key);
	if (link && judged_there && !(link->flags & NP_LINK_SETTLING) && link->name.part[0] == name.part[0] && link->name.part[1] == name.part[1])
		return NP_NF_ACCEPT;
	if (np_selected_at(key.slot, &name) & (1u << hook))
		return np_refuse_unjudged(hook, NP_R_NOT_YET_ENFORCED);
	return NP_NF_ACCEPT;
}

/* PREROUTING: what has arrived. */
SEC("netfilter/np_guard_in") int np_guard_in(struct np_nf_ctx *ctx)
{
	__u64 device = NP_KERNEL("u64", ctx->state, NP_K_IN);

	if (!device || (NP_KERNEL("u32", device, NP_K_FLAGS) & NP_IFF_LOOPBACK))
		return NP_NF_ACCEPT;
	return np_guard_hook(device, NP_KERNEL("u64", device, NP_K_TCX_INGRESS), NP_HOOK_INGRESS);
}

/* POSTROUTING: what is about to leave. */
SEC("netfilter/np_guard_out") int np_guard_out(struct np_nf_ctx *ctx)
{
	__u64 device = NP_KERNEL("u64", ctx->state, NP_K_OUT);

	if (!device || (NP_KERNEL("u32", device, NP_K_FLAGS) & NP_IFF_LOOPBACK))
		return NP_NF_ACCEPT;
	return np_guard_hook(device, NP_KERNEL("u64", device, NP_K_TCX_EGRESS), NP_HOOK_EGRESS);
}
