import ./machine.nix 54
