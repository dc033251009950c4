#!/usr/bin/env bash
# cluster.sh check|up|demo|down: a real Kubernetes cluster of ordinary processes on this machine, from Go modules and Debian packages, without
# docker and without a registry. Node "cloud" has this machine's architecture and runs the operator; node "edge" is arm64, under qemu
# where the machine is not, and runs the stages.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
image=localhost/espalier:dev
bucket_dir=$dir/s3 s3=http://$host_ip:$((port + 10)) key=espalier secret=espalier-secret

step() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

packages() {
  local missing=() pair
  for pair in runc:runc iptables:iptables ip:iproute2 openssl:openssl sysctl:procps qemu-aarch64-static:qemu-user-static update-binfmts:binfmt-support; do
    command -v "${pair%%:*}" > /dev/null || missing+=("${pair##*:}")
  done
  [ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get > /dev/null || die "needs ${missing[*]}: install them"
  step "installing ${missing[*]}"
  apt-get install -y --no-install-recommends "${missing[@]}" > /dev/null 2>&1 ||
    { apt-get update > /dev/null && apt-get install -y --no-install-recommends "${missing[@]}" > /dev/null; }
}

emulation() {
  [ "$(uname -m)" != aarch64 ] || return 0
  mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
  [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64
}

# check says why this machine cannot run a node, if it cannot: in many containers it may not
check() {
  needs_root
  packages > /dev/null || die "not all packages could be installed"
  local t=$dir-check group=/sys/fs/cgroup/espalier-check
  [ ! -d /sys/fs/cgroup/memory ] || group=/sys/fs/cgroup/memory/espalier-check
  mkdir -p "$t"/{lower,upper,work,merged}
  trap 'rm -rf "$dir-check"' EXIT
  unshare --mount --net --pid --fork true 2> /dev/null || die "no namespaces may be made here"
  unshare --mount mount -t overlay -o "lowerdir=$t/lower,upperdir=$t/upper,workdir=$t/work" overlay "$t/merged" 2> /dev/null || die "no overlay may be mounted on $t"
  { ip link add espalier-check type bridge && ip link delete espalier-check; } 2> /dev/null || die "no network bridge may be made here"
  iptables -t nat -S > /dev/null 2>&1 || die "the kernel's address translation is out of reach"
  { mkdir "$group" && rmdir "$group"; } 2> /dev/null || die "no control groups may be made here"
  emulation 2> /dev/null || die "arm64 programs cannot be emulated: no binfmt_misc"
}

up() {
  needs_root
  needs_binaries
  packages
  emulation
  mkdir -p "$dir"
  "$here/controlplane.sh" up
  step "control plane"
  "$here/node.sh" up cloud "$(go env GOARCH)"
  "$here/node.sh" up edge arm64
  step "nodes"
  images
  start "$dir" s3 "$root/bin/versitygw" --port "$host_ip:$((port + 10))" --access "$key" --secret "$secret" posix "$(mkdir -p "$bucket_dir" && echo "$bucket_dir")"
  step "S3 at $s3"
  kubectl get nodes -L kubernetes.io/arch
  echo "export KUBECONFIG=$KUBECONFIG"
}

# images builds the operator for both architectures and loads it into the nodes
images() {
  (
    cd "$root"
    make --no-print-directory binaries
    go run ./hack/image -o "$dir/cloud.tar" -ref "$image" "bin/espalier-linux-$(go env GOHOSTARCH)"
    # of an image for several architectures containerd would take this machine's
    go run ./hack/image -o "$dir/edge.tar" -ref "$image" bin/espalier-linux-arm64
  )
  "$here/node.sh" load cloud "$dir/cloud.tar"
  "$here/node.sh" load edge "$dir/edge.tar"
  step "images"
}

# operator installs config/default with the image just built, on the node that is not emulated
operator() {
  kubectl kustomize --load-restrictor=LoadRestrictionsNone "$here/install" | kubectl apply --server-side -f - > /dev/null
  kubectl -n espalier-system rollout restart deployment/espalier-controller-manager > /dev/null
  kubectl -n espalier-system rollout status deployment/espalier-controller-manager --timeout=180s
}

demo() {
  [ -f "$KUBECONFIG" ] || die "there is no cluster: run make cluster-up"
  operator
  step "operator"
  kubectl delete namespace demo --ignore-not-found > /dev/null
  rm -rf "$bucket_dir/compressed"
  mkdir -p "$bucket_dir/models" "$bucket_dir/datasets" "$bucket_dir/compressed"
  cp "$root/hack/demo/glyphs.tflite" "$bucket_dir/models/"
  (cd "$root" && go run ./hack/demo data -per-class 60 -o "$bucket_dir/datasets") # a tenth of make demo's: emulation is slow
  kubectl create namespace demo --dry-run=client -o yaml | kubectl apply -f - > /dev/null
  kubectl label --overwrite namespace demo pod-security.kubernetes.io/enforce=restricted > /dev/null
  kubectl -n demo create secret generic s3 --from-literal=AWS_ACCESS_KEY_ID="$key" --from-literal=AWS_SECRET_ACCESS_KEY="$secret" \
    --dry-run=client -o yaml | kubectl apply -f - > /dev/null
  sed "s|ENDPOINT|$s3|" "$here/demo.yaml" | kubectl -n demo apply --server-side -f -
  step "applied; every change of the pipeline follows"
  kubectl -n demo get optpipe -w &
  local watch=$!
  kubectl -n demo wait optpipe/glyphs --for=condition=Ready=True --timeout=900s > /dev/null || true
  kill "$watch"
  wait "$watch" 2> /dev/null || true
  step "over"
  kubectl -n demo get optpipe
  kubectl -n demo get jobs -o custom-columns='JOB:.metadata.name,COMPLETE:.status.succeeded,ARCH:.spec.template.spec.nodeSelector.kubernetes\.io/arch'
  echo "one of the stages says of itself:"
  kubectl -n demo logs -l espalier.dev/stage=pcqat --tail=-1 | grep '"msg":"started"'
  verify
}

# verify fetches the leaf over S3 and measures it again on this machine
verify() {
  local uri accuracy stage
  stage=$(kubectl -n demo get optpipe glyphs -o 'jsonpath={.status.selected.stage}')
  uri=$(kubectl -n demo get optpipe glyphs -o 'jsonpath={.status.selected.uri}')
  accuracy=$(kubectl -n demo get optpipe glyphs -o 'jsonpath={.status.selected.metrics[?(@.name=="Accuracy")].value}')
  [ -n "$uri" ] || die "no leaf was selected: kubectl -n demo get optpipe glyphs -o yaml"
  curl -fsS -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --aws-sigv4 aws:amz:us-east-1:s3 --user "$key:$secret" -o "$dir/leaf.tflite" "$s3/${uri#s3://}"
  echo "leaf of $stage, $(stat -c %s "$dir/leaf.tflite") bytes, from $uri; status says accuracy $accuracy; measured here:"
  (cd "$root" && go run ./cmd/espalier evaluate "$dir/leaf.tflite" --dataset "$bucket_dir/datasets/glyphs.npz" \
    --dataset-spec '{preprocessing: {scale: "1/255"}}' --split validation --original "$root/hack/demo/glyphs.tflite")
}

down() {
  needs_root
  stop "$dir" s3
  "$here/node.sh" down edge
  "$here/node.sh" down cloud
  "$here/controlplane.sh" down
  rm -rf "$dir"
}

case ${1-} in
up | demo | down | check | images | operator) "$1" ;;
*) die "usage: cluster.sh check|up|demo|down" ;;
esac
