# expects: nobody defines the set blocklist
{
  settings = {
    enable = true;
    policies.web = {
      interfaces = [ "eth0" ];
      xdp.deny_sets = [ "blocklist" ];
      default_action.ingress = "allow";
    };
  };
}
