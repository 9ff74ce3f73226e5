#!/bin/sh
# Installs what mlpd needs and this machine lacks, and says what: sh scripts/install-deps.sh [GROUP...]
#
#   run       the compiler, make and the libraries (the default)
#   test      the unit test library, Python with pytest, curl
#   sanitize  the run-time libraries of gcc's sanitizers
#   lint      clang, clang-tidy, clang-format, cppcheck, shellcheck
#   fuzz      clang with libFuzzer
#   train     Python with venv and pip, for scripts/train.py
#   bench     wrk, taskset, OpenBLAS, and Python with venv and pip, for scripts/bench.py
#   fresh     mmdebstrap, for scripts/test-fresh.sh
#   deploy    promtool, for the tests of what docker/ ships for Prometheus; some systems start a Prometheus with it
#
# On Debian and its relatives apt-get does the work, as root or through sudo, and asks nothing. Elsewhere the missing
# packages are named with the one command that installs them, and the exit status is 1. With all in place it is silent.
set -eu

# What a group needs: how to see that it is there (where dpkg cannot say), and the package by each distribution's
# name. Names joined by | are alternatives, the first that exists is taken; - means that another package brings it.
TABLE='
# group  probe                     apt                         dnf                  apk                pacman          zypper
run      command:gcc               gcc                         gcc                  gcc                gcc             gcc
run      command:make              make                        make                 make               make            make
run      header:stdio.h            libc6-dev|libc-dev          glibc-devel          musl-dev           glibc           glibc-devel
run      header:microhttpd.h       libmicrohttpd-dev           libmicrohttpd-devel  libmicrohttpd-dev  libmicrohttpd   libmicrohttpd-devel
run      header:cjson/cJSON.h      libcjson-dev                cjson-devel          cjson-dev          cjson           cJSON-devel
run      header:protobuf-c/protobuf-c.h  libprotobuf-c-dev    protobuf-c-devel     protobuf-c-dev     protobuf-c      libprotobuf-c-devel
run      command:protoc-c          protobuf-c-compiler         protobuf-c-compiler  protobuf-c-compiler  -             protobuf-c
run      header:stb/stb_image.h    libstb-dev                  stb_image-devel      stb                stb             stb-devel
run      header:zlib.h             zlib1g-dev                  zlib-devel           zlib-dev           zlib            zlib-devel
test     header:check.h            check                       check-devel          check-dev          check           check-devel
test     -                         libsubunit-dev              -                    -                  -               -
test     python:pytest             python3-pytest              python3-pytest       py3-pytest         python-pytest   python3-pytest
test     python:numpy              python3-numpy               python3-numpy        py3-numpy          python-numpy    python3-numpy
test     python:PIL                python3-pil                 python3-pillow       py3-pillow         python-pillow   python3-Pillow
test     command:curl              curl                        curl                 curl               curl            curl
sanitize library:libasan.so        -                           libasan              -                  -               -
sanitize library:libubsan.so       -                           libubsan             -                  -               -
sanitize library:libtsan.so        -                           libtsan              -                  -               -
lint     command:clang             clang                       clang                clang              clang           clang
lint     command:clang-tidy        clang-tidy                  clang-tools-extra    clang-extra-tools  clang           clang-tools
lint     command:clang-format      clang-format                clang-tools-extra    clang-extra-tools  clang           clang-tools
lint     command:cppcheck          cppcheck                    cppcheck             cppcheck           cppcheck        cppcheck
lint     command:shellcheck        shellcheck                  ShellCheck           shellcheck         shellcheck      ShellCheck
fuzz     command:clang             clang                       clang                clang              clang           clang
fuzz     fuzzer:-                  libclang-rt-dev|libclang-rt-14-dev|libclang-common-14-dev  compiler-rt  compiler-rt  compiler-rt  clang
train    python:venv               python3-venv                python3              python3            python          python3
train    python:pip                python3-pip                 python3-pip          py3-pip            python-pip      python3-pip
bench    command:wrk               wrk                         wrk                  wrk                wrk             wrk
bench    command:taskset           util-linux                  util-linux           util-linux         util-linux      util-linux
bench    -                         libopenblas0                openblas             openblas           openblas        libopenblas0
bench    -                         libpython3.11|libpython3.12|libpython3.13  -           -                  -                 -
bench    python:venv               python3-venv                python3              python3            python          python3
bench    python:pip                python3-pip                 python3-pip          py3-pip            python-pip      python3-pip
fresh    command:mmdebstrap        mmdebstrap                  mmdebstrap           -                  -               -
fresh    command:curl              curl                        curl                 curl               curl            curl
fresh    command:pkill             procps                      procps-ng            procps             procps-ng       procps
deploy   command:promtool          prometheus                  golang-github-prometheus  prometheus    prometheus      golang-github-prometheus-prometheus
'
COLUMNS_OF_MANAGERS='apt dnf apk pacman zypper'

say() {
    echo "install-deps: $*" >&2
}

fail() {
    say "$@"
    exit 1
}

# Prints "PROBE PACKAGE" for each need of the chosen groups, with the package's name for manager $1.
needs_for() {
    manager=$1
    echo "$TABLE" | while read -r group probe apt dnf apk pacman zypper; do
        case " $GROUPS_WANTED " in *" $group "*) ;; *) continue ;; esac
        case $manager in
            apt) package=$apt ;;
            dnf) package=$dnf ;;
            apk) package=$apk ;;
            pacman) package=$pacman ;;
            zypper) package=$zypper ;;
            *) package=$probe ;;
        esac
        [ "$package" = - ] || echo "$probe $package"
    done | sort -u
}

# --- Debian: dpkg knows what is there ---

# Prints those of the packages (or alternatives joined by |) of which dpkg has none installed.
missing_by_dpkg() {
    # shellcheck disable=SC2046 # one word for each package is meant
    installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $(echo "$*" | tr '|' ' ') 2>/dev/null |
        sed -n 's/ installed$//p') || true
    for need in "$@"; do
        found=no
        for package in $(echo "$need" | tr '|' ' '); do
            if echo "$installed" | grep -qx "$package"; then found=yes; fi
        done
        [ $found = yes ] || echo "$need"
    done
}

# Prints the first of the alternatives that apt knows, or the first of all.
choose_by_apt() {
    for package in $(echo "$1" | tr '|' ' '); do
        if apt-cache show "$package" >/dev/null 2>&1; then
            echo "$package"
            return
        fi
    done
    echo "${1%%|*}"
}

# Runs apt-get as root, without a question. A sudo that needs a password may ask for it on a terminal, and only there.
apt_get() {
    set -- env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
    if [ "$(id -u)" -eq 0 ]; then
        "$@" >&2 </dev/null
    elif [ -t 0 ]; then
        sudo "$@" >&2
    else
        sudo -n "$@" >&2 </dev/null
    fi
}

install_with_apt() {
    # shellcheck disable=SC2046 # package names are words
    missing=$(missing_by_dpkg $(needs_for apt | sed 's/.* //'))
    [ -n "$missing" ] || return 0
    names=$(echo "$missing" | sed 's/|.*//' | tr '\n' ' ')
    command_line="apt-get install --no-install-recommends $names"
    say "missing here: $names"
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        fail "neither root nor sudo here. Run this as root, then start again: $command_line"
    fi
    apt_get update || say "apt-get update failed; trying with the package lists that are here"
    packages=$(for need in $missing; do choose_by_apt "$need"; done)
    # shellcheck disable=SC2086 # package names are words
    apt_get install --no-install-recommends $packages ||
        fail "apt-get failed, see above. By hand, as root: $command_line"
}

# --- Elsewhere: look for the things themselves ---

has_header() {
    if command -v gcc >/dev/null; then
        echo "#include <$1>" | gcc -E -x c - >/dev/null 2>&1
    else
        [ -e "/usr/include/$1" ] || [ -e "/usr/local/include/$1" ]
    fi
}

# gcc prints a path for a library that it has, and the bare name for one that it has not.
has_library() {
    case $(gcc -print-file-name="$1" 2>/dev/null) in /*) true ;; *) false ;; esac
}

has_fuzzer() {
    echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return !d && n; }' |
        clang -fsanitize=fuzzer,address -x c -o /dev/null - 2>/dev/null
}

is_there() {
    case $1 in
        command:*) command -v "${1#*:}" >/dev/null ;;
        header:*) has_header "${1#*:}" ;;
        library:*) has_library "${1#*:}" ;;
        python:*) "${PYTHON:-/usr/bin/python3}" -c "import ${1#*:}" 2>/dev/null ;;
        fuzzer:*) has_fuzzer ;;
        *) true ;;
    esac
}

manager_here() {
    for manager in $COLUMNS_OF_MANAGERS; do
        if command -v "$manager" >/dev/null; then
            echo "$manager"
            return
        fi
    done
    echo unknown
}

name_what_is_missing() {
    manager=$1
    missing=$(needs_for "$manager" | while read -r probe package; do
        is_there "$probe" || echo "${package%%|*}"
    done | sort -u | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    case $manager in
        apt | dnf) fail "missing here: ${missing}- install and start again: sudo $manager install $missing" ;;
        apk) fail "missing here: ${missing}- install and start again: sudo apk add $missing" ;;
        pacman) fail "missing here: ${missing}- install and start again: sudo pacman -S --needed $missing" ;;
        zypper) fail "missing here: ${missing}- install and start again: sudo zypper install $missing" ;;
        *) fail "missing here: ${missing}- install them with this system's package manager and start again" ;;
    esac
}

if [ $# -eq 0 ]; then set -- run; fi
for group in "$@"; do
    echo "$TABLE" | grep -q "^$group " || fail "unknown group '$group'; the groups are: run test sanitize lint fuzz train bench fresh deploy"
done
GROUPS_WANTED="$*"

if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
    install_with_apt
else
    name_what_is_missing "$(manager_here)"
fi
