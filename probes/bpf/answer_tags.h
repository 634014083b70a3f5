/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Tags that stand in the bytes of a frame (two tags; one that a program wrote itself) are taken off before the frame becomes an
 * answer and put on again afterwards: the kernel changes the length of nothing but plain IP. A tag that the kernel keeps beside
 * the bytes stays there by itself.
 */
#ifndef NETPOL_ANSWER_TAGS_H
#define NETPOL_ANSWER_TAGS_H

#include "answer_bytes.h"

#define NP_ETHERNET 14
#define NP_TAG_BYTES 4

/* The outermost tag, noted and taken off. 0 = it cannot be. */
INLINE int np_take_tag(struct __sk_buff *ctx, struct np_tag *tag)
{
	struct np_tag bytes;

	if (ctx->vlan_present) {
		tag->protocol = ctx->vlan_proto;
		tag->tci = ctx->vlan_tci;
	} else {
		if (bpf_skb_load_bytes(ctx, NP_ETHERNET - 2, &bytes, sizeof(bytes)))
			return 0;
		tag->protocol = bytes.protocol;
		tag->tci = NTOHS(bytes.tci);
	}
	return bpf_skb_vlan_pop(ctx) == 0;
}

/* 1 = the IP header follows the Ethernet header now. */
INLINE int np_take_tags(struct __sk_buff *ctx, const struct np_state *st, struct np_answer_work *work)
{
	__u32 i, count = 0;
	__u16 type;

	work->tags = 0;
	if (st->l3_offset <= NP_ETHERNET)
		return 1;
	count = (st->l3_offset - NP_ETHERNET) / NP_TAG_BYTES + !!ctx->vlan_present;
	UNROLL
	for (i = 0; i < NP_MAX_TAGS; i++) {
		if (i >= count)
			break;
		if (!np_take_tag(ctx, &work->tag[i]))
			return 0;
	}
	work->tags = count;
	return !bpf_skb_load_bytes(ctx, NP_ETHERNET - 2, &type, sizeof(type)) && NTOHS(type) == st->ethertype;
}

INLINE int np_restore_tags(struct __sk_buff *ctx, const struct np_answer_work *work)
{
	__u32 i;

	UNROLL
	for (i = NP_MAX_TAGS; i-- > 0;) {
		if (i < work->tags && bpf_skb_vlan_push(ctx, work->tag[i].protocol, work->tag[i].tci))
			return 0;
	}
	return 1;
}

#endif
