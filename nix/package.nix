# The package, to be called with nixpkgs' callPackage.
{ lib
, rustPlatform
, clang
, libclang
, elfutils
, zlib
, linuxHeaders
, pkg-config
, coreutils
, installShellFiles
,
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
    installShellFiles
  ];
  buildInputs = [
    elfutils
    zlib
    linuxHeaders
  ];
  env.LIBCLANG_PATH = "${lib.getLib libclang}/lib";
  # `clang -target bpf` takes none of the wrapper's flags for the host.
  hardeningDisable = [ "all" ];

  # The unit is the one of every other distribution, with this system's paths.
  postInstall = ''
    mkdir -p $out/lib/systemd/system $out/share/netpol-ebpf
    substitute systemd/netpol-ebpf.service $out/lib/systemd/system/netpol-ebpf.service \
      --replace-fail @PREFIX@/sbin $out/bin \
      --replace-fail /bin/mkdir ${coreutils}/bin/mkdir
    cp daemon/src/schema/netpol.schema.json $out/share/netpol-ebpf/
    $out/bin/netpol-ebpf man --dir .
    installManPage netpol-ebpf.8 netpol.d.5
    for shell in bash zsh fish; do
      $out/bin/netpol-ebpf completions $shell > netpol-ebpf.$shell
    done
    installShellCompletion netpol-ebpf.{bash,zsh,fish}
  '';

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
