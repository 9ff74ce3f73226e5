#!/bin/sh
# Installs what is missing, builds, and serves the shipped model on 127.0.0.1:8080: sh scripts/run.sh [OPTION...]
# The options are those of `mlpd serve`; --help lists them.
set -eu
unset MAKEFLAGS MFLAGS # a calling make's jobs are its own; what was set on its command line is in the environment
root=$(cd "$(dirname "$0")/.." && pwd)

sh "$root/scripts/install-deps.sh" run
# The release program, whatever flavour a calling make builds.
make -s -C "$root" -j"$(getconf _NPROCESSORS_ONLN)" SAN= build/mlpd >&2
exec "$root/build/mlpd" serve "$@"
