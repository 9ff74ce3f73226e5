#!/bin/sh
# Replays the known crashes and then fuzzes: sh scripts/fuzz.sh [NAME...] (all targets without a name)
#
# FUZZ_SECONDS is the time for each target (10). Seeds come from tests/fuzz/seeds/NAME; what libFuzzer finds worth
# keeping stays in build/fuzz/corpus/NAME for the next run, and an input that crashes in build/fuzz/crashes/NAME.
# `make fuzz` builds the targets first.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
seconds=${FUZZ_SECONDS:-10}

replay_known_crashes() {
    folder=tests/fuzz/regression/$1
    [ -d "$folder" ] || return 0
    "build/fuzz/tests/fuzz/fuzz_$1" -runs=1 "$folder"/* >"build/fuzz/$1.log" 2>&1 || {
        cat "build/fuzz/$1.log"
        echo "fuzz: $1 fails again on a crash of tests/fuzz/regression/$1"
        return 1
    }
}

fuzz() {
    corpus=build/fuzz/corpus/$1
    crashes=build/fuzz/crashes/$1
    seeds=tests/fuzz/seeds/$1
    mkdir -p "$corpus" "$crashes"
    [ -d "$seeds" ] || { echo "fuzz: $1 has no seeds in $seeds" && return 1; }
    "build/fuzz/tests/fuzz/fuzz_$1" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$crashes/" "$corpus" "$seeds" >"build/fuzz/$1.log" 2>&1 || {
        tail -n 60 "build/fuzz/$1.log"
        echo "fuzz: $1 failed; replay it with build/fuzz/tests/fuzz/fuzz_$1 $crashes/FILE"
        echo "fuzz: keep that file in tests/fuzz/regression/$1 with its fix"
        return 1
    }
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$1.log")
    echo "fuzz: $1: ${runs:-no} inputs in $seconds s"
    [ "${runs:-0}" -gt 0 ]
}

if [ $# -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.c; do
        [ -e "$source" ] || { echo "fuzz: no target in tests/fuzz" && exit 1; }
        name=${source#tests/fuzz/fuzz_}
        set -- "$@" "${name%.c}"
    done
fi
bad=
for name in "$@"; do
    replay_known_crashes "$name" && fuzz "$name" || bad="$bad $name"
done
[ -z "$bad" ] || { echo "fuzz: failed:$bad" && exit 1; }
