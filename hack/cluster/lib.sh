# shellcheck shell=bash disable=SC2034
# Sourced by the scripts beside it. One cluster lives in one folder, below; several may run at once with other values of these.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
dir=${ESPALIER_CLUSTER_DIR:-/tmp/espalier-cluster}  # short: unix sockets lie below it
bin=${ESPALIER_CLUSTER_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/espalier/cluster/bin}
port=${ESPALIER_CLUSTER_PORT:-16440}                # apiserver; the next four are etcd (2), controller-manager, scheduler
bridge=${ESPALIER_CLUSTER_BRIDGE:-espalier0}        # pod bridge, made by the first node
subnet=${ESPALIER_CLUSTER_SUBNET:-10.88.0}          # its /24; .1 is the host
host_ip=$subnet.1
service_ip=10.96.0.1
pki=$dir/pki
export KUBECONFIG=$dir/kubeconfig KUBECACHEDIR=$dir/cache KUBERC=off PATH=$bin:$PATH

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# needs_root: what only root on Linux can do
needs_root() {
  [ "$(uname -s)" = Linux ] || die "a node needs Linux: containers are its own. Use any cluster with arm64 nodes instead (docs/operator.md)"
  [ "$(id -u)" = 0 ] || die "a node needs root: it makes containers, a bridge and mounts"
}

needs_binaries() { [ -x "$bin/kubelet" ] && [ -x "$bin/containerd" ] || die "no binaries in $bin: run make cluster-tools"; }

# alive RUN NAME: is the process recorded in RUN/NAME.pid the one that was started? Sets pid.
# The start time in the file tells a reused pid apart; a zombie counts as gone.
alive() {
  local at stat
  [ -f "$1/$2.pid" ] && read -r pid at < "$1/$2.pid" || return 1
  stat=$(cat "/proc/$pid/stat" 2> /dev/null) || return 1
  read -ra stat <<< "${stat##*) }"
  [ "${stat[0]}" != Z ] && [ "${stat[19]}" = "$at" ]
}

# start RUN NAME COMMAND...: run it detached, log in RUN/NAME.log, pid and start time in RUN/NAME.pid
start() {
  local run=$1 name=$2 stat
  shift 2
  alive "$run" "$name" && return
  setsid "$@" >> "$run/$name.log" 2>&1 < /dev/null &
  stat=$(cat "/proc/$!/stat")
  read -ra stat <<< "${stat##*) }"
  echo "$! ${stat[19]}" > "$run/$name.pid"
}

# stop RUN NAME: TERM, then KILL after 15 s
stop() {
  local i
  if alive "$1" "$2"; then
    kill "$pid"
    for ((i = 0; i < 150; i++)); do
      alive "$1" "$2" || break
      sleep 0.1
    done
    if alive "$1" "$2"; then kill -KILL "$pid"; fi
  fi
  rm -f "$1/$2.pid"
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" > /dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || die "gave up waiting for $what"
    sleep 0.2
  done
}

# cert NAME SUBJECT [SAN]: key and certificate signed by the cluster CA
cert() (
  umask 077
  [ -f "$pki/$1.crt" ] && exit
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$2" \
    -keyout "$pki/$1.key" -out "$pki/$1.csr" 2> /dev/null
  {
    echo "extendedKeyUsage=serverAuth,clientAuth"
    [ -z "${3-}" ] || echo "subjectAltName=$3"
  } > "$pki/$1.ext"
  openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial \
    -days 365 -extfile "$pki/$1.ext" -out "$pki/$1.crt" 2> /dev/null
)

# kubeconfig CERT_NAME FILE
kubeconfig() (
  umask 077
  cat > "$2" << YAML
apiVersion: v1
kind: Config
current-context: local
contexts: [{name: local, context: {cluster: local, user: local}}]
clusters:
- name: local
  cluster: {server: "$(cat "$pki/server")", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}
users:
- name: local
  user: {client-certificate-data: $(base64 -w0 "$pki/$1.crt"), client-key-data: $(base64 -w0 "$pki/$1.key")}
YAML
)

# ctr without its word on the host's control groups, a line a call
ctr() { command ctr "$@" 2> >(grep -v 'support for cgroup v1 is deprecated' >&2); }
