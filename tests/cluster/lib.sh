# shellcheck shell=bash
# What the scripts of the test cluster share: paths, processes, waiting, kubectl.
#
# A process of the cluster is stopped only by its recorded id *and* start time, so that an id that
# the kernel has given to somebody else since is never signalled. Everything that the cluster keeps
# lies under $state; what it must put elsewhere (network devices, a firewall table, a few folders
# whose place is compiled into containerd and kubelet) is named here and undone by `down`.
# shellcheck disable=SC2034 # the constants are used by the files that include this one
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${GLEANER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gleaner}
state=$cache/cluster
bin=$state/path # the cluster's programs under their plain names
run=$state/run  # sockets and what containerd keeps of running containers
conf=$state/conf
pki=$state/pki
logs=$state/logs
procs=$state/procs
kubelet_root=$state/kubelet
git_root=$state/git
s3_root=$state/s3
minio_root=$state/minio
volumes=$state/volumes
admin_kubeconfig=$state/admin.kubeconfig

# The bridge carries one address that pods and processes of this machine both reach.
bridge=gleaner0
address=10.99.0.1
node=node1
service_cidr=10.96.0.0/16
service_address=10.96.0.1
pod_cidr=10.244.0.0/24
pod_network=gleaner # the name of the CNI network: prefixes what CNI keeps in /var/lib/cni
cgroup=gleaner-cluster
# A cluster in another folder has a control group of its own, so that neither kills the other's.
[ -z "${GLEANER_CACHE:-}" ] || [ "$GLEANER_CACHE" = "${XDG_CACHE_HOME:-$HOME/.cache}/gleaner" ] ||
    cgroup+=-$(cksum <<<"$state" | cut -d' ' -f1)
# The machine's network has room for one cluster: the folder of the one that has it.
owner_file=/run/gleaner-test-cluster
containerd_socket=$run/containerd.sock

# Ports of our own, so that another cluster on this machine is not in the way.
etcd_port=23379
etcd_peer_port=23380
api_port=26443
controller_manager_port=20257
scheduler_port=20259
kubelet_port=20250
proxy_health_port=20256
proxy_metrics_port=20249
git_port=3080
git_url=http://$address:$git_port
s3_port=3090
s3_url=https://$address:$s3_port
minio_port=3092
minio_url=https://$address:$minio_port
s3_access_key=gleaner-test
s3_secret_key=gleaner-test-secret

busybox_image=gleaner.test/busybox:1
pause_image=gleaner.test/pause:1

clean_path=$bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Where the machine goes out through a proxy, the cluster is still reached directly.
case ${NO_PROXY:-} in
*"$address"*) ;;
*) export NO_PROXY="${NO_PROXY:+$NO_PROXY,}127.0.0.1,localhost,$address,$service_cidr,$pod_cidr" ;;
esac
export no_proxy=$NO_PROXY

program=tests/cluster/$(basename "$0")
say() { echo "$program: $*" >&2; }
die() {
    say "$*"
    exit 1
}

require_root() {
    [ "$(id -u)" -eq 0 ] || die "must run as root: it makes network devices, mounts and containers"
}

# One change at a time on this machine. The lock is not inherited by what is started meanwhile.
take_lock() {
    mkdir -p "$cache"
    exec 8>"$owner_file.lock"
    flock -n 8 && return
    say "waiting for another up or down to end"
    flock -w 900 8 || die "another run of up or down has held $owner_file.lock for 15 minutes"
}

# other_owner: the folder of another cluster that is up on this machine, or failure.
other_owner() {
    local other
    other=$(cat "$owner_file" 2>/dev/null) && [ "$other" != "$state" ] &&
        [ -n "$(marked_pids "GLEANER_CLUSTER_PROCESS=$other:.*")" ] && echo "$other"
}

# --- waiting ------------------------------------------------------------------------------------

# wait_until SECONDS WHAT COMMAND...: until the command succeeds, else dies naming what it awaited.
wait_until() {
    local seconds=$1 what=$2
    shift 2
    try_until "$seconds" "$@" && return 0
    die "$what: not so after $seconds s ($*)"
}

# try_until SECONDS COMMAND...: until the command succeeds; fails when the time is over.
try_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt "$end" ] || return 1
        sleep 0.2
    done
}

# --- files --------------------------------------------------------------------------------------

# write_file PATH: stdin into PATH, unless it already says that (so that its time stays).
write_file() {
    local new
    mkdir -p "$(dirname "$1")"
    new=$(mktemp "$1.XXXXXX")
    cat >"$new"
    if cmp -s "$new" "$1"; then rm -f "$new"; else mv -f "$new" "$1"; fi
}

# --- processes ----------------------------------------------------------------------------------

boot_id() { cat /proc/sys/kernel/random/boot_id; }

# When a process started: this boot, and field 22 of its stat, in ticks since. The second field is the
# program's name in parentheses and may hold blanks, so everything up to the last ')' is cut.
start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    # shellcheck disable=SC2086 # split into fields on purpose
    set -- $stat
    [ "$1" != Z ] && echo "$(boot_id).${20}"
}

# is_same_process PID START: whether that very process still runs.
is_same_process() { [ "$(start_time "$1")" = "$2" ]; }

# process_pid NAME: the id of our running process, or failure.
process_pid() {
    local pid start
    [ -f "$procs/$1" ] && read -r pid start _ <"$procs/$1" && is_same_process "$pid" "$start" && echo "$pid"
}

# Whether a process runs with exactly the given digest of command line and configuration.
process_is_current() {
    local digest
    process_pid "$1" >/dev/null && read -r _ _ digest <"$procs/$1" && [ "$digest" = "$2" ]
}

# What runs on must hold nothing of its caller open: a lock that it inherited would never be free again.
close_inherited() {
    local fd
    for fd in /proc/"$BASHPID"/fd/*; do
        fd=${fd##*/}
        [ "$fd" -le 2 ] || eval "exec $fd>&-"
    done
}

started= # names of the processes that this script has started

# start_process NAME [-e VAR=VALUE]... [-f FILE]... COMMAND...: keeps the process running. If it
# already runs with the same command, environment and content of the FILEs, nothing happens;
# otherwise it is stopped first. It gets a clean environment and a session of its own.
start_process() {
    local name=$1 files=() env=() digest pid start
    shift
    while :; do
        case $1 in
        -e) env+=("$2") ;;
        -f) files+=("$2") ;;
        *) break ;;
        esac
        shift 2
    done
    env+=("$(process_tag "$name")" "PATH=$clean_path" "HOME=$state/home" "TMPDIR=$state/tmp")
    digest=$({
        printf '%s\n' "${env[@]}" "$@" "$(readlink -f "$(PATH=$clean_path command -v "$1")")"
        [ ${#files[@]} -eq 0 ] || cat "${files[@]}"
    } | sha256sum | cut -c1-16)
    process_is_current "$name" "$digest" && return 0
    stop_process "$name"
    stop_unrecorded "$name" "$1"
    mkdir -p "$logs" "$procs" "$state/home" "$state/tmp"
    [ ! -f "$logs/$name.log" ] || mv -f "$logs/$name.log" "$logs/$name.log.1"
    (close_inherited && cd "$state" && exec env -i "${env[@]}" setsid "$@" >"$logs/$name.log" 2>&1 </dev/null) &
    pid=$!
    started+=" $name "
    start=$(start_time $pid) || die "$name ended at once: $(tail -n 3 "$logs/$name.log")"
    echo "$pid $start $digest" >"$procs/$name"
    disown $pid 2>/dev/null || true
}

# stop_process NAME: asks, then after ten seconds kills. No process: nothing to do.
stop_process() {
    local pid start
    [ -f "$procs/$1" ] || return 0
    read -r pid start _ <"$procs/$1"
    stop_exactly "$pid" "$start"
    rm -f "$procs/$1"
}

# Every process has this in its environment: so one is found whose record was not written, because
# `up` was killed just then. What it starts inherits the mark, therefore the program counts too.
process_tag() { echo "GLEANER_CLUSTER_PROCESS=$state:$1"; }

# marked_pids REGEX: processes of which a variable of the environment is just that.
marked_pids() { grep -lszxE "$1" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3 || true; }

stop_unrecorded() { # NAME PROGRAM
    local pid start exe
    exe=$(readlink -f "$(PATH=$clean_path command -v "$2")")
    for pid in $(marked_pids "$(process_tag "$1")"); do
        start=$(start_time "$pid") || continue
        [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" != "$exe" ] || stop_exactly "$pid" "$start"
    done
}

stop_exactly() { # PID START
    is_same_process "$1" "$2" || return 0
    kill "$1" 2>/dev/null || true
    try_until 10 process_is_gone "$1" "$2" && return 0
    if is_same_process "$1" "$2"; then kill -9 "$1" 2>/dev/null || true; fi
    try_until 5 process_is_gone "$1" "$2" || die "process $1 does not end, not even by SIGKILL"
}

process_is_gone() { ! is_same_process "$1" "$2"; }

# wait_healthy NAME SECONDS COMMAND...: until the command succeeds. It fails early when the process
# has gone, and stops a process that hangs, so that the next attempt starts a new one. SECONDS are
# for a process just started; one that ran before gets ten.
wait_healthy() {
    local name=$1 seconds=$2 end
    [[ $started == *" $name "* ]] || seconds=10
    end=$((SECONDS + seconds))
    shift 2
    while :; do
        process_pid "$name" >/dev/null || { say_log "$name" "has ended"; return 1; }
        "$@" >/dev/null 2>&1 && return 0
        if [ $SECONDS -ge $end ]; then
            say_log "$name" "is not healthy after $seconds s ($*)"
            stop_process "$name"
            return 1
        fi
        sleep 0.2
    done
}

say_log() { # NAME WHAT
    say "$1 $2; the end of $logs/$1.log:"
    tail -n 8 "$logs/$1.log" 2>/dev/null | cut -c1-400 >&2 || true
}

# --- the cluster's own tools --------------------------------------------------------------------

kubectl() { "$bin/kubectl" --kubeconfig "$admin_kubeconfig" --cache-dir "$state/tmp/kubectl-cache" "$@"; }
ctr() { command ctr --address "$containerd_socket" --namespace k8s.io "$@"; }
http_ok() { curl -sf -o /dev/null --max-time 3 --noproxy '*' "$@"; }

# apply_crds PREFIX...: server-side, because some are too large for a last-applied annotation, and
# waits until they are served.
apply_crds() {
    local args=() prefix file
    for prefix in "$@"; do
        for file in "$cache/crds/$prefix"*.yaml; do
            [ -f "$file" ] || die "no $file: run tests/cluster/build"
            args+=(-f "$file")
        done
    done
    kubectl apply --server-side --force-conflicts --field-manager=cluster-up "${args[@]}" >/dev/null
    # `kubectl wait` fails on a definition that is too new to have any condition.
    try_until 30 kubectl wait --for=condition=Established --timeout=10s "${args[@]}" ||
        die "the definitions $* are not established after 30 s"
}

apply() { kubectl apply --server-side --force-conflicts --field-manager=cluster-up -f - >/dev/null; }

# link_programs: every program of components.txt under its plain name in $bin.
link_programs() {
    local name mod version rest missing=()
    mkdir -p "$bin"
    # shellcheck disable=SC2034
    while read -r name mod version rest; do
        case $name in '' | '#'*) continue ;; esac
        if [ -x "$cache/bin/$name-$version" ]; then
            ln -sfn "$cache/bin/$name-$version" "$bin/$name"
        else
            missing+=("$name")
        fi
    done <"$here/components.txt"
    missing_programs=" ${missing[*]:-} "
}

# require_programs NAME...: builds those that are missing.
require_programs() {
    local name build=()
    for name in "$@"; do
        [[ $missing_programs != *" $name "* ]] || build+=("$name")
    done
    [ ${#build[@]} -eq 0 ] && return 0
    say "building ${build[*]}: this happens once"
    "$here/build" "${build[@]}"
    link_programs
}
