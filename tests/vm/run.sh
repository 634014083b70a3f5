#!/usr/bin/env bash
# Boots the systemd of this machine under Debian's kernel in a virtual machine, with the product as `make install` leaves it, and plays
# story.sh there: two boots, the second with a policy that is broken.
#
# Usage: tests/vm/run.sh [KERNEL]   a series, default 6.12;  ACCEL=NAME qemu's accelerator (default tcg);  GUEST_LIMIT=s (default 900)
#
# The root file system of this machine is the lower, read-only layer of the guest's; what the guest writes goes to a disk of its own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
kernels=$PWD/tests/kernels
home=$PWD/target/kernels
kernel=${1:-6.12}
console=$home/vm-$kernel.log

say() { printf '%(%T)T vm: %s\n' -1 "$*"; }
die() { say "$*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || die "needs root: it lends this machine's root file system to the guest"
for tool in qemu-system-x86_64 busybox cpio depmod mkfs.ext4 nft ip nsenter; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$tool" > /dev/null || die "$tool is missing: run tests/install-deps.sh kernels"
done
[ -x target/release/netpol-ebpf ] || die "target/release/netpol-ebpf is missing: run make build first"
mkdir -p "$home"
place=$("$kernels/fetch.sh" "$kernel") || die "kernel $kernel could not be fetched"
release=${place##*/}
[ "$home/$release.cpio" -nt "$kernels/image.sh" ] || "$kernels/image.sh" modules "$release"

work=$(mktemp -d "$home/vm.XXXXXX")
trap 'rm -rf "$work"' EXIT

# What the guest has more than this machine.
stage=$work/image/stage
make --silent install "DESTDIR=$stage" PREFIX=/usr
install -D -m 0644 -t "$stage/etc/systemd/system" "$here"/units/*.service
install -D -m 0755 -t "$stage/usr/libexec/netpol-vm" "$here"/{world,send,story}.sh
install -m 0644 "$here/policy.toml" "$stage/etc/netpol.d/10-vm.toml"

mkdir -p "$work"/image/{bin,usr/lib,proc,sys,dev,lower,disk,root}
ln -s usr/lib "$work/image/lib"
cp /bin/busybox "$work/image/bin/busybox"
install -m 0755 "$here/init" "$work/image/init"
(cd "$work/image" && find . -print0 | cpio --null --create --format=newc --quiet --owner=0:0) > "$work/vm.cpio"
cat "$work/vm.cpio" "$home/$release.cpio" > "$work/initrd"
truncate -s 1G "$work/disk"
mkfs.ext4 -q -L netpol-vm "$work/disk"

say "$kernel: $release boots"
begin=$SECONDS
# Without -no-reboot: the story reboots by itself, with the same kernel and disk.
timeout --foreground -k 10 "${GUEST_LIMIT:-900}" qemu-system-x86_64 -M q35 -accel "${ACCEL:-tcg}" -cpu max -smp 2 -m 1536 -nic none \
    -display none -monitor none -serial stdio -kernel "$home/$release/vmlinuz" -initrd "$work/initrd" \
    -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" \
    -virtfs local,path=/,mount_tag=machine,security_model=none,readonly=on,multidevs=remap \
    -append "console=ttyS0 panic=-1 quiet mitigations=off systemd.show_status=no" \
    > "$console" < /dev/null || true
tr -d '\r' < "$console" | grep -a '^STORY ' || true
verdict=$(tr -d '\r' < "$console" | grep -a '^NETPOL-VERDICT ' | tail -n 1 | cut -d' ' -f2- || true)
say "$kernel: ${verdict:-FAILED: the guest ended without a verdict, see ${console#"$PWD"/}} ($((SECONDS - begin)) s)"
case $verdict in OK*) ;; *) exit 1 ;; esac
