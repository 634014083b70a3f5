# The package, to be called with nixpkgs' callPackage.
{
  lib,
  rustPlatform,
  clang,
  libclang,
  elfutils,
  zlib,
  linuxHeaders,
  pkg-config,
}:

rustPlatform.buildRustPackage {
  pname = "netpol-ebpf";
  version = "0.1.0";
  src = lib.cleanSource ../.;
  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [ "--package=netpol-ebpf" ];

  nativeBuildInputs = [
    clang
    pkg-config
  ];
  buildInputs = [
    elfutils
    zlib
    linuxHeaders
  ];
  env.LIBCLANG_PATH = "${lib.getLib libclang}/lib";
  # `clang -target bpf` takes none of the wrapper's flags for the host.
  hardeningDisable = [ "all" ];

  # The packet tests make network namespaces; the build sandbox forbids that. The rest of the tests run.
  cargoTestFlags = [
    "--package=netpol-ebpf"
    "--package=netpol-probes"
  ];

  meta = {
    description = "Declarative host firewall: TOML policies, enforced by tc and XDP eBPF programs";
    license = with lib.licenses; [
      mit
      asl20
    ];
    platforms = lib.platforms.linux;
    mainProgram = "netpol-ebpf";
  };
}
