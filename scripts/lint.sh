#!/bin/sh
# Everything that judges the source without running it: sh scripts/lint.sh
#
# Installs the tools that are missing. All checks run, also after one has failed; the last line names those that did.
set -eu
unset MAKEFLAGS MFLAGS # a calling make's jobs are its own; what was set on its command line is in the environment
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
failed=

check() {
    name=$1
    shift
    echo "== $name"
    "$@" || failed="$failed $name"
}

# Everything, tests and fuzz targets too, by the compiler $1 with warnings as errors, in a folder of its own.
compile_with() {
    make -s -k -j"$cores" SAN= B="build/lint-$1" CC="$1" CFLAGS=-Werror objects "build/lint-$1/libmlpd.a"
}

format_c() {
    find server engine kernels tests -name '*.[ch]' -exec clang-format --dry-run -Werror {} +
}

run_cppcheck() {
    mkdir -p build/cppcheck
    cppcheck --quiet --error-exitcode=1 --inline-suppr --suppressions-list=scripts/cppcheck.txt \
        --enable=warning,performance,portability --std=c11 --language=c --platform=unix64 --max-configs=1 \
        -D_GNU_SOURCE -D__x86_64__ -D__GNUC__=12 --template=gcc -I. -j"$cores" --cppcheck-build-dir=build/cppcheck \
        server engine kernels
}

check_shell() {
    shellcheck scripts/*.sh .ci/run
}

# Compiles Python in memory: no __pycache__ is left.
check_python() {
    find scripts tests -name '*.py' -exec "${PYTHON:-/usr/bin/python3}" -B -c '
import sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        compile(file.read(), path, "exec")
' {} +
}

sh scripts/install-deps.sh run test lint
cores=$(getconf _NPROCESSORS_ONLN)

check gcc compile_with gcc
check clang compile_with clang
check layers sh scripts/check-layers.sh build/lint-gcc/libmlpd.a
check clang-tidy make -s -k -j"$cores" SAN= tidy
check cppcheck run_cppcheck
check clang-format format_c
check shellcheck check_shell
check python check_python

[ -z "$failed" ] || { echo "lint: failed:$failed" && exit 1; }
echo "lint: all clean"
