#!/bin/sh
# Installs what is missing, builds, and runs every test: sh scripts/test.sh [unit] [integration]
#
# SAN=address or SAN=thread in the environment tests the program built with that sanitizer. All tests run, also after a
# failure. The end repeats what was skipped and why, and counts; the exit status is 0 only when every test passed.
set -eu
unset MAKEFLAGS MFLAGS # a calling make's jobs are its own; what was set on its command line is in the environment
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

SAN=${SAN:-}
PYTHON=${PYTHON:-/usr/bin/python3}
folder=build/${SAN:-release}
log=$folder/test.log
passed=0 failed=0 skipped=0

# The sanitizers stop at the first finding and tell a test's own failure (1) from theirs by the exit status.
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:exitcode=99}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
tsan_options="suppressions='$root/tests/tsan.supp':second_deadlock_stack=1:halt_on_error=1:exitcode=99"
export TSAN_OPTIONS="${TSAN_OPTIONS:-$tsan_options}"

# A kernel that scatters addresses widely leaves no room where ThreadSanitizer wants its shadow, so it runs without.
unscattered() {
    if [ "$SAN" = thread ] && setarch "$(uname -m)" -R true 2>/dev/null; then
        setarch "$(uname -m)" -R "$@"
    else
        "$@"
    fi
}

# Runs a command with its output on the terminal and in the file $1, and returns the command's own status.
logged() {
    file=$1
    shift
    { status=0; unscattered "$@" || status=$?; echo "$status" >"$file.status"; } 2>&1 | tee "$file"
    cat "$file" >>"$log"
    return "$(cat "$file.status")"
}

build() {
    case $1 in unit) goal=unit-programs ;; *) goal=all ;; esac
    make -s -j"$(getconf _NPROCESSORS_ONLN)" SAN="$SAN" $goal
}

count() {
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
}

# Counts what libcheck's line says ("100%: Checks: 7, Failures: 0, Errors: 0"); a check that printed a SKIP line counts
# as skipped. A program that ends badly without a failed check has failed too.
count_unit() {
    checks=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$1")
    # shellcheck disable=SC2086 # three numbers, or nothing
    set -- "$1" "$2" ${checks:-0 0 0}
    bad=$(($4 + $5))
    skips=$(sed -n 's/^SKIP \([^:]*\):.*/\1/p' "$1" | sort -u | wc -l)
    [ "$skips" -le $(($3 - bad)) ] || skips=$(($3 - bad))
    count $(($3 - bad - skips)) "$bad" "$skips"
    if [ "$3" -eq 0 ] || { [ "$2" -ne 0 ] && [ "$bad" -eq 0 ]; }; then
        echo "FAIL: $1: exit status $2 after $3 checks" | tee -a "$log"
        count 0 1 0
    fi
}

run_unit() {
    for source in tests/unit/*/test_*.c; do
        program=$folder/${source%.c}
        status=0
        logged "$program.log" "$program" || status=$?
        count_unit "$program.log" "$status"
    done
}

# The number that pytest's report gives for $1: tests, failures, errors or skipped.
reported() {
    sed -n "s/.*<testsuite [^>]*[ ]$1=\"\([0-9]*\)\".*/\1/p" "$folder/integration.xml"
}

run_integration() {
    export TEST_BINARY="$root/$folder/mlpd"
    status=0
    rm -f "$folder/integration.xml"
    logged "$folder/integration.log" "$PYTHON" -B -m pytest -q -rsfE -p no:cacheprovider \
        --junitxml="$folder/integration.xml" tests/integration || status=$?
    if [ ! -s "$folder/integration.xml" ] || [ "$(reported tests)" -eq 0 ]; then
        echo "FAIL: tests/integration: pytest ended with $status and ran no test" | tee -a "$log"
        count 0 1 0
        return
    fi
    bad=$(($(reported failures) + $(reported errors)))
    [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    count $(($(reported tests) - bad - $(reported skipped))) "$bad" "$(reported skipped)"
}

if [ $# -eq 0 ]; then set -- unit integration; fi
for part in "$@"; do
    case $part in unit | integration) ;; *) echo "test: '$part' is neither unit nor integration" >&2 && exit 2 ;; esac
done

sh scripts/install-deps.sh run test ${SAN:+sanitize}
mkdir -p "$folder"
: >"$log"
for part in "$@"; do
    echo "== $part tests${SAN:+, $SAN sanitizer}"
    build "$part"
    "run_$part"
done

echo "== summary${SAN:+, $SAN sanitizer}"
grep '^SKIP' "$log" || true
echo "$passed passed, $failed failed, $skipped skipped" | tee "$folder/test.counts"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
