# The NixOS module: policies as attributes or as files, proven while the system is built, enforced before the network comes up.
#
# The unit is the one that the package ships. What changes in /etc is a reload, never a restart.
{ config
, lib
, pkgs
, ...
}:

let
  cfg = config.services.netpol-ebpf;
  types = import ./options.nix { inherit lib; };
  format = pkgs.formats.toml { };

  imported = lib.optionalAttrs cfg.importNixosFirewall (
    import ./nixos-firewall.nix { inherit lib; } config.networking.firewall
  );

  failsafe = lib.filterAttrs (_: entries: entries != [ ]) cfg.failsafe;
  daemon = types.written (cfg.daemon // lib.optionalAttrs (failsafe != { }) { inherit failsafe; });

  # One file of what is said in options; the loosely typed `settings` are laid over it.
  document = lib.recursiveUpdate
    (
      {
        version = 1;
      }
      // lib.optionalAttrs (daemon != { }) { inherit daemon; }
      // lib.optionalAttrs (cfg.sets != { }) { set = types.written (lib.attrValues cfg.sets); }
      // lib.optionalAttrs (cfg.policies != { } || imported != { }) {
        policy = types.written (lib.attrValues cfg.policies) ++ lib.mapAttrsToList (name: policy: policy // { inherit name; }) imported;
      }
      // lib.optionalAttrs (cfg.tests != [ ]) { test = types.written cfg.tests; }
    )
    cfg.settings;

  file = name: source: {
    name = "${name}.toml";
    path = if builtins.isString source && !lib.hasPrefix "/" source then pkgs.writeText "${name}.toml" source else source;
  };

  directory = pkgs.linkFarm "netpol.d" (
    [
      {
        name = "50-nixos.toml";
        path = format.generate "50-nixos.toml" document;
      }
    ]
    ++ lib.mapAttrsToList file cfg.files
  );

  # A bad policy, or a failing [[test]] block, fails the build and never reaches the host.
  checked =
    pkgs.runCommand "netpol.d-checked" { nativeBuildInputs = [ cfg.package ]; }
      ''
        netpol-ebpf check ${directory}
        ln -s ${directory} $out
      '';

  source = if cfg.checkPolicies then checked else directory;

  # Everything below is about policies in options: what stands in files is not read here, but checked while the system is built.
  policies = types.written (lib.attrValues cfg.policies) ++ lib.attrValues imported;
  enforced = lib.filter (policy: (policy.mode or "enforce") == "enforce") policies;
  isolates = policy: policy ? ingress || builtins.elem "ingress" (policy.policy_types or [ ]) || policy ? default_action;
  hosts = lib.filter (policy: (policy.endpoint or "host") == "host" && isolates policy) enforced;

  covers =
    port: range:
    if builtins.isInt range then
      range == port
    else
      let
        ends = lib.splitString "-" range;
      in
      lib.toInt (builtins.head ends) <= port && port <= lib.toInt (lib.last ends);
  lets = port: rule: rule.action == "allow" && (rule.protocol or "tcp") == "tcp" && lib.any (covers port) (rule.destination.ports or [ port ]);
  ropes = daemon.failsafe.inbound or [ ];
  reached = port: lib.any (rope: rope.protocol == "tcp" && covers port rope.port) ropes || lib.any (policy: lib.any (lets port) (policy.ingress or [ ])) hosts;
  ssh = config.services.openssh;

  selectors = lib.concatMap
    (
      policy: lib.concatMap (rule: [ (rule.source or { }) (rule.destination or { }) ]) ((policy.ingress or [ ]) ++ (policy.egress or [ ]))
    )
    policies;
  named =
    lib.concatMap (selector: (selector.sets or [ ]) ++ (selector.not_sets or [ ])) selectors
    ++ lib.concatMap (policy: policy.xdp.deny_sets or [ ]) policies;
  defined = lib.attrNames cfg.sets ++ map (set: set.name) (cfg.settings.set or [ ]);
  undefined = lib.filter (name: !(builtins.elem name defined)) (lib.unique named);
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
      type = types.policies;
      default = { };
      description = "Policies by name; the keys are those of netpol.d(5).";
      example = lib.literalExpression ''
        {
          web = {
            interfaces = [ "enp1s0" ];
            default_action.ingress = "deny";
            ingress = [
              {
                id = "http";
                action = "allow";
                protocol = "tcp";
                destination.ports = [ 80 443 ];
              }
            ];
          };
        }
      '';
    };

    sets = lib.mkOption {
      type = types.sets;
      default = { };
      description = "Named sets of addresses.";
      example = {
        admins.elements = [ "192.0.2.0/28" ];
      };
    };

    tests = lib.mkOption {
      type = types.tests;
      default = [ ];
      description = "Packets and what must become of them; a system that fails one is not built.";
    };

    daemon = lib.mkOption {
      type = types.daemon;
      default = { };
      description = "Settings of the daemon.";
    };

    failsafe = {
      inbound = lib.mkOption {
        type = types.failsafe;
        default = [ ];
        description = "What may always come in, whatever the rules say.";
        example = [
          {
            protocol = "tcp";
            port = 22;
            nets = [ "192.0.2.0/24" ];
          }
        ];
      };
      outbound = lib.mkOption {
        type = types.failsafe;
        default = [ ];
        description = "What may always go out.";
      };
    };

    files = lib.mkOption {
      type = lib.types.attrsOf (lib.types.either lib.types.path lib.types.lines);
      default = { };
      description = "Further policy files by name, without `.toml`: a path, or the text itself. They are read with the others in order of name; what the options say is `50-nixos`.";
      example = lib.literalExpression "{ \"20-database\" = ./database.toml; }";
    };

    settings = lib.mkOption {
      type = format.type;
      default = { };
      description = "Laid over the generated file as it is, for what the options do not say.";
    };

    checkPolicies = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = "Judge all policies and their tests while the system is built. Files that exist only on the host (sets by absolute path) cannot be read then.";
    };

    importNixosFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Enforce what `networking.firewall` opens (ports, ranges, ping, trusted interfaces, ports of single interfaces) as policies.";
    };

    requiredFor = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      description = "Services that raise the network, and wait until a ruleset is enforced: where the kernel takes nothing at boot, the host has no network rather than an open one. Without systemd-networkd and NetworkManager these are several units (`network-setup`, `network-addresses-…`).";
      example = [ "systemd-networkd" ];
    };

    coexist = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Let the firewall of NixOS run as well. A packet must then pass both: netpol-ebpf only narrows.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = !ssh.enable || hosts == [ ] || cfg.files != { } || lib.all reached ssh.ports;
        message = "services.netpol-ebpf: sshd is enabled, and neither a rule nor services.netpol-ebpf.failsafe.inbound lets anybody reach port ${
          lib.concatStringsSep ", " (map toString (lib.filter (port: !reached port) ssh.ports))
        }.";
      }
      {
        assertion = cfg.coexist || !config.networking.firewall.enable;
        message = "services.netpol-ebpf: networking.firewall is a second firewall that denies by default. Set networking.firewall.enable = false (importNixosFirewall = true takes its rules along), or coexist = true if a packet is to pass both.";
      }
      {
        assertion = !cfg.importNixosFirewall || !(config.networking.nat.enable or false);
        message = "services.netpol-ebpf: importNixosFirewall translates what may reach this host, and networking.nat makes it a router: our rules judge forwarded packets too. Write policies for it (examples/30-router.toml).";
      }
      {
        assertion = cfg.files != { } || undefined == [ ];
        message = "services.netpol-ebpf: nobody defines the set ${lib.concatStringsSep ", " undefined}.";
      }
      {
        assertion = !(builtins.elem "systemd-networkd" cfg.requiredFor) || (config.networking.useNetworkd or true) || (config.systemd.network.enable or false);
        message = "services.netpol-ebpf: requiredFor names systemd-networkd, which does not run on this host: its network would not wait.";
      }
    ];

    environment.systemPackages = [ cfg.package ];
    environment.etc."netpol.d".source = source;

    systemd.packages = [ cfg.package ];
    # As waits.conf of the package says it elsewhere.
    systemd.services = lib.genAttrs cfg.requiredFor
      (_: {
        after = [ "netpol-ebpf.service" ];
        startLimitIntervalSec = 0;
        serviceConfig = {
          ExecStartPre = [ "+/bin/sh -c '/run/current-system/systemd/bin/systemctl is-active --quiet netpol-ebpf.service || ${cfg.package}/bin/netpol-ebpf status --enforced'" ];
          Restart = lib.mkDefault "on-failure";
          RestartSec = lib.mkDefault 5;
        };
      }) // {
      netpol-ebpf = {
        wantedBy = [ "sysinit.target" ];
        # A switch of the system swaps a link in /etc: the running daemon is told to look, and a refused ruleset is a failed reload.
        reloadTriggers = [ source ];
        # Where the unit or the package changes: one restart at the end, not a stop before the activation and a start after it.
        stopIfChanged = false;
        serviceConfig = {
          # /etc/netpol.d is a link into the store.
          ConfigurationDirectory = "";
        }
        // lib.optionalAttrs (daemon ? metrics) {
          RestrictAddressFamilies = [
            "AF_INET"
            "AF_INET6"
          ];
          IPAddressAllow = [ "localhost" ];
        };
      };
    };
  };
}
