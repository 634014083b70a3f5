/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the programs need of the kernel's BPF interface: helpers by number (stable ABI, linux/bpf.h), sections, byte order.
 * Knows nothing of packets or policies.
 */
#ifndef NETPOL_HELPERS_H
#define NETPOL_HELPERS_H

#include <linux/bpf.h>
#include <linux/types.h>

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/*
 * Short loops are unrolled. Kernels before 6.3 accept a loop only if its last instruction is a jump, and the compiler is free
 * to lay a loop out otherwise. tests/loops.rs looks at what it made of the loops.
 */
#define UNROLL _Pragma("clang loop unroll(full)")

/* The compiler may neither keep a value in a register across this line nor guess what stands in memory after it. */
#define BARRIER() __asm__ volatile("" ::: "memory")

/*
 * Makes the verifier forget what it knows of a number. Where several paths meet with different constants (offsets behind
 * zero to four tags, say), the verifier would walk the rest of the program once for each of them.
 */
#define FORGET(scratch, value) (*(volatile __u32 *)&(scratch) = (value), *(volatile __u32 *)&(scratch))

/* Adds to a counter of this CPU. On PREEMPT_RT (scratch.h) the next packet may come between the load and the store. */
#ifdef NP_REALTIME
#define COUNT(counter, number) __sync_fetch_and_add(&(counter), number)
#else
#define COUNT(counter, number) ((counter) += (number))
#endif

/*
 * `value & mask`, as an instruction that the compiler cannot drop although it knows better: the verifier wants to see the bound
 * in the register that becomes an index, and older ones lose it when a value was kept on the stack.
 */
#define MASKED(value, mask) \
	({ \
		__u64 masked = (value); \
		__asm__ volatile("%0 &= %1" : "+r"(masked) : "i"(mask)); \
		masked; \
	})

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NTOHS(x) __builtin_bswap16(x)
#define NTOHL(x) __builtin_bswap32(x)
#define HTONL_CONST(x) ((((x) & 0xffu) << 24) | (((x) & 0xff00u) << 8) | (((x) >> 8) & 0xff00u) | ((x) >> 24))
#else
#define NTOHS(x) (x)
#define NTOHL(x) (x)
#define HTONL_CONST(x) (x)
#endif

static void *(*const bpf_map_lookup_elem)(const void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static long (*const bpf_map_update_elem)(const void *map, const void *key, const void *value, __u64 flags) =
	(void *)BPF_FUNC_map_update_elem;
static long (*const bpf_map_delete_elem)(const void *map, const void *key) = (void *)BPF_FUNC_map_delete_elem;
static long (*const bpf_tail_call)(void *ctx, const void *map, __u32 index) = (void *)BPF_FUNC_tail_call;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 size) = (void *)BPF_FUNC_skb_load_bytes;
static long (*const bpf_skb_load_bytes_relative)(const void *skb, __u32 offset, void *to, __u32 size, __u32 from) =
	(void *)BPF_FUNC_skb_load_bytes_relative;
static long (*const bpf_xdp_load_bytes)(const void *xdp, __u32 offset, void *to, __u32 size) = (void *)BPF_FUNC_xdp_load_bytes;
static long (*const bpf_skb_store_bytes)(void *skb, __u32 offset, const void *from, __u32 size, __u64 flags) =
	(void *)BPF_FUNC_skb_store_bytes;
static long (*const bpf_skb_change_tail)(void *skb, __u32 size, __u64 flags) = (void *)BPF_FUNC_skb_change_tail;
static long (*const bpf_skb_adjust_room)(void *skb, __s32 difference, __u32 mode, __u64 flags) = (void *)BPF_FUNC_skb_adjust_room;
static long (*const bpf_skb_vlan_push)(void *skb, __u16 protocol, __u16 tci) = (void *)BPF_FUNC_skb_vlan_push;
static long (*const bpf_skb_vlan_pop)(void *skb) = (void *)BPF_FUNC_skb_vlan_pop;
static __s64 (*const bpf_csum_diff)(const void *from, __u32 from_size, const void *to, __u32 to_size, __u32 seed) =
	(void *)BPF_FUNC_csum_diff;
static struct bpf_sock *(*const bpf_skc_lookup_tcp)(void *ctx, struct bpf_sock_tuple *tuple, __u32 size, __u64 netns, __u64 flags) =
	(void *)BPF_FUNC_skc_lookup_tcp;
static long (*const bpf_sk_release)(void *socket) = (void *)BPF_FUNC_sk_release;
static long (*const bpf_tcp_check_syncookie)(void *socket, const void *ip, __u32 ip_size, const void *tcp, __u32 tcp_size) =
	(void *)BPF_FUNC_tcp_check_syncookie;
static __s64 (*const bpf_tcp_gen_syncookie)(void *socket, const void *ip, __u32 ip_size, const void *tcp, __u32 tcp_size) =
	(void *)BPF_FUNC_tcp_gen_syncookie;
static long (*const bpf_xdp_adjust_tail)(void *xdp, __s32 difference) = (void *)BPF_FUNC_xdp_adjust_tail;
static long (*const bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)BPF_FUNC_redirect;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)BPF_FUNC_get_prandom_u32;
static __u64 (*const bpf_ktime_get_boot_ns)(void) = (void *)BPF_FUNC_ktime_get_boot_ns;
static __u64 (*const bpf_jiffies64)(void) = (void *)BPF_FUNC_jiffies64;
static long (*const bpf_ringbuf_output)(const void *ring, const void *data, __u64 size, __u64 flags) =
	(void *)BPF_FUNC_ringbuf_output;

char np_license[] SEC("license") = "Dual MIT/GPL";

#endif
