//! Generates the Rust view of `bpf/abi.h` and compiles the programs with `clang -target bpf`.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const PROGRAMS: [&str; 6] = ["tc_main", "tc_policy", "tc_epilogue", "xdp_main", "xdp_policy", "guard"];
/// Those that exist a second time for PREEMPT_RT kernels (`bpf/scratch.h`), as `NAME_rt`.
const REALTIME: [&str; 5] = ["tc_main", "tc_policy", "tc_epilogue", "xdp_main", "xdp_policy"];

const NO_CLANG: &str = "The packet programs are written in C and need clang (14 or later) at build time.
  Debian, Ubuntu:  apt install clang linux-libc-dev
  Fedora:          dnf install clang kernel-headers
  NixOS:           nix-shell -p llvmPackages.clang
Another clang than the one in PATH is named by the environment variable CLANG.";

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
    println!("cargo:rerun-if-env-changed=CLANG");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    bindings(&out)?;
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let headers = kernel_headers(&clang)?;
    for program in PROGRAMS {
        compile(&clang, &headers, program, None, &out.join(format!("{program}.o")))?;
    }
    for program in REALTIME {
        compile(&clang, &headers, program, Some("-DNP_REALTIME"), &out.join(format!("{program}_rt.o")))?;
    }
    Ok(())
}

/// Feature `other-abi`.
fn other_abi() -> Option<&'static str> {
    env::var_os("CARGO_FEATURE_OTHER_ABI").map(|_| "-DNP_OTHER_ABI")
}

/// Rust types of everything in `abi.h` that begins with `np_` or `NP_`.
fn bindings(out: &Path) -> Result<(), Box<dyn Error>> {
    bindgen::Builder::default()
        .header("bpf/abi.h")
        .clang_args(other_abi())
        .allowlist_item("(np|NP)_.*")
        .derive_default(true)
        .no_default("np_port_table")
        .no_default("np_guard")
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

/// Folders of the kernel's user-space headers. The BPF target does not search the folder of the machine's own `asm/` (Debian
/// keeps it under /usr/include/<triplet>, Nix in its store), so clang is asked where it looks for the machine itself.
fn kernel_headers(clang: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let output = Command::new(clang)
        .args(["-E", "-v", "-x", "c", "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run '{clang}': {error}\n\n{NO_CLANG}"))?;
    if !output.status.success() {
        return Err(
            format!("'{clang} -E -v' failed ({}):\n{}\n\n{NO_CLANG}", output.status, String::from_utf8_lossy(&output.stderr)).into()
        );
    }
    let folders: Vec<PathBuf> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .skip_while(|line| !line.starts_with("#include <...>"))
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .map(|line| PathBuf::from(line.trim()))
        .filter(|folder| folder.join("asm/types.h").exists() || folder.join("linux/bpf.h").exists())
        .collect();
    if !folders.iter().any(|folder| folder.join("asm/types.h").exists()) {
        return Err(format!("no kernel headers: '{clang}' finds no asm/types.h (Debian, Ubuntu: linux-libc-dev)\n\n{NO_CLANG}").into());
    }
    Ok(folders)
}

/// One C file -> one ELF object of the byte order of the target.
fn compile(clang: &str, headers: &[PathBuf], program: &str, definition: Option<&str>, object: &Path) -> Result<(), Box<dyn Error>> {
    let big_endian = env::var("CARGO_CFG_TARGET_ENDIAN")? == "big";
    let mut command = Command::new(clang);
    // Nix's compiler wrapper adds hardening options that the BPF target does not know.
    command.env("NIX_HARDENING_ENABLE", "");
    command.args(["-target", if big_endian { "bpfeb" } else { "bpfel" }, "-mcpu=v3"]);
    command.args(other_abi()).args(definition);
    command.args(["-std=gnu11", "-O2", "-g0", "-Wall", "-Wextra", "-Werror", "-Wno-error=pass-failed", "-fno-stack-protector"]);
    for folder in headers {
        command.arg("-idirafter").arg(folder);
    }
    command.arg("-c").arg(format!("bpf/{program}.c")).arg("-o").arg(object);
    let output = command.output().map_err(|error| format!("cannot run '{clang}': {error}\n\n{NO_CLANG}"))?;
    if !output.status.success() {
        return Err(format!("'{clang}' does not compile bpf/{program}.c:\n{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(())
}
