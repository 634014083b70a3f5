#!/usr/bin/env bash
# Boots Debian's kernels under qemu and runs the tests that a kernel can change: program loads, differential, packets, trouble.
#
# Usage: tests/kernels/run.sh [KERNEL…]    a series ("6.1") or "newest"; one below the oldest supported must be refused by the daemon;
#                                          with "-rt" behind it ("6.12-rt", "newest-rt") its PREEMPT_RT build
#   JOBS=n             kernels at a time (default: one a processor)
#   ONLY=EXECUTABLE    this test executable alone;  FILTER=TEXT  these tests of it
#   SLICE=K/N          every N-th test, from the K-th on (default 1/1: all); of an executable with fewer than N tests some slices have none
#   GUEST_LIMIT=s      how long one guest may take (default 7200)
#   GUEST_NICE=n       how far the guests stand back behind everything else on this machine (nice(1); default 0)
#   ACCEL=NAME         qemu's accelerator; default tcg, which works everywhere
#
# Each test executable has a guest of its own, whose verdict is its last line, and nothing else. A guest that ends without one is booted
# once more; one that says FAILED is not. The consoles of a kernel's guests are kept, one behind the other: target/kernels/KERNEL.log
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

boot() { # KERNEL RELEASE SETTING…: appends to the kernel's console, says the guest's verdict
    local kernel=$1 release=$2 log=$home/$1.log before try verdict
    shift 2
    for try in 1 2; do
        before=$(stat -c %s "$log" 2>/dev/null || echo 0)
        cat "$home/tests.cpio" "$home/$release.cpio" > "$home/$kernel.initrd"
        nice -n "${GUEST_NICE:-0}" timeout --foreground -k 10 "$limit" qemu-system-x86_64 -M q35 -accel "${ACCEL:-tcg}" -cpu max -smp 1 -m 1536 -no-reboot -nic none \
            -display none -monitor none -serial stdio -kernel "$home/$release/vmlinuz" -initrd "$home/$kernel.initrd" \
            -append "console=ttyS0 panic=-1 quiet mitigations=off noapic ${*/#/netpol.}" \
            >> "$log" < /dev/null 2> "$home/$kernel.qemu" || true
        rm -f "$home/$kernel.initrd"
        tail -c "+$((before + 1))" "$log" | tr -d '\r' > "$home/$kernel.guest"
        verdict=$(grep -a '^NETPOL-VERDICT ' "$home/$kernel.guest" | tail -n 1 | cut -d' ' -f2-) || true
        if [ -n "$verdict" ]; then
            echo "$verdict"
            return
        fi
        # The kernel's last words stand before a page of registers.
        say "$kernel: a guest ended without a verdict ($*; try $try): $(grep -aE 'Kernel panic|Oops|BUG:|Out of memory' "$home/$kernel.guest" | tail -n 3 | tr '\n' ' ')" >&2
        [ ! -s "$home/$kernel.qemu" ] || cat "$home/$kernel.qemu" >&2
    done
    echo "FAILED $release ${1#executable=}/without-a-verdict"
}

# Each test executable has a guest of its own: what one leaves behind, or tears down, is nothing to the next.
boot_each() { # KERNEL RELEASE: one verdict of all of them
    local kernel=$1 release=$2 name verdict passed=0 skipped=0 failed=
    for name in $names; do
        verdict=$(boot "$kernel" "$release" "executable=$name" "filter=${FILTER-}" "slice=$slice" "patience=$patience" "small=$small" "rounds=$rounds" "threads=$threads")
        say "$kernel: $name: $verdict" >&2
        case $verdict in
            "OK "*)
                passed=$((passed + $(sed -n 's/.* passed=\([0-9]*\).*/\1/p' <<< "$verdict")))
                skipped=$((skipped + $(sed -n 's/.* skipped=\([0-9]*\).*/\1/p' <<< "$verdict")))
                ;;
            "NONE "*) ;;
            *) failed="$failed ${verdict#"FAILED $release "}" ;;
        esac
    done
    if [ -n "$failed" ]; then
        echo "FAILED $release$failed"
    elif [ "$passed" -eq 0 ]; then
        echo "FAILED $release no test ran"
    else
        echo "OK $release slice=$slice passed=$passed skipped=$skipped"
    fi
}

# One kernel from the archive to its verdict, which goes to KERNEL.verdict.
prove() {
    local kernel=$1 place release code=0 begin=$SECONDS
    place=$("$here/fetch.sh" "$kernel") || code=$?
    if [ "$code" -eq 4 ]; then echo "NOT AVAILABLE: the archive holds no kernel $kernel any more" > "$home/$kernel.verdict"; return; fi
    if [ "$code" -ne 0 ]; then echo "FAILED $kernel could not be fetched" > "$home/$kernel.verdict"; return; fi
    release=${place##*/}
    [ "$home/$release.cpio" -nt "$here/image.sh" ] || "$here/image.sh" modules "$release"
    say "$kernel: $release boots (after $((SECONDS - begin)) s)"
    if [ "$kernel" != newest ] && [ "$(printf '%s\n' "$kernel" $oldest | sort -V | head -n 1)" != $oldest ]; then
        boot "$kernel" "$release" expect=refusal > "$home/$kernel.verdict.new"
    else
        boot_each "$kernel" "$release" > "$home/$kernel.verdict.new"
    fi
    mv "$home/$kernel.verdict.new" "$home/$kernel.verdict"
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
names=$(sed 's/=.*//' <<< "$list" | grep -vxF -f <(awk '$2 == "*" { print $1 }' "$here/exclude"))
if [ -n "${ONLY-}" ]; then
    names=$(grep -xF "$ONLY" <<< "$names") || die "no test executable $ONLY has tests for guests"
fi
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
