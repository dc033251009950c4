#!/usr/bin/env bash
# controlplane.sh up|down: etcd, kube-apiserver, kube-controller-manager and kube-scheduler as ordinary processes. `up` writes the
# administrator's kubeconfig; `down` removes the cluster's data.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
run=$dir/controlplane
processes=(etcd kube-apiserver kube-controller-manager kube-scheduler)

up() {
  needs_root
  needs_binaries
  mkdir -p "$run"
  (umask 077 && mkdir -p "$pki")
  echo "https://127.0.0.1:$port" > "$pki/server"
  if [ ! -f "$pki/ca.crt" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=local-ca \
      -keyout "$pki/ca.key" -out "$pki/ca.crt" 2> /dev/null
    openssl ecparam -name prime256v1 -genkey -noout -out "$pki/sa.key"
    openssl ec -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2> /dev/null
  fi
  cert apiserver /CN=kube-apiserver "IP:127.0.0.1,IP:$service_ip,IP:$host_ip,DNS:localhost,DNS:kubernetes.default.svc"
  cert admin /O=system:masters/CN=admin
  cert kube-controller-manager /CN=system:kube-controller-manager
  cert kube-scheduler /CN=system:kube-scheduler
  kubeconfig admin "$KUBECONFIG"
  kubeconfig kube-controller-manager "$run/kube-controller-manager.conf"
  kubeconfig kube-scheduler "$run/kube-scheduler.conf"

  local client=http://127.0.0.1:$((port + 1)) peer=http://127.0.0.1:$((port + 2))
  start "$run" etcd "$bin/etcd" --name=local --data-dir="$run/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls="$client" --advertise-client-urls="$client" \
    --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="local=$peer"
  # It listens everywhere: pods reach it by the bridge's address, to which node.sh redirects that of the service.
  start "$run" kube-apiserver "$bin/kube-apiserver" --etcd-servers="$client" \
    --bind-address=0.0.0.0 --secure-port="$port" --anonymous-auth=false \
    --advertise-address="$host_ip" --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/24 \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --client-ca-file="$pki/ca.crt" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
    --kubelet-preferred-address-types=InternalIP --request-timeout=10s
  wait_for 90 "the apiserver" kubectl get --raw /readyz
  start "$run" kube-controller-manager "$bin/kube-controller-manager" \
    --kubeconfig="$run/kube-controller-manager.conf" --leader-elect=false \
    --bind-address=127.0.0.1 --secure-port=$((port + 3)) --cert-dir="$run" \
    --flex-volume-plugin-dir="$run/volumeplugins" \
    --use-service-account-credentials --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt"
  start "$run" kube-scheduler "$bin/kube-scheduler" \
    --kubeconfig="$run/kube-scheduler.conf" --leader-elect=false \
    --bind-address=127.0.0.1 --secure-port=$((port + 4)) --cert-dir="$run"
  kubectl apply -f "$here/nodearch.yaml" > /dev/null
  wait_for 60 "the default service account" kubectl get serviceaccount default
}

down() {
  local i
  for ((i = ${#processes[@]} - 1; i >= 0; i--)); do stop "$run" "${processes[i]}"; done
  rm -rf "$run" "$pki" "$KUBECONFIG" "$KUBECACHEDIR"
}

case ${1-} in
up | down) "$1" ;;
*) die "usage: controlplane.sh up|down" ;;
esac
