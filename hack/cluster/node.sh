#!/usr/bin/env bash
# node.sh up|down NAME [ARCH], node.sh load NAME IMAGE.tar: a containerd of its own and a kubelet that registers as NAME, labelled kubernetes.io/arch=ARCH. Nodes
# share a bridge.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage="usage: node.sh up|down NAME [ARCH], or node.sh load NAME IMAGE.tar"
[[ $# == [23] ]] || die "$usage"
name=$2 arch=${3:-$(go env GOARCH)}
run=$dir/nodes/$name net=$dir/net sock=$dir/nodes/$name/containerd.sock
# host settings that the kubelet or the bridge plugin changes
sysctls=(vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops
  kernel.keys.root_maxkeys kernel.keys.root_maxbytes net.ipv4.ip_forward)

# pods reach the apiserver at its service's address: nothing else of kube-proxy is needed
to_apiserver=(-X PREROUTING -i "$bridge" -d "$service_ip" -p tcp --dport 443 -j DNAT --to-destination "$host_ip:$port")

net_up() {
  [ ! -d "$net" ] || return 0
  [ ! -e "/sys/class/net/$bridge" ] || die "$bridge exists and is not from $dir: set ESPALIER_CLUSTER_BRIDGE and ESPALIER_CLUSTER_SUBNET"
  mkdir -p "$net/ipam"
  sysctl "${sysctls[@]}" > "$net/sysctl"
  ip link add "$bridge" type bridge
  ip address add "$host_ip/24" dev "$bridge"
  ip link set "$bridge" up
  sysctl -q net.ipv4.ip_forward=1
  iptables -t nat "${to_apiserver[@]/#-X/-A}"
  cat > "$net/10-bridge.conflist" << EOF
    {"cniVersion": "1.0.0", "name": "$bridge", "plugins": [{
      "type": "bridge", "bridge": "$bridge", "isDefaultGateway": true, "ipMasq": false,
      "ipam": {"type": "host-local", "dataDir": "$net/ipam", "ranges": [[{"subnet": "$subnet.0/24"}]]}}]}
EOF
}

net_down() { # with the last node
  rmdir "$dir/nodes" 2>/dev/null || true
  [ -d "$net" ] && [ ! -d "$dir/nodes" ] || return 0
  rm -f /var/lib/kubelet/device-plugins/kubelet.sock # not under --root-dir
  rmdir /var/lib/kubelet/device-plugins /var/lib/kubelet 2>/dev/null || true
  iptables -t nat "${to_apiserver[@]/#-X/-D}"
  ip link delete "$bridge"
  sysctl -q -p "$net/sysctl"
  rm -rf "$net"
}

write_config() {
  cat > "$run/containerd.toml" << EOF
    version = 3
    root = '$run/root'
    state = '$run/state'
    disabled_plugins = ['io.containerd.internal.v1.opt']
    [grpc]
    address = '$sock'
    [plugins.'io.containerd.nri.v1.nri']
    disable = true
    [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = 'localhost/pause:dev'
    [plugins.'io.containerd.cri.v1.runtime']
    restrict_oom_score_adj = true
    netns_mounts_under_state_dir = true
    [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['/usr/lib/cni']
    conf_dir = '$net'
    use_internal_loopback = true
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
    Root = '$run/state/runc'
EOF
  local p=10250
  while (: <"/dev/tcp/$host_ip/$p") 2>/dev/null; do p=$((p + 1)); done
  cat > "$run/kubelet.yaml" << EOF
    apiVersion: kubelet.config.k8s.io/v1beta1
    kind: KubeletConfiguration
    address: $host_ip
    port: $p
    healthzPort: 0
    authentication:
      x509: {clientCAFile: $pki/ca.crt}
    containerRuntimeEndpoint: unix://$sock
    cgroupDriver: cgroupfs
    cgroupsPerQOS: false
    enforceNodeAllocatable: []
    failCgroupV1: false
    failSwapOn: false
    oomScoreAdj: 0
    makeIPTablesUtilChains: false
    podLogsDir: $run/log
    volumePluginDir: $run/volumeplugins
    imageGCHighThresholdPercent: 100
    evictionHard: {memory.available: 50Mi, nodefs.available: 1%}
    syncFrequency: 5s
EOF
}

ready() { [ "$(kubectl get node "$name" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]; }

up() {
  needs_root
  needs_binaries
  [ "${#sock}" -le 90 ] || die "$dir is too long a path for unix sockets (108 bytes)"
  mkdir -p "$run"
  net_up
  cert "node-$name" "/O=system:nodes/CN=system:node:$name"
  kubeconfig "node-$name" "$run/kubelet.conf"
  [ -f "$run/kubelet.yaml" ] || write_config
  start "$run" containerd "$bin/containerd" --config "$run/containerd.toml"
  wait_for 30 containerd ctr -a "$sock" version
  (cd "$here/pause" && CGO_ENABLED=0 GOARCH=$(go env GOHOSTARCH) go build -ldflags '-s -w' -o "$run/pause" main.go)
  (cd "$root" && go run ./hack/image -o "$run/pause.tar" -ref localhost/pause:dev "$run/pause")
  ctr -a "$sock" -n k8s.io images import --local --all-platforms "$run/pause.tar" > /dev/null
  start "$run" kubelet "$bin/kubelet" --config="$run/kubelet.yaml" --kubeconfig="$run/kubelet.conf" \
    --root-dir="$run/kubelet" --cert-dir="$run/kubelet/pki" \
    --hostname-override="$name" --node-ip="$host_ip" --node-labels="espalier.dev/cluster-arch=$arch"
  wait_for 60 "node $name to be Ready" ready
}

down() {
  local id p
  if alive "$run" kubelet && kubectl --request-timeout=5s get node "$name" >/dev/null 2>&1; then
    # The kubelet has to be there to end the pods: it unmounts their volumes and frees their addresses.
    kubectl cordon "$name" >/dev/null || true
    timeout 60 kubectl delete pods -A --field-selector "spec.nodeName=$name" --grace-period=5 >/dev/null || true
    (wait_for 20 "volumes of $name to be unmounted" no_volumes) || true
    timeout 10 kubectl delete node "$name" >/dev/null || true
  fi
  stop "$run" kubelet
  if alive "$run" containerd; then # what a dead apiserver or a lost pod left
    for id in $(ctr -a "$sock" -n k8s.io tasks list -q); do ctr -a "$sock" -n k8s.io tasks rm -f "$id" || true; done
    for id in $(ctr -a "$sock" -n k8s.io containers list -q); do ctr -a "$sock" -n k8s.io containers rm "$id" || true; done
  fi
  stop "$run" containerd
  for p in $(shims); do kill -KILL "$p"; done
  awk -v d="$run/" 'index($2, d) == 1 { print $2 }' /proc/self/mounts | sort -r | xargs -r -n1 umount
  find /var/log/containers -lname "$run/log/*" -delete 2>/dev/null || true
  rm -rf "$run"
  rmdir /run/containerd/s /run/containerd /var/log/containers /sys/fs/cgroup/*/k8s.io 2>/dev/null || true
  net_down
}

no_volumes() { ! grep -q " $run/kubelet/" /proc/self/mounts; }

# shims of this containerd: their command line names its socket
shims() {
  local f
  for f in /proc/[0-9]*/cmdline; do
    if tr '\0' ' ' 2>/dev/null <"$f" | grep -q "containerd-shim-runc-v2 .*-address $sock "; then
      f=${f%/cmdline}
      echo "${f#/proc/}"
    fi
  done
}

# load: import the image archive in place of ARCH
load() { ctr -a "$sock" -n k8s.io images import --local --all-platforms "$arch" > /dev/null; }

case $1 in
up | down | load) "$1" ;;
*) die "$usage" ;;
esac
