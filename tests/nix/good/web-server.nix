# A host with options of every block, a test among them.
{
  settings = {
    enable = true;
    requiredFor = [ "systemd-networkd" ];
    failsafe.inbound = [
      {
        protocol = "tcp";
        port = 22;
        nets = [ "192.0.2.0/24" ];
      }
    ];
    daemon = {
      log.rate = "10/s";
      conntrack.tcp_established = "12h";
    };
    sets.admins.elements = [ "192.0.2.0/28" ];
    sets.blocklist = {
      dynamic = true;
      timeout = "24h";
    };
    policies.web = {
      interfaces = [ "enp1s0" ];
      default_action = {
        ingress = "deny";
        egress = "allow";
      };
      anti_spoof.bogons = true;
      xdp.deny_sets = [ "blocklist" ];
      ingress = [
        {
          id = "http";
          action = "allow";
          protocol = "tcp";
          destination.ports = [
            80
            "8000-8010"
          ];
          limit = {
            rate = "200/s";
            per = "source";
          };
        }
        {
          id = "admins";
          action = "allow";
          protocol = "tcp";
          source.sets = [ "admins" ];
          destination.ports = [ 22 ];
        }
      ];
    };
    tests = [
      {
        name = "the web is open";
        interface = "enp1s0";
        direction = "ingress";
        packet = {
          protocol = "tcp";
          source = "9.9.9.9:40000";
          destination = "198.51.100.1:8005";
        };
        expect = "allow";
        rule = "http";
      }
    ];
  };
  system.services.openssh.enable = true;
}
