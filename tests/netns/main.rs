//! The bench proves itself.
mod bench_itself;
