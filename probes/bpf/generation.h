/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Stage 0: which generation judges this packet, and what it says of the interface. The word is read once a packet. */
#ifndef NETPOL_GENERATION_H
#define NETPOL_GENERATION_H

#include "maps.h"
#include "state.h"

MAP_GENERATION;
MAP_SLOTS;
MAP_LINKS;

enum np_selected {
	NP_JUDGE = 0,
	NP_UNTOUCHED = 1, /* no generation yet, or it does not know the interface */
	NP_BROKEN = 2,    /* the slot belongs to another generation */
};

/*
 * Nothing here needs a finer clock than the kernel's tick (1 to 10 ms), and reading the tick costs nothing: the verifier turns
 * it into a load. So the real clock is asked only once in a tick and on each CPU.
 */
INLINE void np_read_clock(struct np_state *st)
{
	__u64 tick = bpf_jiffies64();

	if (st->tick == tick)
		return;
	st->tick = tick;
	st->now = bpf_ktime_get_boot_ns();
}

INLINE struct np_slot *np_slot_of(__u32 generation)
{
	__u32 index = generation % NP_SLOTS;
	struct np_slot *slot = bpf_map_lookup_elem(&slots, &index);

	return slot && slot->generation == generation ? slot : 0;
}

INLINE int np_select_link(struct np_state *st, __u32 ifindex)
{
	struct np_link_key key = { .slot = st->slot, .ifindex = ifindex };
	struct np_link *link = bpf_map_lookup_elem(&links, &key);

	if (!link)
		return NP_UNTOUCHED;
	st->ifindex = ifindex;
	/* The name is last, and the guard's alone. */
	__builtin_memcpy(&st->link, link, __builtin_offsetof(struct np_link, name));
	return NP_JUDGE;
}

/* Which of the two generations of a word counts. *now = boot time, ns; null: it is asked for where it matters. */
INLINE int np_judging(__u64 both, const __u64 *now, __u32 *judging, struct np_slot **selected)
{
	struct np_slot *slot;

	*judging = (__u32)both;
	if (!*judging)
		return NP_UNTOUCHED;
	slot = np_slot_of(*judging);
	if (!slot)
		return NP_BROKEN;
	/* Unconfirmed and overdue: the former generation counts again, even if no daemon is alive to say so. */
	if (slot->deadline && (now ? *now : bpf_ktime_get_boot_ns()) > slot->deadline) {
		*judging = both >> 32;
		if (!*judging)
			return NP_UNTOUCHED;
		slot = np_slot_of(*judging);
		if (!slot)
			return NP_BROKEN;
	}
	*selected = slot;
	return NP_JUDGE;
}

/* *selected = the slot, where the answer is NP_JUDGE. */
INLINE int np_select(struct np_state *st, __u32 ifindex, struct np_slot **selected)
{
	__u32 zero = 0;
	struct np_word *word = bpf_map_lookup_elem(&generation, &zero);
	struct np_slot *slot = 0;
	__u64 both;
	int judged;

	if (!word)
		return NP_BROKEN;
	both = *(volatile __u64 *)&word->generations;
	st->epoch = *(volatile __u32 *)&word->set_epoch;
	judged = np_judging(both, &st->now, &st->generation, &slot);
	if (judged != NP_JUDGE || !slot)
		return judged;
	st->slot = st->generation % NP_SLOTS;
	st->slot_flags = slot->flags | (slot->deadline ? NP_SLOT_TRIAL : 0);
	*selected = slot;
	return np_select_link(st, ifindex);
}

#endif
