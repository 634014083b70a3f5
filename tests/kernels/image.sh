#!/usr/bin/env bash
# Packs what a guest needs into initramfs archives; qemu gets both, one behind the other.
#
# Usage: tests/kernels/image.sh tests EXECUTABLE…    tools, daemon and test executables -> target/kernels/tests.cpio
#        tests/kernels/image.sh modules RELEASE      that kernel's network modules     -> target/kernels/RELEASE.cpio
#
# EXECUTABLE: NAME=PATH. Programs are copied from this machine with the libraries that ldd names.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
home=$root/target/kernels

# What tests call by name. Everything else is busybox, which stands last in the guest's PATH.
tools="sh bash ip tc bridge ss nft wg ethtool nsenter unshare setpriv prlimit mount umount sleep timeout nc kill kmod"

work=$(mktemp -d "$home/image.XXXXXX")
# The guest's root directory: not everybody in there is root.
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

pack() { # FILE: what stands in $work
    (cd "$work" && find . -print0 | cpio --null --create --format=newc --quiet --owner=0:0) > "$1.new"
    mv "$1.new" "$1"
}
libraries() { # PROGRAM: with what it loads
    ldd "$1" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
        mkdir -p "$work$(dirname "$library")"
        cp -nL "$library" "$work$library"
    done
}

tests() {
    mkdir -p "$work"/{usr/bin,usr/sbin,usr/lib,usr/lib64,busybox,tests,etc,proc,sys,dev,run,tmp,root,var/lib}
    for part in bin sbin lib lib64; do ln -s "usr/$part" "$work/$part"; done
    local tool path
    for tool in $tools; do
        path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$tool") || { echo "image: $tool is missing here: run tests/install-deps.sh kernels" >&2; exit 1; }
        [ "${path#/}" != "$path" ] || path=/bin/$tool
        cp -L "$path" "$work/usr/bin/$tool"
        libraries "$path"
    done
    ln -s ../bin/kmod "$work/usr/sbin/modprobe"
    cp /bin/busybox "$work/busybox/busybox"
    cp "$here/init" "$work/init"
    grep -vE '^(#|$)' "$here/exclude" > "$work/tests/exclude"
    echo 'root:x:0:0:root:/root:/bin/sh' > "$work/etc/passwd"
    echo 'root:x:0:' > "$work/etc/group"
    for file in /etc/protocols /etc/services /etc/nsswitch.conf; do [ ! -e "$file" ] || cp "$file" "$work/etc/"; done
    for path in "$@"; do
        strip -o "$work/tests/${path%%=*}" "${path#*=}"
        libraries "${path#*=}"
    done
    # Frames and policies that failed once are files of this repository, read where it stood when the tests were built.
    mkdir -p "$work$root/daemon/tests/differential/hostile"
    cp -r "$root/daemon/tests/regressions" "$work$root/daemon/tests/"
    cp -r "$root/daemon/tests/differential/hostile/kept" "$work$root/daemon/tests/differential/hostile/"
    pack "$home/tests.cpio"
}

# Everything of the kernel's own network stack and the devices that need no hardware, what a virtual machine's root stands on, and what that
# depends on. Unpacked here: the guest is slow.
modules() {
    local release=$1 tree=$home/$1 file
    local to=$work/usr/lib/modules/$release
    mkdir -p "$to"
    [ -e "$tree/lib/modules/$release/modules.dep" ] || depmod -b "$tree" "$release"
    cp "$tree/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} "$to/"
    sed 's/://' "$tree/lib/modules/$release/modules.dep" | awk '
        $1 ~ /^kernel\/(net\/(sched|netfilter|ipv4|ipv6|bridge|8021q|802|core|llc|packet|unix|key|xfrm|sctp|dccp|l2tp|mpls|openvswitch|vmw_vsock|tls|hsr|dsa|psample|netlink)\/|drivers\/net\/[^\/]*\.ko|drivers\/net\/(bonding|wireguard|vxlan|macvlan|ipvlan|team|netdevsim|ovpn)\/|crypto\/(chacha|poly|curve|crc|gcm|ccm|ctr|cbc|aes|authenc|echainiv|seqiv|drbg|jitterentropy|cmac|sha|hmac|ghash)[^\/]*\.ko|lib\/libcrc32c\.ko|net\/9p\/|fs\/(9p|overlayfs|ext4)\/|drivers\/virtio\/|drivers\/block\/virtio_blk\.ko)/ {
            for (i = 1; i <= NF; i++) if (!seen[$i]++) print $i
        }' | while read -r file; do
        mkdir -p "$to/$(dirname "$file")"
        case $file in
            *.xz) xz -dc "$tree/lib/modules/$release/$file" > "$to/${file%.xz}" ;;
            *.zst) zstd -qdc "$tree/lib/modules/$release/$file" > "$to/${file%.zst}" ;;
            *) cp "$tree/lib/modules/$release/$file" "$to/$file" ;;
        esac
    done
    ln -s usr/lib "$work/lib"
    depmod -b "$work" "$release"
    rm "$work/lib"
    pack "$home/$release.cpio"
}

case $1 in
    tests) shift && tests "$@" ;;
    modules) modules "$2" ;;
    *) echo "image: $1?" >&2; exit 2 ;;
esac
