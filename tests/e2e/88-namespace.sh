#!/usr/bin/env bash
# The namespaces of the application and of gleaner itself are deleted; installed again, all comes back
. "$(dirname "$0")/checks.sh"
must "versitygw is up" "$top/tests/cluster/up" s3
must "shop runs under Flux" setup_app shop
run=$$ store=e2e-away bucket=gleaner-away-$$
uid=$(kubectl get namespace kube-system -o jsonpath='{.metadata.uid}')
export RESTIC_CACHE_DIR=$work/away-cache AWS_ACCESS_KEY_ID=$GLEANER_S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$GLEANER_S3_SECRET_KEY
# What people keep elsewhere: the password, and the bucket's credential.
kept=$work/away-kept
rm -rf "$kept"
(
    umask 077
    mkdir -p "$kept"
    cp "$(store_password_file)" "$kept/password"
    printf '%s' "$AWS_ACCESS_KEY_ID" >"$kept/AWS_ACCESS_KEY_ID"
    printf '%s' "$AWS_SECRET_ACCESS_KEY" >"$kept/AWS_SECRET_ACCESS_KEY"
)
restic_at() { # FOLDER ARGUMENTS...
    local at=$1
    shift
    restic -q -r "s3:$GLEANER_S3_URL/$bucket/$at" --cacert "$GLEANER_S3_CA" --password-file "$kept/password" "$@"
}
make_secrets() {
    kubectl -n gleaner-system create secret generic e2e-away --from-file="$kept/AWS_ACCESS_KEY_ID" --from-file="$kept/AWS_SECRET_ACCESS_KEY" &&
        kubectl -n gleaner-system create secret generic e2e-away-ca --from-file=ca.crt="$GLEANER_S3_CA"
}
clean() {
    kubectl delete backupstore $store --ignore-not-found >/dev/null
    delete_backups_of $store
    kubectl -n gleaner-system delete secret e2e-away e2e-away-ca --ignore-not-found >/dev/null
    rm -rf "$RESTIC_CACHE_DIR" "$kept"
}
trap clean EXIT
must "a bucket" restic_at made-with-it init
must "its credential" make_secrets
jq -n --arg n $store --arg e "$GLEANER_S3_URL" --arg b "$bucket" '{apiVersion: "gleaner.dev/v1alpha1", kind: "BackupStore", metadata: {name: $n},
    spec: {s3: {endpoint: $e, bucket: $b, forcePathStyle: true}, credentialsSecretRef: {name: "e2e-away"},
    caSecretRef: {name: "e2e-away-ca"}, passwordSecretRef: {name: "gleaner-store-password"}}}' | kubectl apply -f - >/dev/null
store_ready() { kubectl_is True get backupstore $store -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}'; }
must "the store is ready" wait_for "Ready" 60 store_ready
backup() { # NAME
    jq -n --arg n "$1" --arg s $store '{apiVersion: "gleaner.dev/v1alpha1", kind: "Backup", metadata: {name: $n, namespace: "gleaner-system"},
        spec: {target: {kind: "HelmRelease", namespace: "shop", name: "shop"}, storeRef: {name: $s}}}' | kubectl apply -f - >/dev/null &&
        ended_as backup "$1" Completed 180
}
must "a Backup" backup "e2e-away-$run-1"
write_fresh shop shop-0
must "and another" backup "e2e-away-$run-2"
files=$(volume_state shop shop-0)
snapshots() { restic_at "$uid/shop" --no-lock snapshots --json | jq -r '.[].id' | sort; }
agree() { same "$(snapshots)" "$(snapshots_in_cluster $store Completed)"; }
before=$(snapshots)
check "two snapshots are in the bucket" same 2 "$(grep -c . <<<"$before")"

# --- everything goes ------------------------------------------------------------------------------

must "the application and its namespace are deleted" app_shop_delete
must "gleaner's namespace is deleted, and nothing holds it back" kubectl delete namespace gleaner-system --timeout=180s
check "no snapshot is lost" same "$before" "$(snapshots)"

# --- and comes back -------------------------------------------------------------------------------

install() {
    kubectl create namespace gleaner-system &&
        kubectl -n gleaner-system create secret generic gleaner-store-password --from-file="$kept/password" &&
        make_secrets && "$top/tests/e2e/deploy-gleaner"
}
must "gleaner is installed again, with the password that was kept" install
check "the store is ready again" wait_for "Ready" 90 store_ready
check "its Backups come back" wait_for "the same" 90 agree
check "no snapshot is lost" same "$before" "$(snapshots)"
must "Git brings the application back, empty" app_shop_deploy
shop_runs() { kubectl_is Running -n shop get pod shop-0 -o jsonpath='{.status.phase}' && flux_ready helmrelease shop shop; }
must "it runs" wait_for "shop" 120 shop_runs
name=$(kubectl -n gleaner-system get backups -o json | jq -r --arg s "$store" '[.items[] | select(.status.store == $s)] | sort_by(.status.completionTime) | .[-1].metadata.name')
apply_restore "e2e-away-$run" "$name"
check "a Restore from one that came back is Done" ended_as restore "e2e-away-$run" Done 300
check "with the volume" same "$files" "$(volume_state shop shop-0)"
check "and the Secret that people made" same courier-key-made-by-hand "$(secret_value shop shop-courier key)"
check "shop is whole" wait_for "shop" 120 app_is_whole shop
check "stock restic check --read-data finds no fault" restic_at "$uid/shop" --no-lock check --read-data
kubectl -n gleaner-system delete restore "e2e-away-$run" >/dev/null
end
