# A machine whose only open port is 54; metrics bring a drop-in for the unit.
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
          destination.ports = [ 54 ];
        }
      ];
    };
  };
}
