/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Reading bytes of a packet, alike for tc and XDP. Knows no protocol.
 *
 * Bytes in the linear part are read in place; the rest is fetched by a helper, so nothing ever has to be pulled or copied
 * for being judged. The caller has compared offset + size with the frame's length before.
 */
#ifndef NETPOL_CONTEXT_H
#define NETPOL_CONTEXT_H

#include "helpers.h"
#include "state.h"

#ifdef NP_XDP
typedef struct xdp_md np_ctx;
#else
typedef struct __sk_buff np_ctx;
#endif

/* Beyond every header of a packet: tags, IPv6 and 8 extension headers of 2 KiB end before 17 KiB. A mask, too. */
#define NP_MAX_OFFSET 0x7fff

INLINE __u32 np_frame_length(np_ctx *ctx)
{
#ifdef NP_XDP
	/* The XDP programs are loaded without BPF_F_XDP_HAS_FRAGS: a frame is one buffer. */
	return ctx->data_end - ctx->data;
#else
	return ctx->len;
#endif
}

/* Whether a length field of 0 may stand for more than 64 KiB (RFC 2675; the kernel's "BIG TCP" for both families). */
INLINE int np_is_oversize(np_ctx *ctx)
{
#ifdef NP_XDP
	return ctx->data_end - ctx->data > 0xffff;
#else
	return ctx->gso_size != 0;
#endif
}

INLINE long np_load(np_ctx *ctx, __u32 offset, void *to, __u32 size)
{
#ifdef NP_XDP
	return bpf_xdp_load_bytes(ctx, offset, to, size);
#else
	return bpf_skb_load_bytes(ctx, offset, to, size);
#endif
}

/*
 * Begin and end of the linear part. Loaded by hand: the compiler likes to keep the address of such a field in a register, and
 * the verifier accepts the context pointer only unchanged.
 */
#define NP_CONTEXT_POINTER(ctx, field) \
	({ \
		__u64 value; \
		__asm__ volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(value) : "r"(ctx), "i"(__builtin_offsetof(np_ctx, field))); \
		(void *)value; \
	})

#ifndef NP_XDP
/* Bytes of the linear part. By hand, too: of pointers the verifier knows only this one difference, in 64 bits. */
INLINE __u32 np_linear(np_ctx *ctx)
{
	__u64 bytes = (__u64)NP_CONTEXT_POINTER(ctx, data_end);

	__asm__ volatile("%0 -= %1" : "+r"(bytes) : "r"(NP_CONTEXT_POINTER(ctx, data)));
	return bytes;
}
#endif

#ifndef NP_XDP
/* PACKET_LOOPBACK of linux/if_packet.h */
#define NP_PACKET_LOOPBACK 5

/*
 * A multicast or broadcast packet of this host that the kernel lets arrive at the interface that it leaves by, for listeners of its own
 * (net/core/dev.c: dev_loopback_xmit()). It begins with the IP header whatever the device. Nobody else can mark a packet so.
 */
INLINE int np_is_own_copy(np_ctx *ctx)
{
	return ctx->pkt_type == NP_PACKET_LOOPBACK;
}
#endif

/* `size` bytes at `offset`, in place or in `buffer`; null = unreadable. */
INLINE void *np_header(np_ctx *ctx, __u32 offset, const __u32 size, void *buffer)
{
	void *end = NP_CONTEXT_POINTER(ctx, data_end);
	void *at = NP_CONTEXT_POINTER(ctx, data);

	if (offset > NP_MAX_OFFSET)
		return 0;
	at += MASKED(offset, NP_MAX_OFFSET);
	if (at + size <= end)
		return at;
	if (np_load(ctx, offset, buffer, size))
		return 0;
	return buffer;
}

#endif
