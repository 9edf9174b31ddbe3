#!/usr/bin/env bash
# Retention, ttl, forget, prune and check in the cluster; whatever is deleted there, Backups come back
. "$(dirname "$0")/checks.sh"
must "shop runs under Flux" setup_app shop
run=$$
store=e2e-retention
schedule=e2e-retention
clean() {
    kubectl -n gleaner-system delete schedule $schedule --ignore-not-found >/dev/null
    kubectl delete backupstore $store --ignore-not-found >/dev/null
    delete_backups_of $store
    kubectl -n gleaner-system delete restore "e2e-retention-$run" --ignore-not-found --wait=false >/dev/null
}
clean
trap clean EXIT
jq -n --arg n $store --arg p "retention-$run" '{apiVersion: "gleaner.dev/v1alpha1", kind: "BackupStore", metadata: {name: $n},
    spec: {local: {path: $p}, passwordSecretRef: {name: "gleaner-store-password"}}}' | kubectl apply -f - >/dev/null
must "a store of its own" wait_for "Ready" 40 kubectl_is True get backupstore $store -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}'
folder=$(store_folder shop)
folder=${folder%/backups/*}/retention-$run/${folder##*/backups/}
restic_here() { RESTIC_CACHE_DIR=$work/restic-cache restic --no-lock -q -r "$folder" --password-file "$(store_password_file)" "$@"; }
snapshots() { restic_here snapshots --json | jq -r '.[].id' | sort; }
counted() { restic_here snapshots --tag "schedule:gleaner-system/$schedule" --json | jq length; }
agree() { same "$(snapshots)" "$(snapshots_in_cluster $store)"; }

# backup NAME [JQ]: as the Schedule would have made it; JQ changes the Backup.
backup() {
    jq -n --arg n "$1" --arg st $store --arg sc $schedule '{apiVersion: "gleaner.dev/v1alpha1", kind: "Backup",
        metadata: {name: $n, namespace: "gleaner-system", labels: {"gleaner.dev/schedule": $sc}},
        spec: {target: {kind: "HelmRelease", namespace: "shop", name: "shop"}, storeRef: {name: $st}}} | ('"${2:-.}"')' |
        kubectl apply -f - >/dev/null && ended_as backup "$1" Completed 180
}
by_hand='del(.metadata.labels)'

# --- retention ----------------------------------------------------------------------------------

jq -n --arg n $schedule --arg s $store '{apiVersion: "gleaner.dev/v1alpha1", kind: "Schedule", metadata: {name: $n, namespace: "gleaner-system"},
    spec: {schedule: "* * * * *", retention: {last: 3}, template: {target: {kind: "HelmRelease", namespace: "shop", name: "shop"},
    storeRef: {name: $s}}}}' | kubectl apply -f - >/dev/null
made() { [ -n "$(kubectl -n gleaner-system get schedule $schedule -o jsonpath='{.status.lastBackup}')" ]; }
check "a Schedule each minute makes a Backup" wait_for "a Backup" 90 made
first=$(kubectl -n gleaner-system get schedule $schedule -o jsonpath='{.status.lastBackup}')
check "which is Completed" ended_as backup "$first" Completed 180
kubectl -n gleaner-system patch schedule $schedule --type=merge -p '{"spec":{"suspend":true}}' >/dev/null
check "its snapshot carries the Schedule's name" contains "$(restic_here snapshots --json)" "schedule:gleaner-system/$schedule"
write_fresh shop shop-0
check "one by hand" backup "e2e-retention-$run-hand" "$by_hand"
for i in 1 2 3 4; do
    write_fresh shop shop-0
    must "and another of the Schedule ($i)" backup "e2e-retention-$run-$i"
done
three() { same 3 "$(counted)"; }
check "of its five, last: 3 keeps three" wait_for "three" 60 three
check "the one that was made by hand is not counted, and stays" kubectl_is Completed -n gleaner-system get backup "e2e-retention-$run-hand" -o jsonpath='{.status.phase}'
check "the Backup of a forgotten snapshot is gone" wait_for "gone" 30 not kubectl -n gleaner-system get backup "$first"
check "an Event says why" event_says Backup "$first" "retention of Schedule"
check "the Schedule says how many are kept" kubectl_is 3 -n gleaner-system get schedule $schedule -o jsonpath='{.status.retention.kept}'
check "cluster and store have the same" wait_for "the same" 30 agree
refused() { ! kubectl -n gleaner-system patch schedule $schedule --type=merge -p "{\"spec\":{\"retention\":$1}}" 2>/dev/null; }
check "retention that keeps nothing is refused" refused '{"last":0}'
check "and one that is no span" refused '{"within":"3 weeks"}'

# --- what is deleted in the cluster -------------------------------------------------------------

before=$(snapshots)
kubectl -n gleaner-system delete backups -l "gleaner.dev/schedule=$schedule" >/dev/null
kubectl -n gleaner-system delete backup "e2e-retention-$run-hand" >/dev/null
check "deleted Backups come back" wait_for "the same" 60 agree
check "no snapshot went" same "$before" "$(snapshots)"
check "under their names, Completed" kubectl_is Completed -n gleaner-system get backup "e2e-retention-$run-4" -o jsonpath='{.status.phase}'
check "with their Schedule" kubectl_is $schedule -n gleaner-system get backup "e2e-retention-$run-4" -o jsonpath='{.metadata.labels.gleaner\.dev/schedule}'
files=$(volume_state shop shop-0)
kubectl -n shop exec shop-0 -- rm -rf /data/ledger </dev/null
kubectl -n shop delete secret shop-courier >/dev/null
apply_restore "e2e-retention-$run" "e2e-retention-$run-4"
check "a Restore from one that came back is Done" ended_as restore "e2e-retention-$run" Done 300
check "with the volume" same "$files" "$(volume_state shop shop-0)"
check "and the Secret" same courier-key-made-by-hand "$(secret_value shop shop-courier key)"
must "shop is whole" wait_for "shop" 120 app_is_whole shop

# --- forget and ttl -----------------------------------------------------------------------------

said=$(gleaner forget "e2e-retention-$run-hand" "e2e-retention-$run-4" --dry-run)
check "a dry run says what would go" contains "$(grep -- -hand <<<"$said")" "it was asked for"
check "and what would stay" grep -q -- '-4 .*stay' <<<"$said"
check "it changed nothing" kubectl_is '' -n gleaner-system get backup "e2e-retention-$run-hand" -o jsonpath='{.metadata.annotations.gleaner\.dev/request}'
check "a dry run of the Schedule says what it keeps" contains "$(gleaner forget --schedule $schedule --dry-run)" "last snapshot"
check "gleaner forget" gleaner forget "e2e-retention-$run-hand" --timeout 60
check "took it out of the store" not contains "$(restic_here snapshots --json)" "backup:gleaner-system/e2e-retention-$run-hand"
said=$(gleaner forget "e2e-retention-$run-4" --timeout 60 2>&1)
check "what a Restore names is not forgotten" contains "$said" "Restore gleaner-system/e2e-retention-$run names it"
kubectl -n gleaner-system delete restore "e2e-retention-$run" >/dev/null
check "one with a ttl" backup "e2e-retention-$run-short" "$by_hand | .spec.ttl = \"5s\""
expired() { # asks for a look each time: nobody else would look as soon as the ttl is over
    kubectl annotate backupstore $store "reconcile.fluxcd.io/requestedAt=$(date +%s)" --overwrite >/dev/null
    contains "$(kubectl -n gleaner-system get backup "$1" -o jsonpath='{.status.conditions[?(@.type=="Expired")].message}')" "newest complete"
}
check "whose time is over stays as the newest, and says so" wait_for "Expired" 60 expired "e2e-retention-$run-short"
said=$(gleaner forget "e2e-retention-$run-short" --timeout 60 2>&1)
check "nor is the newest forgotten by asking" contains "$said" "newest complete"
check "a newer one" backup "e2e-retention-$run-last" "$by_hand"
check "lets it go" wait_for "gone" 60 not kubectl -n gleaner-system get backup "e2e-retention-$run-short"

# --- a claim that is made anew ------------------------------------------------------------------

must "the Schedule's last one with the volume" backup "e2e-retention-$run-full"
old=$(kubectl -n shop get pvc data-shop-0 -o jsonpath='{.metadata.uid}')
kubectl -n shop delete pvc data-shop-0 --wait=false >/dev/null
kubectl -n shop delete pod shop-0 >/dev/null
anew() { not same "$old" "$(kubectl -n shop get pvc data-shop-0 -o jsonpath='{.metadata.uid}' 2>/dev/null || echo "$old")" 2>/dev/null; }
must "somebody deletes the claim, and it is made anew" wait_for "another claim" 60 anew
must "shop runs on an empty volume" wait_for "shop" 120 app_is_whole shop
for i in 1 2 3; do
    must "the Schedule goes on ($i)" backup "e2e-retention-$run-empty-$i"
done
kept() { restic_here snapshots --tag "schedule:gleaner-system/$schedule" --json | jq -r '[.[].tags[] | select(startswith("backup:")) | ltrimstr("backup:gleaner-system/e2e-retention-'"$run"'-")] | sort | join(" ")'; }
four() { same "empty-1 empty-2 empty-3 full" "$(kept)"; }
check "last: 3 keeps its three, and the last one with what was there" wait_for "four" 60 four
check "a dry run says so" contains "$(gleaner forget --schedule $schedule --dry-run)" "the last complete one with the volume of data-shop-0@"
check "who does not need it asks to forget it" gleaner forget "e2e-retention-$run-full" --timeout 60
check "three are left" wait_for "three" 60 three

# --- prune and check ----------------------------------------------------------------------------

kubectl patch backupstore $store --type=merge -p '{"spec":{"maintenance":{"prune":"* * * * *","check":"* * * * *","readData":"100%"}}}' >/dev/null
done_with() { [ -n "$(kubectl get backupstore $store -o jsonpath="{.status.maintenance.$1.completionTime}")" ]; }
check "prune runs by the clock" wait_for "prune" 120 done_with prune
check "check does" wait_for "check" 120 done_with check
kubectl patch backupstore $store --type=merge -p '{"spec":{"maintenance":null}}' >/dev/null
row() { kubectl get backupstore $store -o jsonpath="{.status.maintenance.$1}"; }
check "prune gave bytes back" test "$(row prune.removedBytes)" -gt 1000000
check "without a failure" same '' "$(row prune.failures)$(row check.failures)"
check "check found no damage" same 0 "$(row check.damages)"
checked() { kubectl_is True get backupstore $store -o jsonpath='{.status.conditions[?(@.type=="Checked")].status}'; }
check "the store says that it is whole" wait_for "Checked" 60 checked
check "stock restic check --read-data finds no fault" restic_here check --read-data
check "no lock is left" same '' "$(restic_here list locks)"
metrics() { kubectl get --raw "/api/v1/namespaces/gleaner-system/pods/$(kubectl -n gleaner-system get pods -l app.kubernetes.io/component=controller -o jsonpath='{.items[0].metadata.name}'):8081/proxy/metrics"; }
check "metrics count Backups" grep -q "^gleaner_backups{store=\"$store\",phase=\"Completed\"} [1-9]" <<<"$(metrics)"
check "and what was pruned" grep -q "^gleaner_prune_removed_bytes_total{store=\"$store\"} [1-9]" <<<"$(metrics)"

# --- nothing that is deleted deletes data -------------------------------------------------------

before=$(snapshots)
kubectl -n gleaner-system delete schedule $schedule >/dev/null
must "the application and its namespace are deleted" app_shop_delete
delete_backups_of $store
check "its Backups come back" wait_for "the same" 60 agree
check "no snapshot is lost" same "$before" "$(snapshots)"
end
