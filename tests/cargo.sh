#!/bin/sh
# Runs cargo as the user who called sudo, so that neither target/ nor ~/.cargo ends up owned by root.
#
# Usage: tests/cargo.sh [--root] ARGUMENTS…
# --root: run as root after all (the packet tests need it); everything must have been built before.
set -eu

as_root=no
if [ "${1-}" = --root ]; then
    as_root=yes
    shift
fi

user=${SUDO_USER-}
if [ "$(id -u)" -ne 0 ] || [ -z "$user" ] || [ "$user" = root ]; then
    user=
    home=${HOME:-/root}
else
    home=$(getent passwd "$user" | cut -d: -f6)
fi

PATH=$PATH:$home/.cargo/bin
export PATH
if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo is missing: install Rust 1.85 or later from https://rustup.rs (or your distribution's package) and try again" >&2
    exit 1
fi
# rustup's cargo finds its toolchains by HOME; what root runs must use the same ones.
export CARGO_HOME="${CARGO_HOME:-$home/.cargo}"
if [ -d "$home/.rustup" ]; then
    export RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
fi

if [ -n "$user" ] && [ "$as_root" = no ]; then
    exec runuser -u "$user" -- env HOME="$home" PATH="$PATH" cargo "$@"
fi
exec cargo "$@"
