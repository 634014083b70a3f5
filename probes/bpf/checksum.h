/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The internet checksum (RFC 1071). */
#ifndef NETPOL_CHECKSUM_H
#define NETPOL_CHECKSUM_H

#include "helpers.h"

/* Adds bytes to a sum: a multiple of 4, at most 512, which is what older kernels sum up at a time. */
INLINE __u32 np_sum(const void *bytes, const __u32 size, __u32 sum)
{
	return bpf_csum_diff(0, 0, bytes, size, sum);
}

/* The checksum of a sum, as it is stored. */
INLINE __u16 np_folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

#endif
