#!/bin/sh
# Runs one target as `cargo fuzz run` does, where that is not installed:
#     tests/fuzz/run.sh delta -max_total_time=600
# Needs a nightly compiler and a C++ compiler. The first directory that libFuzzer is given
# takes new inputs; the corpus in the tree is the second.
#
# On 2026-11-20 and 21 each ran for an hour (3,701 s, beside other work) on a 2 vCPU VM
# without a finding: `delta` 110,231,792 times, `resolve` 16,322,916 times, and 5,285,014 times
# in an hour more after whole paths were looked up at once. The corpus of `resolve` covers
# what the first hour found. On 2026-11-28 `resolve` ran for another hour, 1,456,622 times
# beside much other work, without a finding; `delta` found within minutes that 585 bytes can
# take 40 s to read (holes of 64 GiB; 8 GiB are the bound now, and it is in the corpus), and
# then ran for an hour, 61,582,015 times, without a finding. Without a sanitizer, because no
# code here is unsafe.
set -eu
cd "$(dirname "$0")"
target=$1
shift
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1"
cargo +nightly build --release --target "$host" --bin "$target"
found=${CARGO_TARGET_DIR:-target}/found-$target
mkdir -p "$found" artifacts
dictionary=$target.dict
[ ! -e "$dictionary" ] || set -- -dict="$dictionary" "$@"
exec "${CARGO_TARGET_DIR:-target}/$host/release/$target" -artifact_prefix="artifacts/$target-" \
    "$@" "$found" "corpus/$target"
