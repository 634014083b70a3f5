//! The service as it is shipped: installed by `make install`, run by a real systemd that boots it in namespaces of its own.

mod journal;
mod lifecycle;
mod machine;
mod neighbours;
mod nixos;
mod packages;
mod refused;
mod reload;
mod traffic;
mod unit;
