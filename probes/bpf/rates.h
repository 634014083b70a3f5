/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* The law of rates (np_bucket_key in abi.h): whether one more event is within. Knows neither maps nor what is counted. */
#ifndef NETPOL_RATES_H
#define NETPOL_RATES_H

#include "helpers.h"

/* The state after one more event; 0 = that would be above the rate. */
INLINE __u64 np_next_arrival(__u64 arrival, __u64 cost, __u64 depth, __u64 now)
{
	__u64 next = (arrival > now ? arrival : now) + cost;

	return next - now <= depth ? next : 0;
}

#endif
