#!/bin/sh
# Checks what the layout promises: sh scripts/check-layers.sh [LIBRARY]
#
#   - includes never point up: server -> engine -> kernels
#   - each foreign library's header is included only in its home
#   - with LIBRARY (build/FLAVOUR/libmlpd.a): every function that other files can see is declared in a header
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
bad=0

# Complains with $1 about each line that comes in.
refuse() {
    found=$(cat)
    [ -n "$found" ] || return 0
    echo "$found" | sed "s|\$|   <- $1|"
    bad=1
}

# Prints FILE:LINE:TEXT of the includes of $1, a pattern, in the C files of the folders that follow.
includes_of() {
    pattern=$1
    shift
    find "$@" -name '*.[ch]' -exec grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$pattern" /dev/null {} + || true
}

# Refuses the includes of $1 in the product outside the files that match $2.
keep_home() {
    refuse "$1 belongs in $2 alone" <<LINES
$(includes_of "$1" server engine kernels | grep -Ev "^($2):" || true)
LINES
}

refuse "kernels/ knows nothing of the layers above" <<LINES
$(includes_of '(\.\./)?(server|engine|tests)/' kernels)
LINES
refuse "engine/ knows nothing of server/" <<LINES
$(includes_of '(\.\./)?(server|tests)/' engine)
LINES
refuse "server/ knows nothing of tests/, and kernels/ only through engine/" <<LINES
$(includes_of '(\.\./)?(kernels|tests)/' server)
LINES
refuse "a path to a header starts at the repository's root" <<LINES
$(includes_of '\.\./' server engine kernels tests)
LINES

keep_home 'microhttpd\.h' 'server/http[a-z0-9_]*\.[ch]'
keep_home 'stb/' 'server/image[a-z0-9_]*\.c'
keep_home 'cjson/' '(server|engine)/[a-z0-9_]*json[a-z0-9_]*\.[ch]'
keep_home 'zlib\.h' '(engine/crc32\.h|server/(inflate|image_png_gray)\.c)'
keep_home '(protobuf-c/|engine/onnx_schema)' 'engine/onnx[a-z0-9_]*\.[ch]'
keep_home '(immintrin|x86intrin|arm_neon)\.h' 'kernels/cpu_[a-z0-9_]*\.[ch]'
keep_home '(cuda|cublas|cudnn)[a-z_]*\.h' '(kernels|engine)/[a-z0-9_]*cuda[a-z0-9_]*\.[ch]'

if [ $# -gt 0 ]; then
    for symbol in $(nm -g --defined-only "$1" | sed -n 's/^[0-9a-f]* [TDBR] //p'); do
        grep -qw "$symbol" server/*.h engine/*.h kernels/*.h build/generated/engine/*.h || echo "$symbol"
    done >build/undeclared.txt
    refuse "declare it in a header, or make it static" <build/undeclared.txt
fi
exit $bad
