# shellcheck shell=bash
# shellcheck disable=SC2154 # what lib.sh sets
# containerd, kubelet and kube-proxy: one node, with a containerd that shares nothing with another.

containerd_up() {
    [ ${#containerd_socket} -lt 90 ] || die "$containerd_socket is too long for a socket: set GLEANER_CACHE to a shorter path"
    mkdir -p "$run" "$conf/cni"
    # ptp: every pod is routed, so Services work between pods of the node without br_netfilter.
    write_file "$conf/cni/10-gleaner.conflist" <<X
{"cniVersion": "0.4.0", "name": "$pod_network", "plugins": [
  {"type": "ptp", "ipMasq": false, "mtu": 1500,
   "ipam": {"type": "host-local", "dataDir": "$run/cni", "ranges": [[{"subnet": "$pod_cidr"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
X
    # restrict_oom_score_adj: where the machine may not lower it, runc cannot start any pod else.
    write_file "$conf/containerd.toml" <<X
version = 2
root = "$state/containerd"
state = "$run/containerd"
[grpc]
  address = "$containerd_socket"
[plugins."io.containerd.internal.v1.opt"]
  path = "$run/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$pause_image"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$conf/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "$run/runc"
X
    remember_shim_sockets
    start_process containerd -f "$conf/containerd.toml" -f "$conf/cni/10-gleaner.conflist" \
        containerd --config "$conf/containerd.toml" --log-level warn
    wait_healthy containerd 30 containerd_healthy
    load_base_images
}
containerd_healthy() { ctr version; }

# The pause program holds a pod's namespaces and reaps what is orphaned in them.
pause_source() {
    cat <<'X'
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int signal_number) { _exit(signal_number ? 0 : 1); }
static void reap(int signal_number) { (void)signal_number; while (waitpid(-1, NULL, WNOHANG) > 0) { } }
int main(void)
{
    signal(SIGINT, end);
    signal(SIGTERM, end);
    signal(SIGCHLD, reap);
    for (;;) pause();
}
X
}

load_base_images() {
    local root applet
    if ! image_is_loaded "$pause_image"; then
        root=$(mktemp -d "$state/tmp/image.XXXXXX")
        pause_source | gcc -x c -O2 -static -s -o "$root/pause" -
        "$here/load-image" "$pause_image" "$root" --entrypoint /pause
        rm -rf "$root"
    fi
    if ! image_is_loaded "$busybox_image"; then
        root=$(mktemp -d "$state/tmp/image.XXXXXX")
        mkdir -p "$root"/{bin,etc,tmp,root,var}
        chmod 1777 "$root/tmp"
        cp /bin/busybox "$root/bin/busybox"
        for applet in $(busybox --list); do
            [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
        done
        printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
        printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
        "$here/load-image" "$busybox_image" "$root" --cmd /bin/sh
        rm -rf "$root"
    fi
}
image_is_loaded() { ctr images ls -q | grep -qxF "$1"; }

make_cgroups() {
    local dir
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        mkdir -p "/sys/fs/cgroup/$cgroup"
        return
    fi
    for dir in /sys/fs/cgroup/*/; do
        [ -f "$dir/cgroup.procs" ] && mkdir -p "$dir/$cgroup"
    done
    # A new cpuset is empty and takes no process until it has processors and memory.
    if [ -d "/sys/fs/cgroup/cpuset/$cgroup" ]; then
        cat /sys/fs/cgroup/cpuset/cpuset.cpus >"/sys/fs/cgroup/cpuset/$cgroup/cpuset.cpus"
        cat /sys/fs/cgroup/cpuset/cpuset.mems >"/sys/fs/cgroup/cpuset/$cgroup/cpuset.mems"
    fi
}

kubelet_up() {
    require_programs kubelet
    make_cgroups
    mkdir -p "$kubelet_root" "$run/pod-logs"
    [ -d /var/lib/kubelet/device-plugins ] || touch "$state/made-device-plugins"
    write_file "$conf/kubelet.yaml" <<X
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
port: $kubelet_port
healthzPort: 0
tlsCertFile: $pki/node.crt
tlsPrivateKeyFile: $pki/node.key
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$cgroup
cgroupsPerQOS: true
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
containerRuntimeEndpoint: unix://$containerd_socket
podLogsDir: $run/pod-logs
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
evictionHard: {nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
serializeImagePulls: false
syncFrequency: 10s
maxPods: 200
registerNode: true
X
    start_process kubelet -f "$conf/kubelet.yaml" -f "$conf/node.kubeconfig" kubelet --config "$conf/kubelet.yaml" \
        --kubeconfig "$conf/node.kubeconfig" --hostname-override $node --node-ip $address --root-dir "$kubelet_root"
    wait_healthy kubelet 60 kubelet_healthy
}
kubelet_healthy() {
    [ "$(kubectl get node $node -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]
}

proxy_up() {
    require_programs kube-proxy
    write_file "$conf/proxy.yaml" <<X
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $conf/proxy.kubeconfig}
clusterCIDR: $pod_cidr
conntrack: {maxPerCore: 0}
hostnameOverride: $node
healthzBindAddress: 127.0.0.1:$proxy_health_port
metricsBindAddress: 127.0.0.1:$proxy_metrics_port
nodePortAddresses: [primary]
nftables: {minSyncPeriod: 100ms, syncPeriod: 10s}
X
    start_process proxy -f "$conf/proxy.yaml" -f "$conf/proxy.kubeconfig" kube-proxy --config "$conf/proxy.yaml"
    wait_healthy proxy 30 proxy_healthy
}
proxy_healthy() { http_ok "http://127.0.0.1:$proxy_health_port/healthz" && http_ok -k "https://$service_address/version"; }
