# expects: our rules judge forwarded packets too
{
  settings = {
    enable = true;
    importNixosFirewall = true;
  };
  system.networking.nat.enable = true;
}
