#!/usr/bin/env bash
# Boots Debian's kernels under qemu and runs the tests that a kernel can change: program loads, differential, packets, trouble.
#
# Usage: tests/kernels/run.sh [KERNEL…]    a series ("6.1") or "newest"; one below the oldest supported must be refused by the daemon
#   JOBS=n             guests at a time (default: one a processor)
#   ONLY=EXECUTABLE    this test executable alone;  FILTER=TEXT  these tests of it
#   SLICE=K/N          every N-th test, from the K-th on (default 1/1: all); of an executable with fewer than N tests some slices have none
#   GUEST_LIMIT=s      how long one guest may take (default 7200)
#   GUEST_NICE=n       how far the guests stand back behind everything else on this machine (nice(1); default 0)
#   ACCEL=NAME         qemu's accelerator; default tcg, which works everywhere
#
# A guest's verdict is its last line, and nothing else. A guest that ends without one is booted once more; one that says FAILED is not.
# Each console is kept: target/kernels/KERNEL.log
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
home=$PWD/target/kernels
oldest=6.1
kernels=${*:-5.10 6.1 6.12 newest}
jobs=${JOBS:-$(nproc)}
limit=${GUEST_LIMIT:-7200}

# An emulated processor is ten to thirty times slower than this one, on a busy machine more:
# deadlines of the bench are so many times longer, counts of rounds so many times smaller, random rounds so few.
patience=5
small=25
rounds=2
threads=${THREADS:-1}
slice=${SLICE:-1/1}

say() { printf '%(%T)T kernels: %s\n' -1 "$*"; }
die() { say "$*" >&2; exit 1; }
for tool in qemu-system-x86_64 busybox cpio depmod strip nft apt-get dpkg-deb; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$tool" > /dev/null || die "$tool is missing: run tests/install-deps.sh kernels"
done
other=target/other-abi/netpol-ebpf
for program in target/release/netpol-ebpf $other; do
    [ -x "$program" ] || die "$program is missing: run make test-programs first"
done
mkdir -p "$home"

# Every test executable of the workspace, as cargo names them: new ones are in by themselves.
executables() {
    tests/cargo.sh test --workspace --locked --no-run 2>&1 | tee "$home/build.log" \
        | sed -nE 's/^ *Executable (unittests )?([^ ]+) \((.*)-[0-9a-f]+\)$/\2 \3 &/p' | while read -r source stem line; do
        path=${line##*(}
        name=${stem##*/}
        [ "$source" != src/main.rs ] || name=$name-main
        echo "$name=${path%)}"
    done
}

boot() { # KERNEL RELEASE EXPECT
    local log=$home/$1.log
    cat "$home/tests.cpio" "$home/$2.cpio" > "$home/$1.initrd"
    nice -n "${GUEST_NICE:-0}" timeout --foreground -k 10 "$limit" qemu-system-x86_64 -M q35 -accel "${ACCEL:-tcg}" -cpu max -smp 1 -m 1536 -no-reboot -nic none \
        -display none -monitor none -serial stdio -kernel "$home/$2/vmlinuz" -initrd "$home/$1.initrd" \
        -append "console=ttyS0 panic=-1 quiet mitigations=off noapic netpol.expect=$3 netpol.only=${ONLY-} netpol.filter=${FILTER-} netpol.slice=$slice netpol.patience=$patience netpol.small=$small netpol.rounds=$rounds netpol.threads=$threads" \
        > "$log" < /dev/null 2> "$home/$1.qemu" || true
    rm -f "$home/$1.initrd"
    tr -d '\r' < "$log" | grep -a '^NETPOL-VERDICT ' | tail -n 1 | cut -d' ' -f2- || true
}

# One kernel from the archive to its verdict, which goes to KERNEL.verdict.
prove() {
    local kernel=$1 place release expect=tests code=0 begin=$SECONDS verdict try
    place=$("$here/fetch.sh" "$kernel") || code=$?
    if [ "$code" -eq 4 ]; then echo "NOT AVAILABLE: the archive holds no kernel $kernel any more" > "$home/$kernel.verdict"; return; fi
    if [ "$code" -ne 0 ]; then echo "FAILED $kernel could not be fetched" > "$home/$kernel.verdict"; return; fi
    release=${place##*/}
    if [ "$kernel" != newest ] && [ "$(printf '%s\n' "$kernel" $oldest | sort -V | head -n 1)" != $oldest ]; then expect=refusal; fi
    [ "$home/$release.cpio" -nt "$here/image.sh" ] || "$here/image.sh" modules "$release"
    say "$kernel: $release boots (after $((SECONDS - begin)) s)"
    for try in 1 2; do
        verdict=$(boot "$kernel" "$release" "$expect")
        [ -z "$verdict" ] || break
        say "$kernel: the guest ended without a verdict (try $try): $(tail -c 300 "$home/$kernel.log" | tr -d '\r' | tail -n 2 | tr '\n' ' ')"
        [ ! -s "$home/$kernel.qemu" ] || cat "$home/$kernel.qemu"
    done
    echo "${verdict:-FAILED $kernel ended twice without a verdict}" > "$home/$kernel.verdict"
    say "$kernel: $(cat "$home/$kernel.verdict") ($((SECONDS - begin)) s in all)"
}

progress() {
    local kernel
    for kernel in $kernels; do
        [ -s "$home/$kernel.log" ] && [ ! -e "$home/$kernel.verdict" ] || continue
        say "$kernel: $(grep -ac ' ok.$' "$home/$kernel.log") tests passed, at $(grep -ao '^test [^ ]*' "$home/$kernel.log" | tail -n 1 | cut -d' ' -f2)"
    done
}

say "packing the tests (slice $slice of them)"
list=$(executables)
[ -n "$list" ] || { tail -n 20 "$home/build.log"; die "cargo names no test executables"; }
# shellcheck disable=SC2086 # one word an executable
"$here/image.sh" tests netpol-ebpf=target/release/netpol-ebpf netpol-ebpf-other=$other $list
started=()
# Whatever ends this script ends the guests.
trap 'for process in "${started[@]}"; do kill -- "-$process" 2>/dev/null || true; done' EXIT
for kernel in $kernels; do
    rm -f "$home/$kernel.verdict" "$home/$kernel.log"
done
# A process group of their own, so that one signal reaches them all.
set -m
(
    set +m
    for kernel in $kernels; do
        while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do sleep 0.5; done
        prove "$kernel" &
    done
    wait
) &
started+=($!)
set +m
last=$SECONDS
while kill -0 "${started[0]}" 2>/dev/null; do
    sleep 1
    if [ $((SECONDS - last)) -ge 60 ]; then progress; last=$SECONDS; fi
done
started=()

failed=0
say "$SECONDS s in all; consoles: target/kernels/KERNEL.log"
for kernel in $kernels; do
    verdict=$(cat "$home/$kernel.verdict" 2>/dev/null || echo "FAILED $kernel has no verdict")
    printf '  %-7s %s\n' "$kernel" "$verdict"
    tr -d '\r' < "$home/$kernel.log" 2>/dev/null | sed -nE 's/^(.*\.\.\. )?(SKIPPED .*)/          \2/p; s/^NETPOL kernel said: /          kernel: /p; s/^NETPOL end /          /p' || true
    case $verdict in OK* | "NOT AVAILABLE"*) ;; *) failed=1 ;; esac
done
exit $failed
