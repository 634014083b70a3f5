# The NixOS module: installs the package, writes /etc/netpol.d, starts the daemon before the network.
#
# What it does not do: it does not turn off networking.firewall (both may run; netpol-ebpf only narrows), and it does not
# translate options into policies: you write the policy language itself, as text.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.netpol-ebpf;
  directory = pkgs.linkFarm "netpol.d" (
    lib.mapAttrsToList (name: text: {
      name = "${name}.toml";
      path = pkgs.writeText "${name}.toml" text;
    }) cfg.policies
  );
  # A bad policy, or a failing [[test]] block, fails the build and never reaches the host.
  checked =
    pkgs.runCommand "netpol.d-checked" { nativeBuildInputs = [ cfg.package ]; }
      ''
        netpol-ebpf check ${directory}
        ln -s ${directory} $out
      '';
in
{
  options.services.netpol-ebpf = {
    enable = lib.mkEnableOption "the netpol-ebpf host firewall";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The package to run.";
    };

    policies = lib.mkOption {
      type = lib.types.attrsOf lib.types.lines;
      default = { };
      description = "Policy files by name, without `.toml`: the text of each becomes a file of /etc/netpol.d.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    environment.etc."netpol.d".source = if cfg.policies == { } then directory else checked;

    systemd.services.netpol-ebpf = {
      description = "Declarative host firewall (eBPF)";
      wantedBy = [ "sysinit.target" ];
      wants = [ "network-pre.target" ];
      before = [
        "network-pre.target"
        "shutdown.target"
      ];
      conflicts = [ "shutdown.target" ];
      after = [ "local-fs.target" ];
      unitConfig = {
        DefaultDependencies = false;
        RequiresMountsFor = "/var/lib/netpol-ebpf /sys/fs/bpf";
      };
      # A switch of the system changes only links in /etc: the running daemon is told to look, not restarted.
      reloadTriggers = [ config.environment.etc."netpol.d".source ];
      serviceConfig = {
        Type = "notify";
        ExecStartPre = "+${pkgs.coreutils}/bin/mkdir -p /sys/fs/bpf/netpol-ebpf";
        ExecStart = "${lib.getExe cfg.package} run";
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        Restart = "always";
        RestartSec = 1;
        WatchdogSec = "2min";
        LimitMEMLOCK = "infinity";
        RuntimeDirectory = "netpol-ebpf";
        StateDirectory = "netpol-ebpf";
        UMask = "0077";
        CapabilityBoundingSet = [
          "CAP_BPF"
          "CAP_NET_ADMIN"
          "CAP_PERFMON"
        ];
        NoNewPrivileges = true;
        ProtectSystem = "strict";
        ProtectKernelTunables = true;
        ReadWritePaths = [ "-/sys/fs/bpf/netpol-ebpf" ];
        ProtectHome = true;
        PrivateTmp = true;
        PrivateDevices = true;
        ProtectKernelModules = true;
        ProtectKernelLogs = true;
        ProtectClock = true;
        ProtectHostname = true;
        ProtectControlGroups = true;
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        RestrictAddressFamilies = [
          "AF_NETLINK"
          "AF_UNIX"
          # For `[daemon] metrics`.
          "AF_INET"
          "AF_INET6"
        ];
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "@system-service"
          "~@privileged @resources"
          "bpf"
        ];
        SystemCallErrorNumber = "EPERM";
      };
    };
  };
}
