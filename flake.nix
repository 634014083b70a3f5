{
  description = "Declarative host firewall: TOML policies, enforced by tc and XDP eBPF programs";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = each (pkgs: {
        default = pkgs.callPackage ./nix/package.nix { };
      });

      overlays.default = final: _: {
        netpol-ebpf = final.callPackage ./nix/package.nix { };
      };

      nixosModules.default = import ./nix/module.nix;

      devShells = each (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ (pkgs.callPackage ./nix/package.nix { }) ];
          packages = with pkgs; [
            cargo
            clippy
            rustfmt
            iproute2
            ethtool
            nftables
            libressl.nc
          ];
          env.LIBCLANG_PATH = "${pkgs.lib.getLib pkgs.libclang}/lib";
          hardeningDisable = [ "all" ];
        };
      });

      checks = each (pkgs: {
        package = pkgs.callPackage ./nix/package.nix { };
        vm = pkgs.testers.runNixOSTest (import ./nix/vm-test.nix { module = self.nixosModules.default; });
      });
    };
}
