# The module on the settings of a case: prints what it generates, as data. `nixpkgs`: evaluate with that tree's module system instead of
# the stand-in.
{ settings
, system ? { }
, nixpkgs ? null
,
}:

let
  standin = import ./standin.nix;

  # Builders as data: what would be built, not the building.
  pkgs = {
    formats.toml = _: {
      type = (if nixpkgs == null then standin.lib else import (nixpkgs + "/lib")).types.anything;
      generate = name: value: { inherit name value; };
    };
    writeText = name: text: { inherit name text; };
    linkFarm = name: files: {
      inherit name files;
      outPath = "/nix/store/farm";
    };
    runCommand = name: _: script: {
      inherit name script;
      outPath = "/nix/store/checked";
    };
    callPackage = _: _: {
      type = "derivation";
      outPath = "/nix/store/netpol-ebpf";
    };
  };

  base = {
    networking.firewall.enable = false;
    services.openssh = {
      enable = false;
      ports = [ 22 ];
    };
  };
  whole = standin.lib.recursiveUpdate base system;

  onStandin =
    settings:
    standin.evaluate {
      module = ../../nix/module.nix;
      prefix = [
        "services"
        "netpol-ebpf"
      ];
      inherit pkgs settings;
      system = whole;
    };

  onNixpkgs =
    settings:
    let
      lib = import (nixpkgs + "/lib");
      loose = lib.mkOption { type = lib.types.attrsOf lib.types.anything; };
      world = {
        options = {
          assertions = lib.mkOption { type = lib.types.listOf lib.types.anything; };
          environment = loose;
          systemd = loose;
          networking = loose;
          services.openssh = loose;
        };
        config = whole // {
          _module.args.pkgs = pkgs;
          services = whole.services // {
            netpol-ebpf = settings;
          };
        };
      };
      config =
        (lib.evalModules {
          modules = [
            ../../nix/module.nix
            world
          ];
        }).config;
    in
    config // { failed = map (one: one.message) (lib.filter (one: !one.assertion) config.assertions); };

  evaluate = if nixpkgs == null then onStandin else onNixpkgs;
  source = settings: (evaluate settings).environment.etc."netpol.d".source;
  contents = path: if builtins.isAttrs path then removeAttrs path [ "name" ] else { text = builtins.readFile path; };
  result = evaluate settings;
in
{
  inherit (result) failed;
  # By file name: the contents as data (`value`) or as `text`.
  files = map (file: { inherit (file) name; } // contents file.path) (source (settings // { checkPolicies = false; })).files;
  checked = (source settings).script;
  service = removeAttrs result.systemd.services.netpol-ebpf [ "reloadTriggers" ];
  others = removeAttrs result.systemd.services [ "netpol-ebpf" ];
  reloads = map (trigger: trigger.outPath) result.systemd.services.netpol-ebpf.reloadTriggers;
}
