#!/usr/bin/env bash
# Fetches one of Debian's kernels and unpacks it; nothing is installed.
#
# Usage: tests/kernels/fetch.sh WHICH       WHICH: a series ("6.1", "6.12") or "newest"; with "-rt" behind it its PREEMPT_RT build
# Prints the directory, which is target/kernels/RELEASE and holds lib/modules/RELEASE and vmlinuz.
# Exit code 4: the archive has no such kernel (any more). 1: anything else, such as no way to the archive.
#
# apt reads the machine's own sources (mirror, keys, proxy), with other suites of the same archive, in a private directory:
# neither /etc/apt nor the machine's package lists are touched.
set -euo pipefail
cd "$(dirname "$0")/../.."

which=$1
home=$PWD/target/kernels
apt=$home/apt
arch=$(dpkg --print-architecture)
suites="bullseye bookworm bookworm-backports trixie trixie-backports sid"
fail() { echo "fetch: $*" >&2; exit 1; }

options=(
    -o "Dir::Etc::SourceList=$apt/sources.list" -o "Dir::Etc::SourceParts=$apt/none" -o "Dir::State=$apt/state" -o "Dir::Cache=$apt/cache"
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false
    -o APT::Sandbox::User=root -o APT::Get::List-Cleanup=true -o Acquire::Retries=3
)

# The machine's own mirror of Debian's main archive, as its own sources name it.
mirror() {
    apt-get indextargets --format '$(IDENTIFIER)|$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' \
        | awk -F'|' '$1 == "Packages" && $2 == "Debian" && $3 ~ /^Debian( Backports)?$/ && $4 == "main" { print $5; exit }'
}

# Suites that the mirror no longer holds are left out, said aloud; without a single one there is no archive.
update() {
    mkdir -p "$apt/none" "$apt/state/lists/partial" "$apt/cache/archives/partial"
    local mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg signed= suite
    mirror=$(mirror)
    [ -n "$mirror" ] || fail "this machine's apt sources name no Debian archive (its package lists may be missing: apt-get update)"
    [ ! -e "$keyring" ] || signed="[signed-by=$keyring] "
    : > "$apt/sources.list"
    for suite in $suites; do echo "deb $signed$mirror $suite main" >> "$apt/sources.list"; done
    apt-get "${options[@]}" -q update > "$apt/log" 2>&1 || true
    for suite in $suites; do
        compgen -G "$apt/state/lists/*_dists_${suite}_main_binary-${arch}_Packages*" > /dev/null || echo "fetch: no lists of $suite (see $apt/log)" >&2
    done
    compgen -G "$apt/state/lists/*_Packages*" > /dev/null || { tail -n 5 "$apt/log" >&2; fail "the Debian archive cannot be reached"; }
    touch "$apt/updated"
}

# Every released kernel that the archive holds, oldest first.
releases() {
    apt-cache "${options[@]}" pkgnames linux-image- | sed -nE "s/^linux-image-([0-9]+\.[0-9]+[0-9.]*[-+][0-9a-z.+]*(-rt)?-?$arch)\$/\1/p" \
        | grep -vE -- "cloud-$arch|^[0-9.]+-rt-" | sort -uV
}

pick() {
    local series=${which%-rt} flavour=(-v)
    [ "$series" = "$which" ] || flavour=()
    grep "${flavour[@]}" -E -- "[-+]rt-$arch$" "$apt/releases" | case $series in
        newest) tail -n 1 ;;
        *) grep -E "^${series//./\\.}[.-]" | tail -n 1 ;;
    esac
}

# The image and, where they are packages of their own, the kernel, its modules and their lists.
download() {
    local release=$1 packages=("linux-image-$1") part
    for part in binary modules base; do
        if apt-cache "${options[@]}" show "linux-$part-$release" > /dev/null 2>&1; then packages+=("linux-$part-$release"); fi
    done
    local debs="$home/$release.debs" tree="$home/$release.new" deb
    rm -rf "$debs" "$tree"
    mkdir -p "$debs" "$tree"
    (cd "$debs" && apt-get "${options[@]}" -q download "${packages[@]}") >> "$apt/log" 2>&1 || { tail -n 5 "$apt/log" >&2; fail "cannot download $release"; }
    # Drivers of hardware that no guest has.
    local left_out=(--wildcards --exclude ./usr/share --exclude '*/kernel/sound') driver
    for driver in gpu media infiniband scsi ata hid input iio staging usb mmc mtd hwmon net/ethernet net/wireless; do
        left_out+=(--exclude "*/kernel/drivers/$driver")
    done
    # As on a merged-/usr system: some releases ship /lib/modules, some /usr/lib/modules.
    mkdir -p "$tree/usr/lib"
    ln -s usr/lib "$tree/lib"
    for deb in "$debs"/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tree" --keep-directory-symlink "${left_out[@]}"
    done
    if [ -e "$tree/boot/vmlinuz-$release" ]; then mv "$tree/boot/vmlinuz-$release" "$tree/vmlinuz"; else cp "$tree/lib/modules/$release/vmlinuz" "$tree/vmlinuz"; fi
    rm -rf "$debs" "$tree/boot"
    mv "$tree" "$home/$release"
}

mkdir -p "$apt"
exec 9> "$apt/lock"
flock 9
[ -n "$(find "$apt/updated" -mmin -720 2>/dev/null)" ] || update
[ "$apt/releases" -nt "$apt/updated" ] || { releases > "$apt/releases.new" && mv "$apt/releases.new" "$apt/releases"; }
release=$(pick || true)
if [ -z "$release" ]; then
    echo "fetch: the archive holds no kernel $which" >&2
    exit 4
fi
[ -d "$home/$release" ] || download "$release"
echo "$home/$release"
