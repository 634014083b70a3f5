//! One file a promise, each kept with real packets in network namespaces.

mod bench_itself;
mod judged;
mod matrix;

mod addresses;
mod dynamic_sets;
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
mod owners;
mod published;
mod refused;
mod reject;
mod reject_wire;
mod reverse_path;
mod syn_cookies;
mod xdp_deny_sets;

mod anti_spoof;
mod audit;
mod expires;
mod limit;
mod log_limit;
mod rate_limit;
mod set_commands;

mod conntrack_icmp;
mod conntrack_limits;
mod conntrack_tcp;
mod conntrack_udp;
mod rejudge;

mod hostile_connection;
mod hostile_delivery;
mod hostile_host;
mod hostile_offload;
mod hostile_pages;
mod hostile_tunnel;
mod own_copies;
mod strangers;
mod unjudged;

mod adopt;
mod bad_files;
mod commands;
mod confirm;
mod counters;
mod devices;
mod guard;
mod lifecycle;
mod links;
mod metrics;
mod moved;
mod netfilter;
mod notify;
mod places;
mod policy_tests;
mod saving;
mod session_guard;
mod signals;
mod sockets;
