# expects: networking.firewall is a second firewall that denies by default
{
  settings.enable = true;
  system.networking.firewall.enable = true;
}
