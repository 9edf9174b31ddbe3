#!/usr/bin/env bash
# BackupStores on S3, on two servers: an application protected, backed up, destroyed and restored; what the
# Ready condition says of a store that cannot be used; a store that another cluster wrote; no credential anywhere
. "$(dirname "$0")/checks.sh"
must "versitygw and MinIO are up" "$top/tests/cluster/up" s3 minio
must "shop runs under Flux" setup_app shop
must "blog runs under Argo CD" setup_app blog
folder=$work/s3-store
rm -rf "$folder"
mkdir -p "$folder/seen"
run=$$
prefix=clusters/$run
uid=$(kubectl get namespace kube-system -o jsonpath='{.metadata.uid}')
export RESTIC_CACHE_DIR=$folder/cache LC_ALL=C.UTF-8
export AWS_ACCESS_KEY_ID=$GLEANER_S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$GLEANER_S3_SECRET_KEY
password=$(store_password_file)
stores="e2e-versity e2e-minio e2e-wrong e2e-nobody e2e-nameless e2e-foreign e2e-reader"
clean() {
    kubectl -n gleaner-system get schedules -o name | grep e2e-s3 | xargs -r kubectl -n gleaner-system delete >/dev/null 2>&1
    # shellcheck disable=SC2086 # words
    kubectl delete backupstores $stores --ignore-not-found >/dev/null
    kubectl -n gleaner-system delete secret e2e-bucket e2e-bucket-wrong e2e-bucket-half e2e-ca e2e-short --ignore-not-found >/dev/null
    rm -rf "$folder"
}
trap clean EXIT

secret() { # NAME KEY=VALUE...: values go by files, so that none is on a command line
    local name=$1 pair args=()
    shift
    for pair in "$@"; do
        (umask 077; printf '%s' "${pair#*=}" >"$folder/value-${pair%%=*}")
        args+=("--from-file=${pair%%=*}=$folder/value-${pair%%=*}")
    done
    kubectl -n gleaner-system create secret generic "$name" "${args[@]}" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
    rm -f "$folder"/value-*
}
secret e2e-bucket "AWS_ACCESS_KEY_ID=$GLEANER_S3_ACCESS_KEY" "AWS_SECRET_ACCESS_KEY=$GLEANER_S3_SECRET_KEY"
secret e2e-bucket-half "AWS_ACCESS_KEY_ID=$GLEANER_S3_ACCESS_KEY"
secret e2e-short "password=too short"
kubectl -n gleaner-system create secret generic e2e-ca --from-file=ca.crt="$GLEANER_S3_CA" --dry-run=client -o yaml | kubectl apply -f - >/dev/null

# store NAME ENDPOINT BUCKET [JQ]: a BackupStore; JQ changes its spec.
store() {
    jq -n --arg name "$1" --arg endpoint "$2" --arg bucket "$3" --arg prefix "$prefix" '{apiVersion: "gleaner.dev/v1alpha1",
        kind: "BackupStore", metadata: {name: $name}, spec: {s3: {endpoint: $endpoint, bucket: $bucket, prefix: $prefix,
        forcePathStyle: true}, credentialsSecretRef: {name: "e2e-bucket"}, caSecretRef: {name: "e2e-ca"},
        passwordSecretRef: {name: "gleaner-store-password"}}} | .spec |= ('"${4:-.}"')' | kubectl apply -f - 2>&1
}
condition() { # STORE TYPE JSONPATH-FIELD
    kubectl get backupstore "$1" -o jsonpath="{.status.conditions[?(@.type==\"$2\")].$3}"
}
ready_is() { # STORE STATUS REASON
    same "$2 $3" "$(condition "$1" Ready status) $(condition "$1" Ready reason)" || { condition "$1" Ready message; return 1; }
}
restic_at() { # URL NAMESPACE ARGUMENTS...
    local repository="s3:$1/gleaner-e2e-$run/$prefix/$uid/$2"
    shift 2
    restic -q -r "$repository" --cacert "$GLEANER_S3_CA" --password-file "$password" "$@"
}
make_bucket() { # URL: by restic, in a repository of its own beside ours
    restic -q -r "s3:$1/gleaner-e2e-$run/made-with-it" --cacert "$GLEANER_S3_CA" --password-file "$password" init
}
backup_to() { # NAME STORE KIND NAMESPACE TARGET
    jq -n --arg n "$1" --arg s "$2" --arg k "$3" --arg ns "$4" --arg t "$5" '{apiVersion: "gleaner.dev/v1alpha1", kind: "Backup",
        metadata: {name: $n, namespace: "gleaner-system"}, spec: {target: {kind: $k, namespace: $ns, name: $t}, storeRef: {name: $s}}}' |
        kubectl apply -f - >/dev/null
}
# What tenants have, and what is logged, as long as this runs.
touch "$folder/watching"
watch_tenants() {
    local pod process
    while [ -e "$folder/watching" ]; do
        for pod in $(kubectl get pods -A -l gleaner.dev/mover -o jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name} {end}' 2>/dev/null); do
            kubectl -n "${pod%/*}" logs "${pod#*/}" >"$folder/seen/log-${pod#*/}" 2>/dev/null
            kubectl -n "${pod%/*}" get pod "${pod#*/}" -o json >>"$folder/seen/mover-pods" 2>/dev/null
            kubectl -n "${pod%/*}" get secrets,configmaps -o json >"$folder/seen/tenant-${pod%/*}" 2>/dev/null
        done
        for process in $(pgrep -x gleaner); do
            { cat "/proc/$process/cmdline" "/proc/$process/environ" 2>/dev/null; echo; } >>"$folder/seen/processes"
        done
        sleep 0.3
    done
}

# --- what is wrong, in words --------------------------------------------------------------------

# These two are told only when half a minute of tries is over: it passes during the others.
store e2e-nobody "https://10.99.0.1:3099" "gleaner-e2e-$run" >/dev/null
store e2e-nameless "https://s3.gleaner.invalid" "gleaner-e2e-$run" >/dev/null
store e2e-wrong "$GLEANER_S3_URL" "gleaner-e2e-$run" >/dev/null
check "no such bucket" wait_for "NoSuchBucket" 40 ready_is e2e-wrong False NoSuchBucket
check "an Event says so" wait_for "an Event" 20 event_says BackupStore e2e-wrong "no bucket"
must "a bucket in versitygw" make_bucket "$GLEANER_S3_URL"
must "a bucket in MinIO" make_bucket "$GLEANER_MINIO_URL"
check "which is seen when it is there" wait_for "Ready" 60 ready_is e2e-wrong True Opened
check "and told" wait_for "an Event" 20 event_says BackupStore e2e-wrong StoreReady
wrong() { # NAME REASON STATUS URL JQ: the store made anew with that change
    kubectl delete backupstore e2e-wrong >/dev/null
    store e2e-wrong "$4" "gleaner-e2e-$run" "$5" >/dev/null
    check "$1" wait_for "$2" 60 ready_is e2e-wrong "$3" "$2"
}
for server in "versitygw $GLEANER_S3_URL" "MinIO $GLEANER_MINIO_URL"; do
    name=${server% *} url=${server#* }
    secret e2e-bucket-wrong "AWS_ACCESS_KEY_ID=$GLEANER_S3_ACCESS_KEY" "AWS_SECRET_ACCESS_KEY=another-secret-of-$run"
    wrong "$name: a wrong secret" SecretKeyWrong False "$url" '.credentialsSecretRef.name = "e2e-bucket-wrong"'
    secret e2e-bucket-wrong "AWS_ACCESS_KEY_ID=nobody-$run" "AWS_SECRET_ACCESS_KEY=$GLEANER_S3_SECRET_KEY"
    wrong "$name: a wrong access key" AccessKeyUnknown False "$url" '.credentialsSecretRef.name = "e2e-bucket-wrong"'
    wrong "$name: a certificate that is not trusted" CertificateNotTrusted False "$url" 'del(.caSecretRef)'
    wrong "$name: another region is corrected" Opened True "$url" '.s3.region = "eu-west-9"'
done
wrong "a Secret that is not there" Refused False "$GLEANER_S3_URL" '.credentialsSecretRef.name = "e2e-none"'
check "is named" contains "$(condition e2e-wrong Ready message)" "gleaner-system/e2e-none"
wrong "a key that is not in it" Refused False "$GLEANER_S3_URL" '.credentialsSecretRef.name = "e2e-bucket-half"'
check "is named, too" contains "$(condition e2e-wrong Ready message)" "AWS_SECRET_ACCESS_KEY"
wrong "a password that is too short" Refused False "$GLEANER_S3_URL" '.passwordSecretRef.name = "e2e-short"'
check "is told" contains "$(condition e2e-wrong Ready message)" "too short"
check "nothing listens there" wait_for "Unreachable" 60 ready_is e2e-nobody Unknown Unreachable
check "a name that does not resolve" wait_for "HostNotFound" 60 ready_is e2e-nameless Unknown HostNotFound
kubectl delete backupstore e2e-nobody e2e-nameless >/dev/null
wrong "a Git server is no S3 server" NotS3 False "$GLEANER_GIT_URL" .
wrong "no credentials at all" NoCredentials False "$GLEANER_S3_URL" 'del(.credentialsSecretRef)'
kubectl delete backupstore e2e-wrong >/dev/null
refused_spec() { # JQ: the API server refuses it
    local said
    said=$(store e2e-wrong "$GLEANER_S3_URL" "gleaner-e2e-$run" "$1") && { echo "accepted"; return 1; }
    contains "$said" "$2"
}
check "local and s3 at once are refused" refused_spec '.local = {path: "x"}' "exactly one"
check "neither of them too" refused_spec 'del(.s3)' "exactly one"
check "and credentials for a local one" refused_spec 'del(.s3) | .local = {path: "x"}' "are for s3"

# --- two good ones ------------------------------------------------------------------------------

watch_tenants &
watcher=$!
store e2e-versity "$GLEANER_S3_URL" "gleaner-e2e-$run" >/dev/null
store e2e-minio "$GLEANER_MINIO_URL" "gleaner-e2e-$run" >/dev/null
check "the store on versitygw is ready" wait_for "Ready" 40 ready_is e2e-versity True Opened
check "the store on MinIO is ready" wait_for "Ready" 40 ready_is e2e-minio True Opened
check "the proof left nothing behind" same '' "$(restic_at "$GLEANER_S3_URL" _cluster list locks --no-lock)"
check "a server at a node's address lies inside the cluster" same "True ServedHere" "$(condition e2e-versity InCluster status) $(condition e2e-versity InCluster reason)"
check "so does the local one" same "True LocalVolume" "$(condition local InCluster status) $(condition local InCluster reason)"
moved() { # CHANGE: of a store that has repositories
    kubectl patch backupstore e2e-versity --type=merge -p "{\"spec\": {\"s3\": $1}}" 2>&1
}
check "its prefix cannot be changed any more" contains "$(moved '{"prefix": "elsewhere"}')" "make another BackupStore"
check "nor its bucket" contains "$(moved '{"bucket": "elsewhere"}')" "make another BackupStore"
check "its region can" contains "$(moved '{"region": "us-east-1"}')" patched

kubectl -n shop annotate --field-manager=people helmrelease shop gleaner.dev/protect=true gleaner.dev/store=e2e-versity --overwrite >/dev/null
schedule_store() { kubectl -n gleaner-system get schedules -o json | jq -er '.items[] | select(.spec.template.target.name == "shop") | .spec.template.storeRef.name'; }
store_of_schedule() { same e2e-versity "$(schedule_store)"; }
check "the annotation names the store" wait_for "a Schedule" 20 store_of_schedule
kubectl -n shop annotate --field-manager=people helmrelease shop gleaner.dev/protect- gleaner.dev/store- >/dev/null

before=$(volume_state shop "$(pod_of shop)")
key=$(secret_value shop shop-courier key)
backup_to "e2e-s3-shop-$run" e2e-versity HelmRelease shop shop
backup_to "e2e-s3-blog-$run" e2e-minio Application argocd blog
must "a backup to versitygw is Completed" wait_for "the Backup" 180 phase_is backup "e2e-s3-shop-$run" Completed
must "a backup to MinIO is Completed" wait_for "the Backup" 180 phase_is backup "e2e-s3-blog-$run" Completed
check "stock restic checks versitygw's bucket" restic_at "$GLEANER_S3_URL" shop check --read-data
check "stock restic checks MinIO's" restic_at "$GLEANER_MINIO_URL" blog check --read-data
snapshot=$(snapshot_of "e2e-s3-shop-$run")
check "stock restic finds the volume's file" same "$(kubectl -n shop exec shop-0 -- sha256sum /data/ledger/large </dev/null | cut -d' ' -f1)" \
    "$(restic_at "$GLEANER_S3_URL" shop dump --no-lock "$snapshot" /volumes/data-shop-0/ledger/large | sha256sum | cut -d' ' -f1)"
check "no lock is left" same '' "$(restic_at "$GLEANER_S3_URL" shop list locks --no-lock)$(restic_at "$GLEANER_MINIO_URL" blog list locks --no-lock)"

# --- destroyed and restored ---------------------------------------------------------------------

kubectl -n shop delete secret shop-courier >/dev/null
kubectl -n shop exec shop-0 -- sh -c 'rm -rf /data/ledger; echo ruined >/data/ruin' </dev/null
kubectl -n blog delete secret blog-mail >/dev/null
apply_restore "e2e-s3-shop-$run" "e2e-s3-shop-$run"
apply_restore "e2e-s3-blog-$run" "e2e-s3-blog-$run"
check "a restore from versitygw is Done" ended_as restore "e2e-s3-shop-$run" Done 300
check "a restore from MinIO is Done" ended_as restore "e2e-s3-blog-$run" Done 300
check "shop is whole" wait_for "shop" 120 app_is_whole shop
check "the Secret made by hand is back" same "$key" "$(secret_value shop shop-courier key)"
check "the volume is what it was" same "$before" "$(volume_state shop "$(pod_of shop)")"
check "blog is whole" wait_for "blog" 120 app_is_whole blog

# --- another cluster's path ---------------------------------------------------------------------

foreign=aaaaaaaa-0000-4000-8000-000000000001 # the uid of a cluster that is not this one
foreign_at="s3:$GLEANER_S3_URL/gleaner-e2e-$run/$prefix/other"
# As that cluster's gleaner made it: the host name of its keys is its uid.
for ns in _cluster shop; do
    must "a repository of another cluster: $ns" restic -q -r "$foreign_at/$ns" --cacert "$GLEANER_S3_CA" --password-file "$password" init
    must "with a snapshot" restic -q -r "$foreign_at/$ns" --cacert "$GLEANER_S3_CA" --password-file "$password" backup "$e2e/apps"
    printf '%s' "$(cat "$password")" >"$folder/password"
    must "and its key" restic -q -r "$foreign_at/$ns" --cacert "$GLEANER_S3_CA" --password-file "$password" key add --host $foreign --user gleaner --new-password-file "$folder/password"
done
objects() { restic -q -r "$foreign_at/$1" --cacert "$GLEANER_S3_CA" --password-file "$password" --no-lock list "$2" | sort; }
keys_before=$(objects shop keys)
store e2e-foreign "$GLEANER_S3_URL" "gleaner-e2e-$run" '.clusterName = "other"' >/dev/null
check "another cluster's path is only read" wait_for "ReadOnly" 40 ready_is e2e-foreign True ReadOnly
check "and says whose it is" contains "$(condition e2e-foreign Ready message)" $foreign
backup_to "e2e-s3-foreign-$run" e2e-foreign HelmRelease shop shop
refused_backup() { [ "$(phase backup "e2e-s3-foreign-$run")" != Completed ] && contains "$(why backup "e2e-s3-foreign-$run")" "made by another cluster"; }
check "a Backup to it is refused with the reason" wait_for "refused" 60 refused_backup
check "nothing was written there" same "$keys_before" "$(objects shop keys)"
check "no lock either" same '' "$(objects shop locks)"
kubectl -n gleaner-system delete backup "e2e-s3-foreign-$run" --wait=false >/dev/null
restic -q -r "$foreign_at/_cluster" --cacert "$GLEANER_S3_CA" --password-file "$password" key add --host "$uid" --user gleaner --new-password-file "$folder/password"
kubectl delete backupstore e2e-foreign >/dev/null
store e2e-foreign "$GLEANER_S3_URL" "gleaner-e2e-$run" '.clusterName = "other"' >/dev/null
check "a key with this cluster's uid hands it over" wait_for "Opened" 40 ready_is e2e-foreign True Opened

# spec.readOnly: a restore reads, with a key that is in no store.
kubectl delete backupstore e2e-versity >/dev/null
store e2e-versity "$GLEANER_S3_URL" "gleaner-e2e-$run" '.readOnly = true' >/dev/null
check "spec.readOnly is told" wait_for "ReadOnly" 40 ready_is e2e-versity True ReadOnly
keys_before=$(restic_at "$GLEANER_S3_URL" shop list keys --no-lock | sort)
kubectl -n shop exec shop-0 -- sh -c 'rm -rf /data/ledger' </dev/null
apply_restore "e2e-s3-reader-$run" "e2e-s3-shop-$run"
check "a restore from a store that is only read is Done" ended_as restore "e2e-s3-reader-$run" Done 300
check "its safety backup went to the default store" same local "$(kubectl -n gleaner-system get backups -o json | jq -r --arg p "e2e-s3-reader-$run-safety-" '.items[] | select(.metadata.name | startswith($p)) | .status.store')"
check "with the volume" same "$before" "$(volume_state shop "$(pod_of shop)")"
check "and no key was written" same "$keys_before" "$(restic_at "$GLEANER_S3_URL" shop list keys --no-lock | sort)"

# --- no credential anywhere ---------------------------------------------------------------------

rm -f "$folder/watching"
wait $watcher
for deployment in gleaner-controller gleaner-gateway; do
    kubectl -n gleaner-system logs "deployment/$deployment" >"$folder/seen/log-$deployment"
done
kubectl get events.v1.events.k8s.io -A -o json >"$folder/seen/events"
kubectl get backupstores,backups,restores,schedules -A -o json >"$folder/seen/resources"
check "movers were seen" test -s "$folder/seen/mover-pods"
nowhere() { # VALUE: neither as it is nor as base64
    local coded
    coded=$(printf '%s' "$1" | base64 -w0)
    ! grep -rlF -e "$1" -e "${coded%%=*}" "$folder/seen"
}
check "the bucket's secret is in no log, Event, resource, process or tenant's namespace" nowhere "$GLEANER_S3_SECRET_KEY"
check "nor the wrong one" nowhere "another-secret-of-$run"
check "a mover knows neither bucket nor endpoint" not grep -qE "gleaner-e2e-$run|:3090|:3092" "$folder/seen/mover-pods"
end
