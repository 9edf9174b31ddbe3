# shellcheck shell=bash
# shellcheck disable=SC2154 # what lib.sh sets
# etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and the bridge they listen on.

network_up() {
    if ! ip link show "$bridge" >/dev/null 2>&1; then ip link add "$bridge" type bridge; fi
    ip addr replace "$address/32" dev "$bridge"
    ip link set "$bridge" up
    # Services are translated after routing: without a route a machine that is offline has none.
    ip route replace "$service_cidr" dev "$bridge" src "$address"
    # Pods are routed through this machine; what the setting was is put back by `down`.
    [ -f "$state/ip_forward" ] || cat /proc/sys/net/ipv4/ip_forward >"$state/ip_forward"
    echo 1 >/proc/sys/net/ipv4/ip_forward
    # A machine with Docker drops what it does not know; let our pods pass.
    if iptables -S FORWARD 2>/dev/null | grep -q -- '-P FORWARD DROP'; then
        forward_rules | while read -r rule; do
            # shellcheck disable=SC2086
            iptables -C FORWARD $rule 2>/dev/null || iptables -I FORWARD $rule
        done
    fi
}

forward_rules() {
    echo "-s $pod_cidr -m comment --comment gleaner-cluster -j ACCEPT"
    echo "-d $pod_cidr -m comment --comment gleaner-cluster -j ACCEPT"
}

network_down() {
    local rule
    if iptables -S FORWARD 2>/dev/null | grep -q gleaner-cluster; then
        forward_rules | while read -r rule; do
            # shellcheck disable=SC2086
            iptables -D FORWARD $rule 2>/dev/null || true
        done
    fi
    [ ! -f "$state/ip_forward" ] || cat "$state/ip_forward" >/proc/sys/net/ipv4/ip_forward
    rm -f "$state/ip_forward"
    ip link del "$bridge" 2>/dev/null || true
}

make_certificate() { # NAME SUBJECT SUBJECT_ALT_NAMES
    [ ! -f "$pki/$1.crt" ] || return 0
    openssl req -newkey rsa:2048 -nodes -keyout "$pki/$1.key" -out "$pki/$1.csr" -subj "$2" 2>/dev/null
    openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial \
        -days 365 -out "$pki/$1.crt.new" 2>/dev/null \
        -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=clientAuth,serverAuth\n' "$3")
    mv "$pki/$1.crt.new" "$pki/$1.crt"
}

make_pki() {
    # Certificates that are near their end would fail in the middle of a test.
    if [ -f "$pki/ca.crt" ] && ! openssl x509 -checkend 172800 -noout -in "$pki/ca.crt" >/dev/null; then
        rm -rf "$pki"
    fi
    mkdir -p "$pki"
    chmod 700 "$pki"
    if [ ! -f "$pki/ca.crt" ]; then
        openssl req -x509 -newkey rsa:2048 -nodes -keyout "$pki/ca.key" -out "$pki/ca.crt.new" -days 365 \
            -subj /CN=gleaner-test-cluster 2>/dev/null
        mv "$pki/ca.crt.new" "$pki/ca.crt"
    fi
    [ -f "$pki/sa.key" ] || { openssl genrsa -out "$pki/sa.key.new" 2048 2>/dev/null && mv "$pki/sa.key.new" "$pki/sa.key"; }
    make_certificate apiserver /CN=kube-apiserver "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,\
DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$service_address,IP:$address"
    make_certificate admin /O=system:masters/CN=admin DNS:admin
    make_certificate controller-manager /CN=system:kube-controller-manager DNS:controller-manager
    make_certificate scheduler /CN=system:kube-scheduler DNS:scheduler
    make_certificate proxy /CN=system:kube-proxy DNS:proxy
    make_certificate node "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:$address"
    make_kubeconfig admin "$admin_kubeconfig"
    local name
    for name in controller-manager scheduler proxy node; do
        make_kubeconfig $name "$conf/$name.kubeconfig"
    done
}

make_kubeconfig() { # CERTIFICATE FILE: with everything inside, so that it can be copied elsewhere
    write_file "$2" <<X
apiVersion: v1
kind: Config
clusters:
- name: gleaner
  cluster: {server: "https://$address:$api_port", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "$pki/$1.crt"), client-key-data: $(base64 -w0 "$pki/$1.key")}
contexts:
- name: gleaner
  context: {cluster: gleaner, user: $1}
current-context: gleaner
X
    chmod 600 "$2"
}

etcd_up() {
    require_programs etcd
    local client=http://127.0.0.1:$etcd_port peer=http://127.0.0.1:$etcd_peer_port
    start_process etcd etcd --name gleaner --data-dir "$state/etcd" --unsafe-no-fsync \
        --listen-client-urls "$client" --advertise-client-urls "$client" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "gleaner=$peer" \
        --log-level warn
    wait_healthy etcd 20 etcd_healthy
}
etcd_healthy() { http_ok "http://127.0.0.1:$etcd_port/health"; }

apiserver_up() {
    require_programs kube-apiserver kubectl
    make_pki
    start_process apiserver -f "$pki/apiserver.crt" -f "$pki/ca.crt" kube-apiserver \
        --etcd-servers "http://127.0.0.1:$etcd_port" \
        --secure-port $api_port --bind-address 0.0.0.0 --advertise-address $address \
        --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
        --client-ca-file "$pki/ca.crt" --authorization-mode Node,RBAC \
        --enable-admission-plugins NodeRestriction --allow-privileged \
        --service-account-issuer https://kubernetes.default.svc \
        --service-account-key-file "$pki/sa.key" --service-account-signing-key-file "$pki/sa.key" \
        --service-cluster-ip-range $service_cidr \
        --kubelet-client-certificate "$pki/admin.crt" --kubelet-client-key "$pki/admin.key" \
        --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP
    wait_healthy apiserver 60 apiserver_healthy
}
apiserver_healthy() { kubectl --request-timeout=3s get --raw /readyz; }

controller-manager_up() {
    require_programs kube-controller-manager
    start_process controller-manager -f "$conf/controller-manager.kubeconfig" kube-controller-manager \
        --kubeconfig "$conf/controller-manager.kubeconfig" --leader-elect=false \
        --bind-address 127.0.0.1 --secure-port $controller_manager_port --cert-dir "$state/tmp" \
        --service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt" \
        --use-service-account-credentials \
        --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key"
    wait_healthy controller-manager 30 controller-manager_healthy
}
controller-manager_healthy() { http_ok -k "https://127.0.0.1:$controller_manager_port/healthz"; }

scheduler_up() {
    require_programs kube-scheduler
    start_process scheduler -f "$conf/scheduler.kubeconfig" kube-scheduler \
        --kubeconfig "$conf/scheduler.kubeconfig" --leader-elect=false \
        --bind-address 127.0.0.1 --secure-port $scheduler_port
    wait_healthy scheduler 30 scheduler_healthy
}
scheduler_healthy() { http_ok -k "https://127.0.0.1:$scheduler_port/healthz"; }
