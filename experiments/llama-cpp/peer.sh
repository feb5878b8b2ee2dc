#!/usr/bin/env bash
# Fetches and builds llama.cpp for comparison. The source is from PyPI, in
# llama-cpp-python. The tools are built twice: for this machine, and for AVX2 alone.
#
#   bash experiments/llama-cpp/peer.sh [FOLDER]        (default: target/llama-cpp)
#
# LLAMA_CPP_SOURCE names a checkout to build instead. JOBS is the number of parallel
# compilers. LLAMA_CPP_FLAGS gives additional compiler flags. If llama.cpp's AMX code ends
# in an illegal instruction, use "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16".
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../../target/llama-cpp}
mkdir -p "$out"
out=$(cd "$out" && pwd)
release=llama-cpp-python==0.3.36
jobs=${JOBS:-$(nproc)}

if [ ! -x "$out/venv/bin/ninja" ]; then
    python3 -m venv "$out/venv"
    "$out/venv/bin/pip" install --quiet cmake ninja
fi
export PATH=$out/venv/bin:$PATH

source=${LLAMA_CPP_SOURCE:-$out/source/vendor/llama.cpp}
if [ ! -f "$source/CMakeLists.txt" ]; then
    pip download --quiet --no-deps --no-binary llama-cpp-python --dest "$out/sdist" "$release"
    mkdir -p "$out/source"
    tar --extract --gzip --strip-components=1 --directory "$out/source" \
        --file "$out"/sdist/llama_cpp_python-*.tar.gz
fi
built=$release
[ -z "${LLAMA_CPP_SOURCE:-}" ] || built="a given checkout"
echo "$built${LLAMA_CPP_FLAGS:+, compiled with $LLAMA_CPP_FLAGS}" > "$out/version"

# build NAME FLAGS... -- TARGETS...
build() {
    local folder=$out/$1 flags=()
    shift
    while [ "$1" != -- ]; do flags+=("$1"); shift; done
    shift
    cmake -S "$source" -B "$folder" -G Ninja -Wno-dev -DCMAKE_BUILD_TYPE=Release \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF \
        -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_CURL=OFF \
        -DLLAMA_OPENSSL=OFF -DGGML_CCACHE=OFF "-DCMAKE_C_FLAGS=${LLAMA_CPP_FLAGS:-}" \
        "-DCMAKE_CXX_FLAGS=${LLAMA_CPP_FLAGS:-}" "${flags[@]}" > "$folder.log"
    cmake --build "$folder" --parallel "$jobs" --target "$@" >> "$folder.log"
}
build native -DGGML_NATIVE=ON -- llama-bench llama-batched-bench llama-quantize llama-server
if [ "$(uname -m)" = x86_64 ]; then
    build avx2 -DGGML_NATIVE=OFF -DGGML_AVX512=OFF -DGGML_AVX_VNNI=OFF -DGGML_AVX2=ON \
        -DGGML_FMA=ON -DGGML_F16C=ON -- llama-bench llama-batched-bench
fi
for tool in logits tokens; do
    "${CXX:-c++}" -std=c++17 -O2 "$here/$tool.cpp" -o "$out/$tool" \
        -I"$source/include" -I"$source/ggml/include" \
        -L"$out/native/bin" -Wl,-rpath,"$out/native/bin" -lllama -lggml -lggml-base
done
echo "llama.cpp is built in $out"
