#!/usr/bin/env bash
# tflm_library.sh TFLM FLATBUFFERS GEMMLOWP RUY OUT: builds TensorFlow Lite Micro with its reference kernels for this machine from its sources and those it
# needs, folders with what git has of them, into OUT/libtensorflow-microlite.a, with the compiler CXX (g++). Then it prints what the test of optimizer/bundle
# that compiles bundles with these sources and runs them takes:
#
#   eval "$(hack/peers/tflm_library.sh tflite-micro flatbuffers gemmlowp ruy /tmp/tflm)" && go test ./optimizer/bundle -run AnswerAsTFLM -v
#
# TFLM's Makefile makes the same library and fetches the other three itself; FLATBUFFERS has to be the version that its flatbuffers_download.sh names.
set -euo pipefail
[ $# = 5 ] || { sed -n '2,/^set/{/^#/p}' "$0" >&2; exit 64; }
tflm=$(realpath "$1") flatbuffers=$(realpath "$2")/include gemmlowp=$(realpath "$3") ruy=$(realpath "$4")
mkdir -p "$5"
out=$(realpath "$5")
includes=$tflm:$flatbuffers:$gemmlowp:$ruy
export OUT=$out COMPILE="${CXX:-g++} -std=c++17 -O2 -w -fno-exceptions -fno-rtti -DTF_LITE_STATIC_MEMORY -DTF_LITE_DISABLE_X86_NEON -I${includes//:/ -I}"

cd "$tflm"
compile() { # a source, unless its object is newer
  local object
  object=$OUT/${1//\//_}.o
  [ "$object" -nt "$1" ] || { $COMPILE -c "$1" -o "$object.part" && mv "$object.part" "$object"; }
}
export -f compile
{
  find tensorflow \( -path tensorflow/lite/micro -o -path tensorflow/lite/experimental \) -prune -o -name '*.cc' ! -path tensorflow/lite/array.cc -print
  ls tensorflow/lite/micro/{,arena_allocator/,memory_planner/,tflite_bridge/,kernels/}*.cc
} | grep -v -e _test -e test_helper -e testdata -e generated_data -e mock_micro -e python -e hexdump |
  xargs -P "$(nproc)" -I SOURCE bash -c 'compile SOURCE'
ar rcs "$out/libtensorflow-microlite.a" "$out"/*.o
echo "export ESPALIER_TFLM_INCLUDES=$includes ESPALIER_TFLM_LIBRARY=$out/libtensorflow-microlite.a"
