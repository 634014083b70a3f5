//! See `src/set_files.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| netpol_fuzz::set_files::run(bytes));
