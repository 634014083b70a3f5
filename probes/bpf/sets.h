/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Dynamic sets: whether a list of them holds an address, and until when. */
#ifndef NETPOL_SETS_H
#define NETPOL_SETS_H

#include "maps.h"
#include "state.h"

MAP_SETS;
MAP_SET_LISTS;

#define NP_NEVER (~0ull)

enum np_found {
	NP_IN_NONE = 0,
	NP_IN_SET = 1,
	NP_NO_SET = 2, /* a look-up failed that cannot */
};

/* Leaves the key of an address in st->element, for the look-ups that follow. */
INLINE void np_make_element(struct np_state *st, __u8 family, const __u32 *address)
{
	struct np_element_key *key = &st->element;
	__u32 i;

	key->prefixlen = family == 4 ? 32 + 32 : 32 + 128;
	key->family = family == 4 ? HTONL_CONST(4u) : HTONL_CONST(6u);
	for (i = 0; i < 4; i++)
		key->address[i] = address[i];
}

/*
 * st->element in one set. The longest prefix tells all: its element lives as long as the longest-lived that covers it.
 * *until = boot time at which it ends.
 */
INLINE int np_find_in_set(struct np_state *st, __u32 place, __u64 *until)
{
	__u32 *index = bpf_map_lookup_elem(&set_lists, &place);
	void *set = index ? bpf_map_lookup_elem(&sets, index) : 0;
	struct np_element *element;
	__u64 expires;

	if (!set)
		return NP_NO_SET;
	element = bpf_map_lookup_elem(set, &st->element);
	if (!element)
		return NP_IN_NONE;
	expires = *(volatile __u64 *)&element->expires;
	*until = expires ? expires : NP_NEVER;
	return *until > st->now ? NP_IN_SET : NP_IN_NONE;
}

/* st->element in any of a list's sets. */
INLINE int np_find_in_sets(struct np_state *st, struct np_list list, __u64 *until)
{
	__u32 i;

	if (list.count > NP_MAX_SET_LIST)
		return NP_NO_SET;
	for (i = 0; i < NP_MAX_SET_LIST; i++) {
		int found;

		if (i >= list.count)
			break;
		found = np_find_in_set(st, list.first + i, until);
		if (found != NP_IN_NONE)
			return found;
	}
	return NP_IN_NONE;
}

#endif
