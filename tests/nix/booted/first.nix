import ./machine.nix 53
