#!/bin/sh
# Installs what is missing, builds, and serves the shipped model on 127.0.0.1:8080: sh scripts/run.sh [OPTION...]
# The options are those of `mlpd serve`; --help lists them.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)

sh "$root/scripts/install-deps.sh" run
# The release program, whatever flavour a calling make builds.
case ${MAKEFLAGS:-} in *jobserver*) jobs= ;; *) jobs=-j$(getconf _NPROCESSORS_ONLN) ;; esac
# shellcheck disable=SC2086 # no jobs, no argument
make -s -C "$root" $jobs SAN= build/mlpd >&2
exec "$root/build/mlpd" serve "$@"
