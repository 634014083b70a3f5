//! The bench that the packet tests share: namespaces, links, packets, observers, the binary under test.
//!
//! Knows the product only as its users do: by its policy files, its command line and what happens to packets.
//! `src` namespace --veth-- `dut` namespace (the daemon runs here) --veth-- `dst` namespace:
//!
//! - [`net`] makes and removes that world, [`ns`] one namespace of it, [`residue`] finds what was left behind;
//! - [`daemon`] and [`cli`] run the binary, [`notified`] hears what it tells its service manager;
//! - [`packet`] builds frames, [`wire`] sends and observes them, [`offload`] sends those that are many in one;
//! - [`sock`] holds ordinary sockets, [`delivered`] sees all that a host's stack takes for its own, [`flood`] sends many frames,
//!   [`hot`] makes interfaces that come under traffic, [`contained`] containers with the files of their engines;
//! - [`foreign`] attaches programs of another tool;
//! - [`policy`] and [`place`] write policies, [`moment`] dates; [`machine`] says how slow the machine is;
//! - [`bench`] puts these together for the usual question: does this packet pass?

pub mod bench;
pub mod cgroup;
pub mod cli;
pub mod contained;
pub mod daemon;
pub mod delivered;
pub mod family;
pub mod flood;
pub mod foreign;
pub mod held;
pub mod hot;
pub mod machine;
pub mod moment;
pub mod net;
pub mod notified;
pub mod ns;
pub mod offload;
pub mod packet;
pub mod packet_l4;
pub mod place;
pub mod policy;
pub mod residue;
pub mod say;
pub mod sock;
pub mod standing;
pub mod sys;
pub mod sys_bpf;
pub mod sys_inotify;
pub mod sys_packet;
pub mod wait;
pub mod wire;

pub use bench::{Bench, Hook};
pub use cli::Cli;
pub use daemon::Daemon;
pub use family::Family;
pub use net::Net;
pub use notified::Notified;
pub use packet::Packet;
pub use packet_l4::flags;
pub use place::Place;
