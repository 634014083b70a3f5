# expects: option `services.netpol-ebpf.policies.web.ingress.0.ip_version' is not of type
{
  settings = {
    enable = true;
    policies.web = {
      interfaces = [ "eth0" ];
      ingress = [
        {
          action = "allow";
          ip_version = 5;
        }
      ];
    };
  };
}
