/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Chain + tuple -> the lists of rules that match it, one a layer at most, left in st->list. */
#ifndef NETPOL_CANDIDATES_H
#define NETPOL_CANDIDATES_H

#include "classes.h"
#include "l4_class.h"

MAP_CHAINS;
MAP_LAYERS;
MAP_VIEWS;
MAP_ROWS;
MAP_ROW_DEFAULTS;
MAP_DECISIONS;
MAP_CANDIDATES;

/* Local number of a class in a view. 0 = the view is too short. */
INLINE int np_in_view(__u32 view, __u32 class, __u32 *number)
{
	__u32 index = view + class;
	__u32 *found;

	*number = 0;
	if (view == NP_NONE)
		return 1;
	found = bpf_map_lookup_elem(&views, &index);
	if (!found)
		return 0;
	*number = *found;
	return 1;
}

/* The list of one row; *broken where a row has no default. */
INLINE struct np_list *np_list_of_row(__u32 row, __u32 l4_class)
{
	struct np_decision_key key = { .row = row, .l4_class = l4_class };
	struct np_list *list = bpf_map_lookup_elem(&decisions, &key);

	return list ? list : bpf_map_lookup_elem(&row_defaults, &row);
}

/* Adds a layer's list, if it has one for this packet. 0 = a look-up failed that cannot. */
INLINE int np_add_layer(struct np_state *st, __u32 index, __u32 l4_class)
{
	struct np_row_key key = { .layer = index };
	struct np_layer *layer = bpf_map_lookup_elem(&layers, &index);
	struct np_list *list;
	__u32 *row, *first;
	__u32 at;

	if (!layer)
		return 0;
	if (!np_in_view(layer->source_view, st->source_class, &key.source) ||
	    !np_in_view(layer->destination_view, st->destination_class, &key.destination))
		return 0;
	row = bpf_map_lookup_elem(&rows, &key);
	if (!row)
		return 1;
	list = np_list_of_row(*row, l4_class);
	if (!list)
		return 0;
	if (!list->count)
		return 1;
	first = bpf_map_lookup_elem(&candidates, &list->first);
	if (!first)
		return 0;
	at = MASKED(st->lists, NP_MAX_LAYERS - 1); /* no more layers than lists: np_collect */
	st->list[MASKED(at, NP_MAX_LAYERS - 1)] = *list;
	st->head[MASKED(at, NP_MAX_LAYERS - 1)] = *first;
	st->lists = at + 1;
	return 1;
}

INLINE int np_collect(struct np_state *st, const struct np_chain *chain, const struct np_tuple *t)
{
	__u32 count = chain->layers;
	__u32 l4_class, i;

	st->lists = 0;
	for (i = 0; i < NP_MAX_LAYERS; i++)
		st->head[i] = NP_NONE;
	if (count > NP_MAX_LAYERS || !np_l4_class(t, &l4_class))
		return 0;
	if (chain->reads_source)
		np_source_class(st, t);
	if (chain->reads_destination)
		np_destination_class(st, t);
	for (i = 0; i < NP_MAX_LAYERS; i++) {
		if (i >= count)
			break;
		if (!np_add_layer(st, chain->first_layer + i, l4_class))
			return 0;
	}
	return 1;
}

/* Takes the lowest rule number off the lists; NP_NONE = no more. */
INLINE __u32 np_next_candidate(struct np_state *st)
{
	__u32 best = NP_NONE;
	__u32 *head, *rule;
	struct np_list *list;
	__u32 i, next;
	__u64 which;

	UNROLL
	for (i = 0; i < NP_MAX_LAYERS; i++) {
		if (st->head[i] < best) {
			best = st->head[i];
			*(volatile __u32 *)&st->best = i;
		}
	}
	/* Read again, so that the verifier does not follow each way on which it was found. */
	which = MASKED(*(volatile __u32 *)&st->best, NP_MAX_LAYERS - 1);
	list = &st->list[which];
	head = &st->head[which];
	best = *(volatile __u32 *)head;
	if (best == NP_NONE)
		return NP_NONE;
	*head = NP_NONE;
	if (list->count > 1) {
		list->count -= 1;
		list->first += 1;
		next = list->first;
		rule = bpf_map_lookup_elem(&candidates, &next);
		if (rule)
			*head = *rule;
	}
	return best;
}

#endif
