# What networking.firewall opens, translated.
{
  settings = {
    enable = true;
    importNixosFirewall = true;
    tests =
      map
        (
          { interface
          , port
          , expect
          ,
          }:
          {
            name = "${interface} ${toString port}";
            inherit interface expect;
            direction = "ingress";
            packet = {
              protocol = "tcp";
              source = "203.0.113.9:40000";
              destination = "198.51.100.1:${toString port}";
            };
          }
        )
        [
          {
            interface = "eth0";
            port = 22;
            expect = "allow";
          }
          {
            interface = "eth0";
            port = 6005;
            expect = "allow";
          }
          {
            interface = "eth0";
            port = 9100;
            expect = "deny";
          }
          {
            interface = "wg1";
            port = 9100;
            expect = "allow";
          }
          {
            interface = "wg1";
            port = 22;
            expect = "allow";
          }
          {
            interface = "wg0";
            port = 9999;
            expect = "allow";
          }
        ];
  };
  system = {
    services.openssh.enable = true;
    networking.firewall = {
      allowedTCPPorts = [ 22 ];
      allowedTCPPortRanges = [
        {
          from = 6000;
          to = 6010;
        }
      ];
      trustedInterfaces = [
        "lo"
        "wg0"
      ];
      interfaces.wg1.allowedTCPPorts = [ 9100 ];
    };
  };
}
