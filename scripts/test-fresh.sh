#!/bin/sh
# Proves the newcomer's two commands in a fresh Debian 12 that has nothing but this repository:
#
#     sh scripts/test-fresh.sh                  the last commit
#     sh scripts/test-fresh.sh --working-tree   what lies here, uncommitted changes too
#
# Root of a minimal system first tests and then serves; an ordinary user with sudo first serves and then tests. Each
# time the picture of a boot must be class 9, and a second installation must change nothing. Needs root itself (for
# mmdebstrap, chroot and namespaces), else it says SKIP and ends with 77. The minimal system is kept in
# build/fresh/bookworm.tar for the next run; everything else is removed, and every process ended, however this ends.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"

if [ "$(id -u)" -ne 0 ]; then
    echo "SKIP test-fresh: it needs root, for mmdebstrap, chroot and namespaces"
    exit 77
fi
case ${1:-} in
    '' | --working-tree) ;;
    *) echo "usage: sh scripts/test-fresh.sh [--working-tree]" >&2 && exit 2 ;;
esac

sh scripts/install-deps.sh fresh
base=$root/build/fresh/bookworm.tar
work=$(mktemp -d /var/tmp/mlpd-fresh.XXXXXX)
fresh=$work/root
job=

# What runs inside has process and mount namespaces of its own: with their first process all of it is gone.
cleanup() {
    if [ -n "$job" ]; then
        pkill -KILL -P "$job" || true
        wait "$job" || true
    fi
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail() {
    echo "FAIL test-fresh: $*" >&2
    exit 1
}

headline() {
    printf '\n#### fresh Debian 12, %s\n' "$*"
}

# --- Making the fresh system ---

# How this machine's apt reaches its packages: a proxy, dates not to check, and the like. It is only ever written into
# the fresh system, never into the repository.
apt_settings() {
    apt-config dump | grep -E '^Acquire::(http|https|Check-Valid-Until|Check-Date|Retries|ForceIPv4|ForceIPv6)[: ]' || true
    [ -z "${http_proxy:-}" ] || echo "Acquire::http::Proxy \"$http_proxy\";"
    [ -z "${https_proxy:-}" ] || echo "Acquire::https::Proxy \"$https_proxy\";"
}

make_base() {
    [ ! -s "$base" ] || return 0
    mkdir -p "$(dirname "$base")"
    # shellcheck disable=SC2016 # mmdebstrap expands $1
    mmdebstrap --variant=minbase --format=tar --aptopt="$work/apt.conf" \
        --customize-hook='rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"' bookworm "$base.new"
    mv "$base.new" "$base"
}

# The packages come from where this machine has them from, if it is a Debian 12 too.
carry_apt() {
    cp "$work/apt.conf" "$fresh/etc/apt/apt.conf.d/99carried"
    cp -L /etc/resolv.conf "$fresh/etc/resolv.conf"
    grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || return 0
    for list in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
        if [ -s "$list" ]; then
            rm -f "$fresh/etc/apt/sources.list"
            cp "$list" "$fresh/etc/apt/sources.list.d/carried.${list##*.}"
        fi
    done
}

make_fresh() {
    rm -rf --one-file-system "$fresh"
    mkdir "$fresh"
    tar -xpf "$base" --numeric-owner -C "$fresh"
    # Every machine and container names its loopback; mmdebstrap leaves that to them.
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$fresh/etc/hosts"
    carry_apt
}

# Copies the repository into the home $1 of the user $2.
copy_repository() {
    mkdir "$fresh$1/mlpd"
    tar -xf "$work/repository.tar" -C "$fresh$1/mlpd"
    chroot "$fresh" chown -R "$2:$2" "$1/mlpd"
}

# --- Running in it ---

# Starts the shell text $3 in the copy as user $1 with home $2: with a login's environment and without input.
start() {
    unshare --mount --pid --fork --mount-proc="$fresh/proc" chroot "$fresh" /usr/bin/env -C "$2/mlpd" \
        setpriv --reuid="$1" --regid="$1" --init-groups --reset-env sh -euc "$3" </dev/null &
    job=$!
}

# The same, and waits for its end. (A signal ends a wait, but not a command in the foreground.)
inside() {
    start "$@"
    status=0
    wait "$job" || status=$?
    job=
    return $status
}

# Sets port and option. The network is this machine's own, where something else may have the usual port.
choose_port() {
    port=8080 option=
    while status=0 && curl -s -m 5 -o "$work/ignored" "http://127.0.0.1:$port/" || status=$? && [ $status -ne 7 ]; do
        port=$((port + 1))
        option="--port $port"
    done
    [ -z "$option" ] || echo "(port 8080 is taken here, so: sh scripts/run.sh $option)"
}

# As user $1 with home $2, serves by run.sh until the outside has had the answer to a picture.
serve() {
    choose_port
    # shellcheck disable=SC2016 # the shell inside expands these
    start "$1" "$2" '
        rm -f ~/stop
        sh scripts/run.sh '"$option"' &
        server=$!
        until [ -e ~/stop ]; do kill -0 $server && sleep 0.2; done
        kill $server
        status=0
        wait $server || status=$?
        [ $status -eq 0 ] || [ $status -eq 143 ]'
    tries=0
    until curl -sf -o "$work/ready" "http://127.0.0.1:$port/readyz"; do
        kill -0 "$job" 2>/dev/null || fail "run.sh ended before it served, see above"
        tries=$((tries + 1))
        [ $tries -lt 1200 ] || fail "run.sh does not serve after ten minutes"
        sleep 0.5
    done
    answer=$(curl -sS --data-binary "@$fresh$2/mlpd/config/pictures/boot.png" "http://127.0.0.1:$port/predict")
    echo "$answer"
    : >"$fresh$2/stop"
    wait "$job" || fail "the server did not end well after SIGTERM"
    job=
    case $answer in
        '{"model":"fashion-mnist","version":"1","class":9,"label":"Ankle boot",'*) ;;
        *) fail "the picture of a boot should be class 9" ;;
    esac
}

test_all() {
    inside "$1" "$2" 'sh scripts/test.sh' || fail "test.sh"
}

# A second installation changes nothing and says nothing.
install_again() {
    before=$(cksum <"$fresh/var/log/apt/history.log")
    said=$(inside "$1" "$2" 'sh scripts/install-deps.sh run test 2>&1') || fail "install-deps.sh, the second time: $said"
    [ -z "$said" ] || fail "install-deps.sh said the second time: $said"
    [ "$before" = "$(cksum <"$fresh/var/log/apt/history.log")" ] || fail "apt did something the second time"
}

# --- The two newcomers ---

root_tests_then_serves() {
    make_fresh
    copy_repository /root root
    headline 'root: sh scripts/test.sh'
    test_all root /root
    headline 'root: sh scripts/run.sh'
    serve root /root
    install_again root /root
}

user_serves_then_tests() {
    make_fresh
    headline 'adding an ordinary user with sudo'
    chroot "$fresh" sh -euc 'apt-get -q -y update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install \
        --no-install-recommends sudo && useradd --create-home newcomer' >"$work/sudo.log" 2>&1 </dev/null ||
        { cat "$work/sudo.log" && fail "no sudo"; }
    echo 'newcomer ALL=(ALL) NOPASSWD: ALL' >"$fresh/etc/sudoers.d/newcomer"
    copy_repository /home/newcomer newcomer
    headline 'a user with sudo: sh scripts/run.sh'
    serve newcomer /home/newcomer
    headline 'a user with sudo: sh scripts/test.sh'
    test_all newcomer /home/newcomer
    install_again newcomer /home/newcomer
}

apt_settings >"$work/apt.conf"
if [ "${1:-}" = --working-tree ]; then
    git ls-files -z --cached --others --exclude-standard |
        tar --null --ignore-failed-read -cf "$work/repository.tar" -T -
else
    git archive --output="$work/repository.tar" HEAD
fi
make_base
root_tests_then_serves
user_serves_then_tests
headline 'both newcomers were served, and every test passed'
