/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Part of abi.h: what the guard of interfaces that are not enforced yet shares with the daemon. The rules of that file hold here too. */
#ifndef NETPOL_ABI_GUARD_H
#define NETPOL_ABI_GUARD_H

/*
 * guards: array[NP_SLOTS]. Which names the globs of a generation's policies select, as an automaton over the bytes of the name:
 * at = next[at + classes[byte]], from `start` on. The byte 0 ends the name, its class is 0, and what stands there are bits:
 * 1 << hook where an enforcing policy that would refuse something there selects the name.
 */
struct np_guard {
	__u16 start;
	__u16 globs;             /* 0 = the automaton selects nothing: it need not be asked */
	__u16 names;             /* 0 = guard_names has nothing of this slot */
	__u16 pad;
	__u8 classes[256];
	__u16 next[NP_GUARD_TABLE];
};

/*
 * guard_names: hash np_guard_key -> __u32, the same bits, of names that policies write without wildcards, where these do not fit into the
 * automaton: they beat the globs.
 */
struct np_guard_key {
	__u32 slot;
	__u32 pad;
	struct np_name name;
};

/*
 * Where the kernel keeps what the guard reads is known only at run time: the program is compiled with these numbers in place of
 * offsets, and the daemon replaces them by what the kernel says of its types (BTF).
 */
enum np_kernel_field {
	NP_K_IN = 0x6b00,        /* nf_hook_state.in */
	NP_K_OUT = 0x6b01,       /* nf_hook_state.out */
	NP_K_FLAGS = 0x6b02,     /* net_device.flags */
	NP_K_IFINDEX = 0x6b03,   /* net_device.ifindex */
	NP_K_NAME = 0x6b04,      /* net_device.name, its first half */
	NP_K_NAME_REST = 0x6b05, /* and its second */
	NP_K_TCX_INGRESS = 0x6b06, /* net_device.tcx_ingress; on kernels without it something that is never null */
	NP_K_TCX_EGRESS = 0x6b07,
	NP_K_END = 0x6b08,
};

#endif
