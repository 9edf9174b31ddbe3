#!/usr/bin/env bash
# Bad input: each ends in a condition and an Event that name the thing, and nothing is touched
. "$(dirname "$0")/checks.sh"
must "shop runs under Flux" setup_app shop
state_before=$(object_state shop helmrelease shop)
objects_before() { all_objects shop | jq -r 'select(.kind | IN("Secret", "ConfigMap", "Service", "StatefulSet", "Job", "PersistentVolumeClaim")) |
    select(.metadata.name | startswith("sh.helm.release") | not) | "\(.kind) \(.metadata.name) \(.metadata.uid) \(.metadata.resourceVersion)"' | sort; }
before=$(objects_before)

refused_by_api() { # EXPECTED MANIFEST
    local said
    said=$(kubectl apply -f - <<<"$2" 2>&1) && { echo "it was accepted"; return 1; }
    contains "$said" "$1"
}
meta() { printf '"apiVersion": "gleaner.dev/v1alpha1", "kind": "%s", "metadata": {"name": "%s", "namespace": "%s"}' "$1" "$2" "${3:-gleaner-system}"; }
target='"target": {"kind": "HelmRelease", "namespace": "shop", "name": "shop"}'

# --- what the API server itself refuses ---------------------------------------------------------
check "Backup: an unknown field is named" refused_by_api wrongField "{$(meta Backup bad), \"spec\": {$target, \"wrongField\": 1}}"
check "Backup: an unknown kind of target is refused" refused_by_api Deployment \
    "{$(meta Backup bad), \"spec\": {\"target\": {\"kind\": \"Deployment\", \"namespace\": \"shop\", \"name\": \"shop\"}}}"
check "Restore: an unknown field is named" refused_by_api wrongField "{$(meta Restore bad), \"spec\": {\"backupRef\": {\"name\": \"x\"}, \"wrongField\": 1}}"
check "BackupStore: an unknown field is named" refused_by_api s3 \
    '{"apiVersion": "gleaner.dev/v1alpha1", "kind": "BackupStore", "metadata": {"name": "bad"}, "spec": {"s3": {"bucket": "x"}, "passwordSecretRef": {"name": "x"}}}'
check "BackupStore: a path out of the volume is refused" refused_by_api path \
    '{"apiVersion": "gleaner.dev/v1alpha1", "kind": "BackupStore", "metadata": {"name": "bad"}, "spec": {"local": {"path": "../../etc"}, "passwordSecretRef": {"name": "x"}}}'

# --- Backups ------------------------------------------------------------------------------------
ends_badly() { # KIND NAME WORD...: Failed, with a condition and an Event that say each word
    local kind=$1 name=$2 word said
    shift 2
    ended_as "$kind" "$name" Failed 90 || return 1
    said=$(why "$kind" "$name")
    for word in "$@"; do
        contains "$said" "$word" || return 1
        event_says "$(sed 's/./\u&/' <<<"$kind")" "$name" "$word" || return 1
    done
}
backup_of() { # NAME KIND NAMESPACE TARGET [STORE]
    kubectl apply -f - >/dev/null <<<"{$(meta Backup "$1"), \"spec\": {\"target\": {\"kind\": \"$2\", \"namespace\": \"$3\", \"name\": \"$4\"}${5:+, \"storeRef\": {\"name\": \"$5\"\}}}}"
}
backup_of "bad-object-$$" HelmRelease shop no-such-release
check "Backup of an application that is not there" ends_badly backup "bad-object-$$" no-such-release
backup_of "bad-store-$$" HelmRelease shop shop no-such-store
check "Backup to a store that is not there" ends_badly backup "bad-store-$$" no-such-store

# A Kustomization that has applied nothing yet: nothing to back up.
kubectl apply -f - >/dev/null <<X
{"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "empty", "namespace": "flux-system"},
 "spec": {"interval": "10m", "path": "./no-such-folder", "prune": false, "sourceRef": {"kind": "GitRepository", "name": "shop"}}}
X
backup_of "bad-nothing-$$" Kustomization flux-system empty
check "Backup of nothing" ends_badly backup "bad-nothing-$$" empty
kubectl -n flux-system delete kustomization empty --wait=false >/dev/null

# --- passwords and stores -----------------------------------------------------------------------
store() { # NAME PATH SECRET
    kubectl apply -f - >/dev/null <<X
{"apiVersion": "gleaner.dev/v1alpha1", "kind": "BackupStore", "metadata": {"name": "$1"},
 "spec": {"local": {"path": "$2"}, "passwordSecretRef": {"name": "$3"}}}
X
}
store_says() { # NAME WORD...
    local said word
    kubectl_is False get backupstore "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' || return 1
    said=$(kubectl get backupstore "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}')
    shift
    for word in "$@"; do contains "$said" "$word" || return 1; done
}
store bad-missing bad-missing no-such-secret
check "BackupStore: its password's Secret is missing" wait_for "the condition" 30 store_says bad-missing no-such-secret
check "with an Event" wait_for "the Event" 20 event_says BackupStore bad-missing no-such-secret
kubectl -n gleaner-system create secret generic bad-short --from-literal=password=short --dry-run=client -o yaml | kubectl apply -f - >/dev/null
store bad-short bad-short bad-short
check "BackupStore: a short password is refused" wait_for "the condition" 30 store_says bad-short 128
(umask 077; printf 'wrong-password-canary-%s' "$(openssl rand -hex 12)" >"$work/wrong")
kubectl -n gleaner-system create secret generic bad-wrong --from-file=password="$work/wrong" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
store bad-wrong backups bad-wrong
check "BackupStore: a wrong password is told" wait_for "the condition" 30 store_says bad-wrong password
check "with an Event" wait_for "the Event" 20 event_says BackupStore bad-wrong password
backup_of "bad-password-$$" HelmRelease shop shop bad-wrong
check "Backup with a wrong password" ends_badly backup "bad-password-$$" bad-wrong password
# Where the store's folder should be stands a file.
volume=$(dirname "$(dirname "$(dirname "$(store_folder shop)")")")
echo in the way >"$volume/blocked"
store bad-blocked blocked gleaner-store-password
check "BackupStore: a store that cannot be reached" wait_for "the condition" 30 store_says bad-blocked blocked
check "Backup to it" backup_of "bad-blocked-$$" HelmRelease shop shop bad-blocked
not_done() { [ "$(phase backup "bad-blocked-$$")" != Completed ] && contains "$(why backup "bad-blocked-$$")" blocked; }
check "says so and does not complete" wait_for "the condition" 60 not_done
kubectl -n gleaner-system delete backup "bad-blocked-$$" --wait=false >/dev/null
kubectl delete backupstore bad-missing bad-short bad-wrong bad-blocked >/dev/null
rm -f "$volume/blocked"

# --- the command line ---------------------------------------------------------------------------
fails_with() { # CODE WORD COMMAND...
    local code=$1 word=$2 said status=0
    shift 2
    said=$("$@" 2>&1) || status=$?
    same "$code" $status && contains "$said" "$word"
}
sed 's/:26443/:26444/' "$KUBECONFIG" >"$work/nowhere.kubeconfig"
check "plan: the API server cannot be reached: exit 1, and where it was sought" fails_with 1 26444 \
    gleaner plan helmrelease/shop -n shop --kubeconfig "$work/nowhere.kubeconfig"
check "plan: no such application: exit 1" fails_with 1 no-such gleaner plan helmrelease/no-such -n shop
check "plan: no such kind: exit 2" fails_with 2 deployment gleaner plan deployment/shop -n shop
check "an unknown option: exit 2" fails_with 2 --bogus gleaner plan --bogus
check "an unknown verb: exit 2" fails_with 2 explode gleaner explode
check "repo: a wrong password: exit 12" fails_with 12 password gleaner repo snapshots -r "$(store_folder shop)" -p "$work/wrong"

# --- Restores -----------------------------------------------------------------------------------
apply_restore "bad-absent-$$" no-such-backup
check "Restore of a Backup that is not there" ends_badly restore "bad-absent-$$" no-such-backup
apply_restore "bad-failed-$$" "bad-object-$$"
check "Restore of a Backup that failed" ends_badly restore "bad-failed-$$" "bad-object-$$"

must "the volume has something new" write_fresh shop shop-0
must "shop is backed up" backup_app "bad-pack-$$" shop
pack=$(fresh_pack shop)
mv "$pack" "$work/pack"
apply_restore "bad-pack-$$" "bad-pack-$$"
check "Restore of a backup whose pack is missing names the pack" ends_badly restore "bad-pack-$$" "$(basename "$pack" | cut -c1-8)"
head -c 1000 "$work/pack" >"$pack"
apply_restore "bad-short-pack-$$" "bad-pack-$$"
check "and of one whose pack is cut" ends_badly restore "bad-short-pack-$$" "$(basename "$pack" | cut -c1-8)"
mv -f "$work/pack" "$pack"

check "nothing was touched: the HelmRelease" same "$state_before" "$(object_state shop helmrelease shop)"
check "nothing was touched: objects of the application" same "$before" "$(objects_before)"
check "nothing was held" same "nothing is held" "$(gleaner holds 2>&1)"
check "no mover is left" wait_for "no mover" 30 kubectl_is '' get pods -A -l gleaner.dev/mover -o name
end
