#!/usr/bin/env bash
# build.sh [DEST]: build etcd, the Kubernetes control plane, kubelet, kubectl and containerd from their Go modules into DEST, by
# default the folder where tests and the scripts beside this one look. What is there at the version go.mod names is left alone.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${1:-${ESPALIER_CLUSTER_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/espalier/cluster/bin}}
mkdir -p "$bin"
bin=$(cd "$bin" && pwd)
export CGO_ENABLED=0 GOFLAGS=-mod=readonly

# build MODULE_DIR PACKAGE NAME MODULE LDFLAGS
build() {
  local dir=$here/$1 package=$2 out=$bin/$3 module=$4 flags=$5 version t0=$SECONDS
  version=$(cd "$dir" && go list -m -f '{{.Version}}' "$module")
  if [ -x "$out" ] && go version -m "$out" | awk -v m="$module" -v v="$version" \
    '$1 == "mod" && $2 == m && $3 == v { found = 1 } END { exit !found }'; then
    return
  fi
  echo "building $3 $version"
  (cd "$dir" && go build -trimpath -ldflags "-s -w $flags" -o "$out.new" "$package" && mv "$out.new" "$out")
  echo "built $3 in $((SECONDS - t0)) s"
}

k8s=$(cd "$here/tools" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<< "${k8s#v}"
stamp=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  stamp+=" -X $package.gitVersion=$k8s -X $package.gitMajor=$major -X $package.gitMinor=$minor"
done
build tools go.etcd.io/etcd/server/v3 etcd go.etcd.io/etcd/server/v3 ""
components=(kube-apiserver kube-controller-manager)
[ "${ESPALIER_CLUSTER_NODES:-1}" = 0 ] || components+=(kube-scheduler kubelet kubectl)
for component in "${components[@]}"; do
  build tools "k8s.io/kubernetes/cmd/$component" "$component" k8s.io/kubernetes "$stamp"
done
[ "${ESPALIER_CLUSTER_NODES:-1}" = 0 ] && exit
containerd=$(cd "$here/containerd" && go list -m -f '{{.Version}}' github.com/containerd/containerd/v2)
for component in containerd containerd-shim-runc-v2 ctr; do
  build containerd "github.com/containerd/containerd/v2/cmd/$component" "$component" github.com/containerd/containerd/v2 \
    "-X github.com/containerd/containerd/v2/version.Version=$containerd"
done
