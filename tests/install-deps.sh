#!/bin/sh
# Installs what building and testing need and this machine lacks. Debian and Ubuntu: by apt. Elsewhere: says what is missing.
#
# Usage: tests/install-deps.sh [kernels|fuzz|nix|packages]   and also what the kernel matrix, fuzzing, the NixOS module or packages need
set -eu

missing=
need() { # PACKAGE CHECK…: the package is missing unless the check succeeds
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
have() { PATH=$PATH:/usr/sbin:/sbin command -v "$1"; }
static_busybox() { test -x /bin/busybox && ! ldd /bin/busybox; }
header() { printf '#include <%s>\n' "$1" | "${CC:-cc}" -E - ; }
libclang() {
    for place in "${LIBCLANG_PATH:-/nonexistent}" /usr/lib/llvm-*/lib /usr/lib64 /usr/lib /usr/lib/*-linux-gnu; do
        for library in "$place"/libclang.so "$place"/libclang-*.so*; do
            [ ! -e "$library" ] || return 0
        done
    done
    return 1
}

need gcc have cc
need make have make
need clang have clang
need pkg-config have pkg-config
need libclang-dev libclang
need linux-libc-dev header linux/bpf.h
need libelf-dev header libelf.h
need zlib1g-dev header zlib.h
need iproute2 have ip
need util-linux have nsenter
need systemd have systemd-analyze
need ethtool have ethtool
need netcat-openbsd have nc
need nftables have nft
if [ "${1-}" = kernels ]; then
    need qemu-system-x86 have qemu-system-x86_64
    need busybox-static static_busybox
    need cpio have cpio
    need kmod have depmod
    need wireguard-tools have wg
    need xz-utils have xz
    need zstd have zstd
    need e2fsprogs have mkfs.ext4
fi
if [ "${1-}" = fuzz ]; then
    need g++ have c++
fi
if [ "${1-}" = nix ]; then
    need nix-bin have nix-instantiate
fi
if [ "${1-}" = packages ]; then
    need dpkg-dev have dpkg-shlibdeps
    need rpm have rpmbuild
fi

if [ -z "$missing" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    cat >&2 <<EOF
missing (by their Debian names):$missing
Install them with your distribution's tool, for example
  Fedora:  dnf install gcc gcc-c++ make clang clang-devel pkgconf elfutils-libelf-devel zlib-devel kernel-headers iproute ethtool nmap-ncat nftables
  Arch:    pacman -S gcc make clang pkgconf libelf zlib linux-api-headers iproute2 ethtool openbsd-netcat nftables
  NixOS:   nix develop (nix/ of this project)
EOF
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "missing:$missing" >&2
    echo "run: sudo apt-get install$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # one word a package
apt-get install -q -y --no-install-recommends $missing
