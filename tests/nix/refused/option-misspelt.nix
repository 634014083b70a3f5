# expects: option `services.netpol-ebpf.policies.web.ingress.0.acton' does not exist
{
  settings = {
    enable = true;
    policies.web = {
      interfaces = [ "eth0" ];
      ingress = [{ acton = "allow"; }];
    };
  };
}
