#!/bin/sh
# Makes every call of mlpd's own that can fail fail once: sh scripts/inject.sh [pytest's options]
#
# tests/inject/calls.h lists the calls. The program is that of the address and undefined sanitizers, linked a second time.
set -eu
unset MAKEFLAGS MFLAGS # a calling make's jobs are its own
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
program=build/address/tests/inject/mlpd
report=build/address/inject.xml

export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:exitcode=99}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"

sh scripts/install-deps.sh run test sanitize
make -s -j"$(getconf _NPROCESSORS_ONLN)" SAN=address "$program"
status=0
TEST_BINARY="$root/$program" "${PYTHON:-/usr/bin/python3}" -B -m pytest -q -rsfE -p no:cacheprovider --tb=short \
    --junitxml="$report" tests/inject "$@" || status=$?

# The counts, for whoever adds up the parts of a run.
number() {
    sed -n "s/.*<testsuite [^>]*[ ]$1=\"\([0-9]*\)\".*/\1/p" "$report"
}
mkdir -p build/inject
bad=$(($(number failures) + $(number errors)))
echo "$(($(number tests) - bad - $(number skipped))) passed, $bad failed, $(number skipped) skipped" >build/inject/test.counts
exit "$status"
