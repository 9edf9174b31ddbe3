# shellcheck shell=bash
# shellcheck disable=SC2154 # what lib.sh sets
# Cleaning up: all of it for `down`, what an earlier run left broken for `up`.

# Whether what is left of an earlier run is worth starting again.
state_is_usable() {
    if [ ! -f "$state/boot" ]; then
        [ -z "$(find "$state" -mindepth 1 -maxdepth 1 ! -name logs ! -name git)" ]
        return
    fi
    # After a restart of the machine mounts, containers and unsynced writes of etcd are gone.
    [ "$(cat "$state/boot")" = "$(boot_id)" ] || return 1
    # Certificates that are near their end would fail in the middle of a test.
    [ ! -f "$pki/ca.crt" ] || openssl x509 -checkend 172800 -noout -in "$pki/ca.crt" >/dev/null
}

repair_before_start() {
    local other
    if other=$(other_owner); then
        die "another test cluster, of $other, is up on this machine: take it down with GLEANER_CACHE=${other%/cluster} tests/cluster/down"
    fi
    echo "$state" >"$owner_file"
    if ! state_is_usable; then
        say "what an earlier run left cannot be used again (the machine was restarted, or the certificates are old): making it anew"
        take_down --keep-git
        mkdir -p "$state"
    fi
    [ -f "$state/boot" ] || remove_pod_devices
    boot_id >"$state/boot"
}

# Devices that lead to pods. Where the folder of a killed cluster was removed or moved they still
# answer for addresses that new pods are given.
remove_pod_devices() {
    local device
    ip -o route show root "$pod_cidr" | sed -n 's/.* dev \(veth[^ ]*\).*/\1/p' | sort -u |
        while read -r device; do ip link del "$device" 2>/dev/null || true; done
}

# Objects that an earlier run left in the act of being deleted, with nobody to finish it.
repair_objects() {
    local limit kind namespace name
    limit=$(date -u -d '-2 minutes' +%Y-%m-%dT%H:%M:%SZ)
    kubectl get pods -A -o json | jq -r --arg limit "$limit" '.items[].metadata
        | select(.deletionTimestamp != null and .deletionTimestamp < $limit) | "\(.namespace) \(.name)"' |
        while read -r namespace name; do
            say "pod $namespace/$name has been ending for minutes: removing it"
            kubectl -n "$namespace" patch pod "$name" --type=merge -p '{"metadata":{"finalizers":null}}' >/dev/null 2>&1 || true
            kubectl -n "$namespace" delete pod "$name" --grace-period=0 --force --wait=false >/dev/null 2>&1 || true
        done
    kubectl get namespaces -o json | jq -r --arg limit "$limit" '.items[].metadata
        | select(.deletionTimestamp != null and .deletionTimestamp < $limit) | .name' |
        while read -r namespace; do
            say "namespace $namespace has been ending for minutes: removing the finalizers in it"
            for kind in $(kubectl api-resources --namespaced --verbs=list,patch -o name); do
                kubectl -n "$namespace" get "$kind" -o name 2>/dev/null | while read -r name; do
                    kubectl -n "$namespace" patch "$name" --type=merge -p '{"metadata":{"finalizers":null}}' >/dev/null 2>&1 || true
                done
            done
        done
}

# --- taking it down -----------------------------------------------------------------------------

# Processes are ended in the reverse order of their needs; unknown ones (of another version of
# these scripts) with them.
stop_all_processes() {
    local name pid start
    for name in argocd-application-controller argocd-repo-server redis helm-controller kustomize-controller \
        source-controller git s3 minio storage proxy kubelet; do
        stop_process $name
    done
    stop_containers
    for name in containerd scheduler controller-manager apiserver etcd; do
        stop_process $name
    done
    for name in "$procs"/*; do
        [ ! -f "$name" ] || stop_process "$(basename "$name")"
    done
    for pid in $(marked_pids "$(process_tag '.*')"); do
        start=$(start_time "$pid") && stop_exactly "$pid" "$start"
    done || true
}

# Containers: whatever is in our control group. Shims: those that were given our socket's address.
stop_containers() {
    local pid start
    for pid in $(shim_pids); do
        start=$(start_time "$pid") || continue
        is_our_shim "$pid" && is_same_process "$pid" "$start" && kill -9 "$pid" 2>/dev/null
    done || true
    try_until 10 kill_cgroup || die "processes of containers do not end: $(cgroup_pids | tr '\n' ' ')"
}

is_our_shim() { tr '\0' '\n' <"/proc/$1/cmdline" 2>/dev/null | grep -qxF "$containerd_socket"; }
shim_pids() {
    local dir comm
    for dir in /proc/[0-9]*; do
        # The kernel keeps 15 characters of a name.
        comm=$(cat "$dir/comm" 2>/dev/null) && [ "$comm" = containerd-shim ] && is_our_shim "${dir#/proc/}" && echo "${dir#/proc/}"
    done || true
}

cgroup_dirs() { find /sys/fs/cgroup -maxdepth 2 -type d -name "$cgroup" 2>/dev/null; }
cgroup_pids() {
    cgroup_dirs | while read -r dir; do
        find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null || true
    done | sort -u
}
# Kills what is in the group and succeeds once nothing is.
kill_cgroup() {
    local pid pids
    pids=$(cgroup_pids)
    for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done
    [ -z "$pids" ]
}

remove_cgroups() {
    cgroup_dirs | while read -r dir; do
        find "$dir" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done
}

# Mounts below our folder, the last made first. Octal escapes of mountinfo: proc_pid_mountinfo(5).
our_mounts() {
    local path
    awk -v top="$state/" 'index($5, top) == 1 { print $5 }' /proc/self/mountinfo | tac |
        while read -r path; do printf '%b\n' "$path"; done
}
unmount_all() {
    local path
    our_mounts | while read -r path; do
        umount "$path" 2>/dev/null || umount -l "$path" 2>/dev/null || true
    done
    [ -z "$(our_mounts)" ]
}

# The sockets of our shims: asked for while their bundles are still there.
shim_sockets() {
    [ ! -d "$run/containerd" ] || find "$run/containerd" -name address -type f -exec cat {} \; -exec echo \; 2>/dev/null |
        sed -n 's#^unix://\(/run/containerd/s/\)#\1#p'
}
# containerd forgets a shim that died with it; what it leaves is kept in mind for `down`.
remember_shim_sockets() { process_pid containerd >/dev/null || shim_sockets >>"$state/shim-sockets"; }

# What containerd, CNI and kubelet keep in places that are compiled into them.
remove_strays() {
    local file id
    [ ! -f "$state/shim-sockets" ] || xargs -r rm -f <"$state/shim-sockets"
    rmdir /run/containerd/s /run/containerd 2>/dev/null || true
    for file in /var/lib/cni/results/"$pod_network"-*; do
        id=${file##*/"$pod_network"-}
        rm -f "$file" "/var/lib/cni/results/cni-loopback-${id%-eth0}-lo"
    done
    rmdir /var/lib/cni/results /var/lib/cni 2>/dev/null || true
    if [ -d /var/log/containers ]; then
        find /var/log/containers -type l -lname "$run/*" -delete
        rmdir /var/log/containers 2>/dev/null || true
    fi
    if [ -f "$state/made-device-plugins" ]; then
        rm -f /var/lib/kubelet/device-plugins/kubelet.sock /var/lib/kubelet/device-plugins/DEPRECATION
        rmdir /var/lib/kubelet/device-plugins /var/lib/kubelet 2>/dev/null || true
    fi
}

remove_firewall() {
    local family
    for family in ip ip6; do
        nft delete table $family kube-proxy 2>/dev/null || true
    done
}

# take_down [--keep-git]: everything but the programs, the logs and, if asked, the Git repositories.
take_down() {
    local entry
    [ -d "$state" ] || return 0
    shim_sockets >>"$state/shim-sockets"
    stop_all_processes
    try_until 10 unmount_all || die "cannot unmount: $(our_mounts | tr '\n' ' ')"
    remove_cgroups
    if ! other_owner >/dev/null; then
        remove_strays
        remove_firewall
        remove_pod_devices
        network_down
        rm -f "$owner_file"
    fi
    for entry in "$state"/* "$state"/.[!.]*; do
        case $entry in
        "$logs") continue ;;
        "$git_root") [ "${1:-}" != --keep-git ] || continue ;;
        esac
        rm -rf --one-file-system "$entry"
    done
    mkdir -p "$logs"
}
