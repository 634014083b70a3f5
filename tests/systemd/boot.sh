#!/bin/sh
# Boots the systemd of this machine a second time, as process 1 of namespaces of its own (mount, pid, network, ipc, uts, cgroup), over a
# throw-away overlay of the root file system. Nothing of the host is written: not its files, not its network, not its sysctls.
#
# Usage: boot.sh WORK    WORK/upper: files that the booted system has more than the host; WORK/units: units of its own;
#                        WORK/enable: the units that are enabled, one a line
# Runs until that system powers off. Its journal stays in WORK/upper/var/log/journal.
set -eu

work=$1
root=$work/root
name=$(basename "$work")
cgroups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$cgroups" ] || { echo "no cgroup2 is mounted" >&2; exit 1; }

if [ "${2-}" != inside ]; then
    mkdir -p "$cgroups/$name" "$work/upper" "$work/overlay" "$root"
    echo $$ > "$cgroups/$name/cgroup.procs"
    exec unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child=KILL "$0" "$work" inside
fi

mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/overlay" "$root"

# Only our units, and none that would touch what namespaces do not hide: kernel modules, sysctls, devices, the clock.
find "$root/etc/systemd/system" -mindepth 1 -delete
rm -rf "$root"/etc/rc?.d
for unit in "$work"/units/*; do
    [ ! -e "$unit" ] || cp -r "$unit" "$root/etc/systemd/system/"
done
for unit in systemd-sysctl systemd-modules-load systemd-udevd systemd-udev-trigger systemd-random-seed systemd-remount-fs \
    systemd-binfmt systemd-hwdb-update systemd-timesyncd; do
    ln -s /dev/null "$root/etc/systemd/system/$unit.service"
done
while read -r unit; do
    systemctl --root="$root" enable --quiet "$unit"
done < "$work/enable"
: > "$root/etc/machine-id"
: > "$root/etc/fstab"
rm -rf "$root/var/log/journal"
mkdir -p "$root/var/log/journal"

mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t bpf bpf "$root/sys/fs/bpf"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 devices "$root/dev"
while read -r device major minor; do
    mknod -m 666 "$root/dev/$device" c "$major" "$minor"
done <<DEVICES
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
DEVICES
mkdir "$root/dev/pts" "$root/dev/shm" "$root/host"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

cd "$root"
pivot_root . host
umount -l /host
rmdir /host
hostname "$name"
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal --show-status=no < /dev/null
