//! One file a promise, each kept with real packets in network namespaces.

mod bench_itself;
mod matrix;

mod addresses;
mod ethertypes;
mod icmp;
mod ip_version;
mod ports;
mod protocols;
mod sets;
mod tcp_flags;
mod vlan;

mod directions;
mod essentials;
mod failsafe;
mod forwarding;
mod fragments;
mod order;
mod refused;
mod reverse_path;
mod xdp_deny_sets;

mod conntrack_icmp;
mod conntrack_limits;
mod conntrack_tcp;
mod conntrack_udp;
mod rejudge;

mod adopt;
mod bad_files;
mod commands;
mod counters;
mod lifecycle;
mod links;
mod policy_tests;
mod saving;
mod sockets;
