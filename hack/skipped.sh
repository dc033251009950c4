#!/usr/bin/env bash
# Says which tests `make test` skips on this machine for want of material or of programs.
set -euo pipefail
cd "$(dirname "$0")/.."
material=${ESPALIER_MATERIAL:-../shared/material}
if [ ! -d "$material/models" ]; then
  echo "skipped: tests of networks and data of others' making ($material is not there, ESPALIER_MATERIAL names it), in"
  grep -rl --include='*_test.go' 'testmaterial\.' . | xargs -n1 dirname | sort -u | sed 's/^/  /'
fi
if [ ! -x "${ESPALIER_CLUSTER_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/espalier/cluster/bin}/kube-apiserver" ]; then
  echo "skipped: tests on a real control plane (make cluster-tools builds it), in"
  grep -rl --include='*_test.go' 'controlplane\.Start' . | xargs -n1 dirname | sort -u | sed 's/^/  /'
fi
for tool in versitygw helm crane; do
  [ -x "bin/$tool" ] || echo "skipped: tests that run bin/$tool (make tools builds it)"
done
command -v g++ clang++ c++ >/dev/null || echo "skipped: tests that compile firmware bundles (no C++ compiler is here), in optimizer/bundle"
[ -n "${ESPALIER_TFLM_LIBRARY:-}" ] || echo "skipped: tests that run firmware bundles with TensorFlow Lite Micro's kernels (hack/peers/tflm_library.sh builds it), in optimizer/bundle"
