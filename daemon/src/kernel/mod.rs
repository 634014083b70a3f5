//! The only folder with `unsafe`, redbpf or bpf-sys.
#![allow(unsafe_code)]
