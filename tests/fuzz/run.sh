#!/usr/bin/env bash
# Builds the fuzz targets and runs each for a while, two at a time.
#
# Usage: tests/fuzz/run.sh [TARGET…]
# FUZZ_SECONDS: how long each runs (60). FUZZ_JOBS: how many at a time (2).
#
# This is what `cargo fuzz run --sanitizer none` does, with a stable toolchain and without that tool: the compiler's own coverage
# passes, and libFuzzer from the crate libfuzzer-sys. New inputs are kept below target/ and not in the repository; an input that
# fails is written to artifacts/ and belongs into crashes/TARGET, where daemon/tests/corpus.rs replays it for ever.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${FUZZ_SECONDS:-60}
jobs=${FUZZ_JOBS:-2}
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    targets=(policy set_files netlink events control journal)
fi

host=$(../cargo.sh -vV | sed -n 's/^host: //p')
flags="--cfg fuzzing -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$option"
done
# The flags count only for this target: build scripts and what they need are those of `make build`, in the same folder.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$(cd ../.. && pwd)/target}
RUSTFLAGS="$flags" ../cargo.sh build --release --locked --target "$host" --bins
scratch=$CARGO_TARGET_DIR/fuzz

run() { # TARGET
    local target=$1 arguments=()
    mkdir -p "$scratch/corpus/$target" "artifacts/$target"
    for folder in "$scratch/corpus/$target" "corpus/$target" "crashes/$target"; do
        [ ! -d "$folder" ] || arguments+=("$folder")
    done
    [ "$target" != policy ] || arguments+=(-dict=toml.dict)
    # An input that takes ten seconds, or memory without end, is a failure like a panic.
    if ! "$CARGO_TARGET_DIR/$host/release/$target" "${arguments[@]}" -artifact_prefix="artifacts/$target/" -max_total_time="$seconds" \
        -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 >"$scratch/$target.log" 2>&1; then
        tail -n 60 "$scratch/$target.log"
        echo "fuzz: $target FAILED; its input is in tests/fuzz/artifacts/$target" >&2
        return 1
    fi
    local runs coverage
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$scratch/$target.log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$scratch/$target.log" | tail -n 1)
    echo "fuzz: $target: $runs inputs in $seconds s, $coverage edges, no failure"
}

failed=0
for ((first = 0; first < ${#targets[@]}; first += jobs)); do
    processes=()
    for target in "${targets[@]:first:jobs}"; do
        run "$target" &
        processes+=($!)
    done
    for process in "${processes[@]}"; do
        wait "$process" || failed=1
    done
done
exit $failed
