//! See `src/control.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| netpol_fuzz::control::run(bytes));
