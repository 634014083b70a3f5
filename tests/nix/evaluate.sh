#!/bin/sh
# What the NixOS module makes of a case, as JSON; nothing is built or downloaded and no store is needed.
#
# Usage: evaluate.sh CASE [NIXPKGS]    NIXPKGS: a tree whose module system is used instead of the stand-in
# Ends with 127 where there is no Nix.
set -eu

folder=$(cd "$(dirname "$0")" && pwd)
library=null
[ -z "${2-}" ] || library="\"$2\""
command -v nix-instantiate >/dev/null 2>&1 || exit 127

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
NIX_STATE_DIR=$home NIX_LOG_DIR=$home NIX_CONF_DIR=$home HOME=$home nix-instantiate --eval --strict --json --store dummy:// \
    -E "import $folder/eval.nix ({ nixpkgs = $library; } // import $1)"
