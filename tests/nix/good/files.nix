# Policies as files, by path and as text, beside what the options say.
{
  settings = {
    enable = true;
    files."10-text" = ''
      version = 1
      [[policy]]
      name = "text"
      interfaces = ["eth1"]
      default_action = { ingress = "deny" }
    '';
    files."20-path" = ../../../examples/50-database-host.toml;
    settings.daemon.on_stop = "detach";
  };
}
