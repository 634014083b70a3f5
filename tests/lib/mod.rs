//! The bench that the packet tests share: namespaces, links, packets, observers, the binary under test.
//!
//! Knows the product only as its users do: by its policy files, its command line and what happens to packets.
//! `src` namespace --veth-- `dut` namespace (the daemon runs here) --veth-- `dst` namespace:
//!
//! - [`net`] makes and removes that world, [`ns`] one namespace of it, [`residue`] finds what was left behind;
//! - [`daemon`] and [`cli`] run the binary;
//! - [`packet`] builds frames, [`wire`] sends and observes them, [`sock`] holds ordinary sockets, [`flood`] many frames;
//! - [`foreign`] attaches programs of another tool;
//! - [`policy`] and [`place`] write policies, [`moment`] dates;
//! - [`bench`] puts these together for the usual question: does this packet pass?

pub mod bench;
pub mod cli;
pub mod daemon;
pub mod family;
pub mod flood;
pub mod foreign;
pub mod moment;
pub mod net;
pub mod ns;
pub mod packet;
pub mod packet_l4;
pub mod place;
pub mod policy;
pub mod residue;
pub mod say;
pub mod sock;
pub mod sys;
pub mod wait;
pub mod wire;

pub use bench::{Bench, Hook};
pub use cli::Cli;
pub use daemon::Daemon;
pub use family::Family;
pub use net::Net;
pub use packet::Packet;
pub use packet_l4::flags;
pub use place::Place;
