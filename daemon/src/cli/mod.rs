//! One file a command: call the library, print.

pub mod check;
