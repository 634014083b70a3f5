# Two machines: a host under policy and one that tries. Boot, switch, roll-back, a container's veth.
{ module }:

let
  allows = port: {
    imports = [ module ];
    networking.firewall.enable = false;
    services.netpol-ebpf = {
      enable = true;
      policies.host = {
        interfaces = [ "eth1" ];
        default_action.ingress = "deny";
        ingress = [
          {
            id = "web";
            action = "allow";
            protocol = "tcp";
            destination.ports = [ port ];
          }
        ];
      };
      policies.containers = {
        interfaces = [ "ve-*" ];
        endpoint = "workload";
        default_action = {
          ingress = "allow";
          egress = "deny";
        };
      };
    };
  };
in
{
  name = "netpol-ebpf";

  nodes = {
    host =
      { lib, pkgs, ... }:
      {
        imports = [ (allows 80) ];
        specialisation.other.configuration = {
          services.netpol-ebpf.policies.host.ingress = lib.mkForce [
            {
              id = "other";
              action = "allow";
              protocol = "tcp";
              destination.ports = [ 81 ];
            }
          ];
        };
        systemd.services = lib.genAttrs [ "serve-80" "serve-81" ] (name: {
          wantedBy = [ "multi-user.target" ];
          serviceConfig.ExecStart = "${lib.getExe pkgs.python3} -m http.server ${lib.removePrefix "serve-" name}";
        });
        containers.guest = {
          autoStart = true;
          privateNetwork = true;
          hostAddress = "10.88.0.1";
          localAddress = "10.88.0.2";
          config.system.stateVersion = lib.trivial.release;
        };
      };
    peer = { };
  };

  testScript = ''
    start_all()
    host.wait_for_unit("multi-user.target")
    peer.wait_for_unit("multi-user.target")

    def reaches(port):
        return peer.execute(f"timeout 2 bash -c '</dev/tcp/host/{port}'")[0] == 0

    with subtest("the firewall stands before the network"):
        ours = int(host.succeed("systemctl show --value -p ActiveEnterTimestampMonotonic netpol-ebpf"))
        network = int(host.succeed("systemctl show --value -p ActiveEnterTimestampMonotonic network-pre.target"))
        assert 0 < ours <= network, f"{ours} {network}"

    with subtest("boot"):
        host.wait_for_open_port(80)
        host.wait_for_open_port(81)
        assert reaches(80) and not reaches(81)

    process = host.succeed("systemctl show --value -p MainPID netpol-ebpf")

    with subtest("switch"):
        host.succeed("/run/current-system/specialisation/other/bin/switch-to-configuration test")
        assert reaches(81) and not reaches(80)

    with subtest("roll back"):
        host.succeed("/run/booted-system/bin/switch-to-configuration test")
        assert reaches(80) and not reaches(81)
        assert process == host.succeed("systemctl show --value -p MainPID netpol-ebpf"), "never restarted"

    with subtest("a container's veth"):
        host.wait_for_unit("container@guest")
        host.succeed("ping -c 1 -W 2 10.88.0.2")
        host.fail("nixos-container run guest -- ping -c 1 -W 2 10.88.0.1")
  '';
}
