# A machine with one open port; metrics bring a drop-in for the unit.
port:
{
  settings = {
    enable = true;
    daemon.metrics.listen = "127.0.0.1:9472";
    policies.host = {
      interfaces = [ "left" ];
      default_action.ingress = "deny";
      ingress = [
        {
          id = "open";
          action = "allow";
          protocol = "udp";
          destination.ports = [ port ];
        }
      ];
    };
  };
}
