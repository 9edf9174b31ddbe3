#!/usr/bin/env bash
# An hour (GLEANER_HOUR_MINUTES) of a Schedule that runs each minute with last: 3, on S3, under backup,
# restore, prune, check, and people who delete Backups and the application's namespace
. "$(dirname "$0")/../checks.sh"
minutes=${GLEANER_HOUR_MINUTES:-60}
must "versitygw is up" "$top/tests/cluster/up" s3
must "shop runs under Flux" setup_app shop
run=$$
store=e2e-hour schedule=e2e-hour bucket=gleaner-hour-$run
uid=$(kubectl get namespace kube-system -o jsonpath='{.metadata.uid}')
export RESTIC_CACHE_DIR=$work/hour-cache AWS_ACCESS_KEY_ID=$GLEANER_S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$GLEANER_S3_SECRET_KEY
restic_at() { # FOLDER ARGUMENTS...
    local at=$1
    shift
    restic -q -r "s3:$GLEANER_S3_URL/$bucket/$at" --cacert "$GLEANER_S3_CA" --password-file "$(store_password_file)" "$@"
}
restic_here() { restic_at "hour/$uid/shop" --no-lock "$@"; }
clean() {
    kubectl -n gleaner-system delete schedule $schedule --ignore-not-found >/dev/null
    kubectl delete backupstore $store --ignore-not-found >/dev/null
    delete_backups_of $store
    kubectl -n gleaner-system delete secret e2e-hour e2e-hour-ca --ignore-not-found >/dev/null
    rm -rf "$RESTIC_CACHE_DIR"
}
clean
trap clean EXIT
must "a bucket" restic_at made-with-it init
(
    umask 077
    printf '%s' "$AWS_ACCESS_KEY_ID" >"$work/hour-id"
    printf '%s' "$AWS_SECRET_ACCESS_KEY" >"$work/hour-key"
)
kubectl -n gleaner-system create secret generic e2e-hour --from-file=AWS_ACCESS_KEY_ID="$work/hour-id" --from-file=AWS_SECRET_ACCESS_KEY="$work/hour-key" >/dev/null
kubectl -n gleaner-system create secret generic e2e-hour-ca --from-file=ca.crt="$GLEANER_S3_CA" >/dev/null
rm -f "$work/hour-id" "$work/hour-key"
jq -n --arg n $store --arg e "$GLEANER_S3_URL" --arg b "$bucket" '{apiVersion: "gleaner.dev/v1alpha1", kind: "BackupStore", metadata: {name: $n},
    spec: {s3: {endpoint: $e, bucket: $b, prefix: "hour", forcePathStyle: true}, credentialsSecretRef: {name: "e2e-hour"},
    caSecretRef: {name: "e2e-hour-ca"}, passwordSecretRef: {name: "gleaner-store-password"},
    maintenance: {prune: "*/5 * * * *", check: "*/9 * * * *", readData: "20%"}}}' | kubectl apply -f - >/dev/null
must "the store is ready" wait_for "Ready" 60 kubectl_is True get backupstore $store -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}'
jq -n --arg n $schedule --arg s $store '{apiVersion: "gleaner.dev/v1alpha1", kind: "Schedule", metadata: {name: $n, namespace: "gleaner-system"},
    spec: {schedule: "* * * * *", retention: {last: 3}, template: {target: {kind: "HelmRelease", namespace: "shop", name: "shop"},
    storeRef: {name: $s}}}}' | kubectl apply -f - >/dev/null

of_schedule() { kubectl -n gleaner-system get backups -l "gleaner.dev/schedule=$schedule" -o json; }
suspend() { kubectl -n gleaner-system patch schedule $schedule --type=merge -p "{\"spec\":{\"suspend\":$1}}" >/dev/null; }
all_ended() { of_schedule | jq -e '[.items[] | select(.status.phase | IN("Completed", "PartiallyFailed", "Failed") | not)] | length == 0' >/dev/null; }
snapshots() { restic_here snapshots --json | jq -r '.[].id' | sort; }
agree() { same "$(snapshots)" "$(snapshots_in_cluster $store)"; }
# Those of the Schedule that are Completed, oldest first, each with the claims whose volumes it has.
kept() { restic_here snapshots --tag "schedule:gleaner-system/$schedule,phase:Completed" --json |
    jq -r 'sort_by(.time)[] | [.id, (.tags[] | select(startswith("claim:")))] | join(" ")'; }
named() { kubectl -n gleaner-system get restores -o json | jq -r '.items[].status.source.snapshot // empty' | sort -u; }
last_volumes() { awk '{ for (i = 2; i <= NF; i++) last[$i] = $1 } END { for (i in last) print last[i] }' "$work/hour-seen"; }
rules_keep() { # the last three, what a Restore names, and of each claim the last one with its volume
    (tail -n 3 "$work/hour-seen"; grep -Ff <(named) "$work/hour-seen"; last_volumes) | cut -d' ' -f1 | sort -u
}
exact() { # what is kept is exactly what the rules say, of all that were ever seen
    local now
    now=$(kept)
    same "$(rules_keep)" "$(cut -d' ' -f1 <<<"$now" | sort)"
}
note_seen() { kept | while read -r line; do grep -qxF "$line" "$work/hour-seen" || echo "$line" >>"$work/hour-seen"; done; }
: >"$work/hour-seen"
settled() { # nothing is under way: what is there must be exact, and the same on both sides
    suspend true
    wait_for "no Backup is under way" 180 all_ended && note_seen && wait_for "the rules are kept" 120 exact &&
        wait_for "cluster and store agree" 60 agree
    local result=$?
    suspend false
    return $result
}
last_turn() { kubectl -n gleaner-system get schedule $schedule -o jsonpath='{.status.lastScheduleTime}'; }
turned_since() { ! same "$1" "$(last_turn)" >/dev/null; }

one_completed() { of_schedule | jq -e '[.items[] | select(.status.phase == "Completed")] | length > 0' >/dev/null; }
must "the first Backup is Completed" wait_for "a Backup" 240 one_completed
end_at=$((SECONDS + minutes * 60)) turn=0 restores=0
while [ $SECONDS -lt $end_at ]; do
    turn=$((turn + 1)) before=$(last_turn)
    kubectl -n shop exec shop-0 -- sh -c 'head -c 400000 /dev/urandom >/data/ledger/fresh' </dev/null 2>/dev/null
    note_seen
    case $((turn % 8)) in
    3) kubectl -n gleaner-system delete backups -l "gleaner.dev/schedule=$schedule" --field-selector=metadata.namespace=gleaner-system >/dev/null 2>&1 ;;
    5)
        name=$(of_schedule | jq -r '[.items[] | select(.status.phase == "Completed")] | sort_by(.status.completionTime) | .[0].metadata.name // empty')
        if [ -n "$name" ]; then
            restores=$((restores + 1))
            apply_restore "e2e-hour-$run-$restores" "$name"
            check "a Restore of the oldest one (turn $turn)" ended_as restore "e2e-hour-$run-$restores" Done 300
            kubectl -n gleaner-system delete restore "e2e-hour-$run-$restores" >/dev/null
        fi
        ;;
    7) check "what is kept is exact (turn $turn)" settled ;;
    0)
        if [ $((turn % 16)) -eq 0 ]; then
            check "the application's namespace is deleted (turn $turn)" app_shop_delete
            check "Backups and snapshots agree all the same" wait_for "agree" 90 agree
            must "the application is made again" setup_app shop
        fi
        ;;
    esac
    wait_for "the Schedule's next turn" 180 turned_since "$before" || { check "the Schedule goes on (turn $turn)" false; break; }
done
suspend true
check "no Backup is under way" wait_for "ended" 180 all_ended
note_seen
check "at the end exactly what the rules say is kept" wait_for "exact" 120 exact
check "cluster and store agree" wait_for "agree" 60 agree
kubectl -n gleaner-system delete backups -l "gleaner.dev/schedule=$schedule" >/dev/null
check "deleted Backups come back" wait_for "agree" 60 agree
row() { kubectl get backupstore $store -o jsonpath="{.status.maintenance.$1}"; }
check "prune ran" test -n "$(row prune.startTime)"
check "no check found damage" same 0 "$(row check.damages)"
check "stock restic check --read-data finds no fault" restic_here check --read-data
echo "$turn turns in $minutes minutes: $(grep -c . "$work/hour-seen") snapshots seen, $(kept | grep -c .) kept, $restores restores"
end
