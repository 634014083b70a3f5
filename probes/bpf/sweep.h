/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Gives back the room of expired flows, a little with every new flow, so that the tables live without a daemon.
 *
 * A program cannot walk a hash without BTF. So the key of each new flow is also written into a ring, at the place of an old
 * one; if the flow of that old key has expired, it is deleted. A ring that is shorter than its table forgets keys that are
 * still in use; those flows are left to the daemon's sweep.
 */
#ifndef NETPOL_SWEEP_H
#define NETPOL_SWEEP_H

#include "conntrack.h"
#include "maps.h"

MAP_SLOTS;
MAP_CONNECTION_RING;
MAP_HALF_OPEN_RING;
MAP_RING_HEADS;

#define NP_SWEEP_TRIES 2
#define NP_RECLAIM_TRIES 8

enum np_place {
	NP_PLACE_FREE = 0,  /* its flow is gone */
	NP_PLACE_SWEPT = 1, /* its flow had expired and is gone now */
	NP_PLACE_USED = 2,
};

INLINE int np_sweep_place(struct np_state *st, const struct np_slot *slot, const void *table, const struct np_flow_key *place)
{
	struct np_flow_key old = *place; /* another CPU may write the place: what is deleted must be what was looked at */
	struct np_flow *flow = bpf_map_lookup_elem(table, &old);

	if (!flow)
		return NP_PLACE_FREE;
	if (np_is_live(flow, old.protocol, slot, st->now))
		return NP_PLACE_USED;
	bpf_map_delete_elem(table, &old);
	return NP_PLACE_SWEPT;
}

/* Writes st->key to the next free place; where some places in a row are in use, the last of them loses its key. */
INLINE void np_write_ring(struct np_state *st, const void *table, const void *ring, __u32 which, __u64 size)
{
	__u32 generation_slot = st->slot;
	struct np_slot *slot = bpf_map_lookup_elem(&slots, &generation_slot);
	__u64 *head = bpf_map_lookup_elem(&ring_heads, &which);
	__u32 i;

	if (!slot || !head)
		return;
	UNROLL
	for (i = 0; i < NP_SWEEP_TRIES; i++) {
		__u32 index = __sync_fetch_and_add(head, 1) & (size - 1);
		struct np_flow_key *place = bpf_map_lookup_elem(ring, &index);

		if (!place)
			return;
		if (np_sweep_place(st, slot, table, place) != NP_PLACE_USED || i == NP_SWEEP_TRIES - 1) {
			*place = st->key;
			return;
		}
	}
}

/* The table is full: a second hand goes round the ring until it has found an expired flow, some places at a time. */
INLINE void np_reclaim(struct np_state *st, const void *table, const void *ring, __u32 which, __u64 size)
{
	__u32 generation_slot = st->slot;
	__u32 hand = which + NP_RINGS;
	struct np_slot *slot = bpf_map_lookup_elem(&slots, &generation_slot);
	__u64 *head = bpf_map_lookup_elem(&ring_heads, &hand);
	__u32 i;

	if (!slot || !head)
		return;
	UNROLL
	for (i = 0; i < NP_RECLAIM_TRIES; i++) {
		__u32 index = __sync_fetch_and_add(head, 1) & (size - 1);
		struct np_flow_key *place = bpf_map_lookup_elem(ring, &index);

		if (!place || np_sweep_place(st, slot, table, place) == NP_PLACE_SWEPT)
			return;
	}
}

/* Writes st->flow. 0 = done. */
INLINE long np_insert(struct np_state *st, const void *table, const void *ring, __u32 which, __u64 size)
{
	np_write_ring(st, table, ring, which, size);
	if (!bpf_map_update_elem(table, &st->key, &st->flow, BPF_ANY))
		return 0;
	np_reclaim(st, table, ring, which, size);
	return bpf_map_update_elem(table, &st->key, &st->flow, BPF_ANY);
}

INLINE long np_insert_connection(struct np_state *st)
{
	return np_insert(st, &connections, &connection_ring, 0, NP_CONNECTION_RING);
}

INLINE long np_insert_half_open(struct np_state *st)
{
	return np_insert(st, &half_open, &half_open_ring, 1, NP_HALF_OPEN_RING);
}

#endif
