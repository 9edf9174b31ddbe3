# shellcheck shell=bash
# For the end-to-end tests: one line for each check, the two applications as they should be, the
# store's files, and questions to the cluster. A script ends with `end`; one that does not has died.
set -uo pipefail
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
set +e
top=$(cd "$e2e/../.." && pwd)
work=$(dirname "$GLEANER_GIT_ROOT")/gleaner # what the tests keep between scripts
mkdir -p "$work"
gleaner=$work/rootfs/usr/bin/gleaner # the very binary of the image, as a user runs it
checks=0 check_failures=0

gleaner() { "$gleaner" "$@"; }

# check NAME COMMAND...: PASS or FAIL and the name; what a failing command said follows.
check() {
    local name=$1 said
    shift
    checks=$((checks + 1))
    if said=$("$@" 2>&1); then
        echo "PASS $name"
    else
        check_failures=$((check_failures + 1))
        echo "FAIL $name"
        head -c 3000 <<<"$said" | sed 's/^/  | /'
        return 1
    fi
}
# must NAME COMMAND...: the same; what follows makes no sense without it.
must() { check "$@" || end; }
end() {
    echo "END $(basename "$0" .sh): $checks checks, $check_failures failed"
    [ $check_failures -eq 0 ]
    exit
}
not() { ! "$@"; }
same() { [ "$1" = "$2" ] || { printf 'expected: %s\nfound:    %s\n' "$1" "$2"; return 1; }; }
contains() { grep -qF -- "$2" <<<"$1" || { printf 'not found: %s\nin: %s\n' "$2" "$1"; return 1; }; }

# --- the applications as they should be ---------------------------------------------------------

# A file, a mode, a symlink and a hard link that nothing changes, beside what the application writes.
fill_volume() { # NAMESPACE POD
    kubectl -n "$1" exec "$2" -- sh -c '
        [ -s /data/ledger/canary ] && exit 0
        mkdir -p /data/ledger && chmod 0750 /data/ledger
        echo "volume-canary-$(head -c 12 /dev/urandom | hexdump -ve "1/1 \"%02x\"")" >/data/ledger/canary
        head -c 3000000 /dev/urandom >/data/ledger/large
        chmod 0640 /data/ledger/canary; chown 123:456 /data/ledger/large
        ln -s canary /data/ledger/link; ln /data/ledger/large /data/ledger/hard
        touch -d "2020-01-02 03:04:05" /data/ledger/large' </dev/null
}
# What must come back of it: types, modes, owners, sizes, times, link counts, targets, content.
volume_state() { # NAMESPACE POD: once it runs, which after a Restore is Done may take its time
    wait_for "pod $1/$2 runs" 90 kubectl -n "$1" exec "$2" -- true </dev/null || return 1
    kubectl -n "$1" exec "$2" -- sh -c '
        cd /data && find ledger ! -type l -exec stat -c "%n %f %u %g %h %F" {} + | sort
        stat -c "%n %s %Y" ledger/large ledger/canary
        readlink ledger/link; sha256sum ledger/canary ledger/large ledger/hard' </dev/null
}
pod_of() { kubectl -n "$1" get pods -l "app=$1" -o jsonpath='{.items[0].metadata.name}'; }

app_is_whole() { # shop or blog: deployed, healthy, not held, with what people added
    case $1 in
    shop) flux_ready helmrelease shop shop && flux_ready kustomization flux-system shop &&
        kubectl_is '' -n shop get helmrelease shop -o jsonpath='{.spec.suspend}' &&
        [ -n "$(kubectl -n shop get secret shop-payment -o jsonpath='{.data.token}')" ] &&
        kubectl -n shop get secret shop-courier shop-database ;;
    blog) argocd_healthy blog && kubectl_is true -n argocd get application blog -o jsonpath='{.spec.syncPolicy.automated.selfHeal}' &&
        kubectl_is '' -n argocd get application blog -o jsonpath='{.spec.syncPolicy.automated.enabled}' &&
        [ -n "$(kubectl -n blog get secret blog-admin -o jsonpath='{.data.password}')" ] &&
        kubectl -n blog get secret blog-mail ;;
    esac >/dev/null 2>&1 && kubectl_is 1 -n "$1" get job "$1-import" -o jsonpath='{.status.succeeded}' >/dev/null 2>&1 &&
        [ "$(kubectl -n "$1" get pods -l "app=$1" -o jsonpath='{.items[0].status.phase}' 2>/dev/null)" = Running ]
}

# Restores that an earlier, failed run left would keep the application held.
forget_restores() {
    local name
    for name in $(kubectl -n gleaner-system get restores -o name 2>/dev/null); do
        kubectl -n gleaner-system delete "$name" --wait=false >/dev/null
        kubectl -n gleaner-system patch "$name" --type=merge -p '{"metadata":{"finalizers":null}}' >/dev/null 2>&1
    done
    gleaner holds --free >/dev/null 2>&1
}

# Where Git was away for a while Flux waits for many minutes before it looks again.
source_is_read() { [ "$1" != shop ] || flux_ready gitrepository flux-system shop >/dev/null; }

# setup_app shop|blog: as it should be, from nothing if need be.
setup_app() {
    if ! { app_is_whole "$1" && source_is_read "$1"; }; then
        forget_restores
        "app_$1_delete" && "app_$1_deploy" && "app_$1_by_hand" || return 1
    fi
    wait_for "$1 is whole" 120 app_is_whole "$1" && fill_volume "$1" "$(pod_of "$1")"
}

# --- gleaner's resources ------------------------------------------------------------------------

apply_backup() { # NAME KIND NAMESPACE TARGET
    kubectl apply -f - >/dev/null <<X
{"apiVersion": "gleaner.dev/v1alpha1", "kind": "Backup", "metadata": {"name": "$1", "namespace": "gleaner-system"},
 "spec": {"target": {"kind": "$2", "namespace": "$3", "name": "$4"}}}
X
}
backup_app() { # NAME shop|blog: waits until it is Completed
    case $2 in
    shop) apply_backup "$1" HelmRelease shop shop ;;
    blog) apply_backup "$1" Application argocd blog ;;
    esac && wait_for "Backup $1 is Completed" 180 phase_is backup "$1" Completed
}
apply_restore() { # NAME BACKUP
    kubectl apply -f - >/dev/null <<X
{"apiVersion": "gleaner.dev/v1alpha1", "kind": "Restore", "metadata": {"name": "$1", "namespace": "gleaner-system"},
 "spec": {"backupRef": {"name": "$2"}, "mode": "Replace"}}
X
}
phase() { kubectl -n gleaner-system get "$1" "$2" -o jsonpath='{.status.phase}'; }
why() { # KIND NAME: phase and the Ready condition's words
    kubectl -n gleaner-system get "$1" "$2" -o json | jq -r '"\(.status.phase): \(.status.conditions[]? | select(.type == "Ready") | "\(.reason): \(.message)")"'
}
# phase_is KIND NAME PHASE: fails at once, loudly, when it has ended otherwise.
phase_is() {
    local is
    is=$(phase "$1" "$2")
    [ "$is" = "$3" ] && return 0
    why "$1" "$2"
    return 1
}
ended_as() { # KIND NAME PHASE SECONDS
    local end=$((SECONDS + $4)) is
    while :; do
        is=$(phase "$1" "$2")
        case $is in
        "$3") return 0 ;;
        Completed | PartiallyFailed | Failed | Done | Held | AlreadyRestored | Cancelled | RolledBack)
            why "$1" "$2"; kubectl -n gleaner-system get "$1" "$2" -o json | jq .status; return 1 ;;
        esac
        [ $SECONDS -lt $end ] || { why "$1" "$2"; echo "not $3 after $4 s"; return 1; }
        sleep 0.5
    done
}
# event_says KIND NAME TEXT: an Event on that resource says so.
event_says() {
    kubectl get events.v1.events.k8s.io -A -o json | jq -e --arg k "$1" --arg n "$2" --arg t "$3" \
        '[.items[] | select(.regarding.kind == $k and .regarding.name == $n and ((.note + .reason) | contains($t)))] | length > 0' >/dev/null ||
        { kubectl get events.v1.events.k8s.io -A -o json | jq -r --arg n "$2" '.items[] | select(.regarding.name == $n) | "\(.reason): \(.note)"'; return 1; }
}

# snapshots_in_cluster STORE [PHASE]: those that Backups of it have (in that phase), in order.
snapshots_in_cluster() {
    kubectl -n gleaner-system get backups -o json | jq -r --arg s "$1" --arg p "${2:-}" '.items[] |
        select(.status.store == $s and ($p == "" or .status.phase == $p)) |
        if $p == "" then .status.snapshot // empty else .status.snapshot end' | sort
}
delete_backups_of() { # STORE: all that name it
    kubectl -n gleaner-system get backups -o json | jq -r --arg s "$1" '.items[] | select(.spec.storeRef.name == $s) | .metadata.name' |
        xargs -r kubectl -n gleaner-system delete backup >/dev/null
}

# --- the store, by stock restic -----------------------------------------------------------------

store_folder() { # of the repository of a namespace, on this machine
    local volume path
    volume=$(kubectl -n gleaner-system get pvc gleaner-store -o jsonpath='{.spec.volumeName}')
    path=$(kubectl get pv "$volume" -o jsonpath='{.spec.hostPath.path}{.spec.local.path}')
    echo "$path/backups/$(kubectl get namespace kube-system -o jsonpath='{.metadata.uid}')/$1"
}
store_password_file() {
    (umask 077; kubectl -n gleaner-system get secret gleaner-store-password -o jsonpath='{.data.password}' | base64 -d >"$work/password")
    echo "$work/password"
}
stock_restic() { # NAMESPACE ARGUMENTS...
    local repository password
    repository=$(store_folder "$1")
    password=$(store_password_file)
    shift
    RESTIC_REPOSITORY=$repository RESTIC_PASSWORD_FILE=$password RESTIC_CACHE_DIR=$work/restic-cache restic --no-lock -q "$@"
}
# What is put on the volume now lies in a pack of its own after the next backup: the largest new one.
write_fresh() { # NAMESPACE POD
    kubectl -n "$1" exec "$2" -- sh -c 'head -c 3000000 /dev/urandom >/data/ledger/fresh' </dev/null && touch "$work/fresh"
}
fresh_pack() { # NAMESPACE
    find "$(store_folder "$1")/data" -type f -newer "$work/fresh" -printf '%s %p\n' | sort -rn | sed -n '1s/^[0-9]* //p'
}
snapshot_of() { kubectl -n gleaner-system get backup "$1" -o jsonpath='{.status.snapshot}'; }
# backup_files BACKUP NAMESPACE: the paths in its snapshot.
backup_files() { stock_restic "$2" ls "$(snapshot_of "$1")" | grep '^/'; }
backup_dump() { stock_restic "$2" dump "$(snapshot_of "$1")" "$3"; } # BACKUP NAMESPACE PATH
has_path() { grep -qxF "$2" <<<"$1" || { echo "no $2 among:"; grep -v '^/volumes' <<<"$1"; return 1; }; }
has_none() { ! grep -E "$2" <<<"$1"; } # FILES PATTERN: prints what should not be there

# --- what the engines see -----------------------------------------------------------------------

# What people and Git wrote on an application object, without what engines answer.
object_state() { # NAMESPACE KIND NAME
    kubectl -n "$1" get "$2" "$3" -o json | jq -S '{spec, labels: .metadata.labels, finalizers: .metadata.finalizers,
        annotations: ((.metadata.annotations // {}) | del(.["reconcile.fluxcd.io/requestedAt"], .["kubectl.kubernetes.io/last-applied-configuration"]))}'
}
all_objects() { # NAMESPACE...: every object but Events, one JSON a line
    local kinds ns
    kinds=$(kubectl api-resources --verbs=list --namespaced -o name | grep -vE '^events(\.|$)|^(pods|nodes)\.metrics|gleaner\.dev$' | paste -sd, -)
    for ns in "$@"; do
        kubectl -n "$ns" get "$kinds" -o json --show-managed-fields 2>/dev/null | jq -c '.items[]'
    done
}
# Nothing outside our own resources says that gleaner was there (but for what a person wrote).
clean_hands() { # NAMESPACE...
    local dirty
    dirty=$(all_objects "$@" | jq -r 'select(([.metadata.managedFields[]?.manager] | index("gleaner")) or
        ([(.metadata.annotations // {}), (.metadata.labels // {}) | keys[] | select(startswith("gleaner.dev/") and
          (IN("gleaner.dev/protect", "gleaner.dev/schedule", "gleaner.dev/store", "gleaner.dev/retention") | not))] | length > 0))
        | "\(.kind) \(.metadata.namespace)/\(.metadata.name)"')
    [ -z "$dirty" ] || { echo "$dirty"; return 1; }
}
owners() { # NAMESPACE KIND NAME: who owns which field, without times
    kubectl -n "$1" get "$2" "$3" -o json --show-managed-fields | jq -cS '[.metadata.managedFields[] | {manager, operation, subresource, fieldsV1}] | sort_by(.manager, .operation, .subresource)'
}
secret_value() { kubectl -n "$1" get secret "$2" -o jsonpath="{.data.$3}" | base64 -d; }
