# expects: sshd is enabled, and neither a rule nor services.netpol-ebpf.failsafe.inbound lets anybody reach port 22
{
  settings = {
    enable = true;
    policies.web = {
      interfaces = [ "eth0" ];
      default_action.ingress = "deny";
    };
  };
  system.services.openssh.enable = true;
}
