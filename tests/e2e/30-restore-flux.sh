#!/usr/bin/env bash
# Flux: destroyed while it reconciles every 10 s, and restored by one kubectl apply
. "$(dirname "$0")/checks.sh"
must "shop runs under Flux" setup_app shop
pod=shop-0
must "it is backed up" backup_app "e2e-flux-$$" shop

release_before=$(object_state shop helmrelease shop)
kustomization_before=$(object_state flux-system kustomization shop)
files_before=$(volume_state shop $pod)
database_before=$(secret_value shop shop-database password)
account_before=$(secret_value shop shop-payment account)
owners_payment=$(owners shop secret shop-payment)
owners_courier=$(owners shop secret shop-courier)
job_state() { kubectl -n shop get job "$1" -o json | jq -cS '.status | del(.conditions[].lastProbeTime)'; }
jobs="shop-import shop-report-1" # the second one has an owner, a CronJob
jobs_before=$(for job in $jobs; do job_state $job; done)
orders_before=$(backup_dump "e2e-flux-$$" shop /volumes/data-shop-0/orders/log | tail -n 1)

# What an accident does: the bytes, the chart's Secret, the hand-made one, the added key, the Job.
kubectl -n shop exec $pod -- sh -c 'rm -rf /data/ledger /data/orders/*; echo junk >/data/junk' </dev/null
kubectl -n shop delete secret shop-database shop-courier >/dev/null
kubectl -n shop patch secret shop-payment --type=json -p '[{"op": "remove", "path": "/data/token"}]' >/dev/null
kubectl -n shop delete job $jobs --cascade=foreground >/dev/null
check "the key is really gone" kubectl_is '' -n shop get secret shop-payment -o jsonpath='{.data.token}'

seen=$work/holds-seen # what stands on the HelmRelease while the Restore runs, a line for each change
kubectl -n shop get helmrelease shop --watch \
    -o jsonpath='{.spec.suspend} {.metadata.annotations.gleaner\.dev/hold}{"\n"}' >"$seen" &
watcher=$!
apply_restore "e2e-flux-$$" "e2e-flux-$$"
must "one applied Restore ends Done" ended_as restore "e2e-flux-$$" Done 300
kill $watcher
wait $watcher
check "the engine was held meanwhile, first as held" grep -q '^true .*"state":"held"' "$seen"
check "and then as cleared" grep -q '^true .*"state":"cleared"' "$seen"

pod_runs() { kubectl_is 1 -n shop get statefulset shop -o jsonpath='{.status.readyReplicas}'; }
must "the shop runs again" wait_for "StatefulSet shop/shop runs" 60 pod_runs
check "the bytes are back: content, modes, owners, times, links" same "$files_before" "$(volume_state shop $pod)"
check "what was not in the backup is gone" not kubectl -n shop exec $pod -- test -e /data/junk
orders_are_back() { kubectl -n shop exec $pod -- grep -qxF "$orders_before" /data/orders/log </dev/null; }
check "what the shop had written is back" orders_are_back
check "the chart's Secret is back with its value" same "$database_before" "$(secret_value shop shop-database password)"
check "the hand-made Secret is back" same courier-key-made-by-hand "$(secret_value shop shop-courier key)"
check "the added key is back" same payment-token-filled-in "$(secret_value shop shop-payment token)"
check "the declared key beside it is untouched" same "$account_before" "$(secret_value shop shop-payment account)"
check "the fields of the mended Secret belong to whom they belonged" same "$owners_payment" "$(owners shop secret shop-payment)"
check "those of the hand-made Secret too" same "$owners_courier" "$(owners shop secret shop-courier)"
check "the finished Jobs are back, with their status" same "$jobs_before" "$(for job in $jobs; do job_state $job; done)"
check "the CronJob's belongs to it again" kubectl_is shop-report -n shop get job shop-report-1 -o jsonpath='{.metadata.ownerReferences[0].name}'
check "no Job ran again: there is no pod" kubectl_is '' -n shop get pods -l 'app in (shop-import, shop-report)' -o name
ran() {
    local uids
    uids=$(for job in $jobs; do kubectl -n shop get job "$job" -o jsonpath='{.metadata.uid} '; done)
    kubectl -n shop get events.v1.events.k8s.io -o json |
        jq -e --arg u "$uids" '[.items[] | select(.reason == "SuccessfulCreate" and (.regarding.uid as $r | $u | split(" ") | index($r)))] | length > 0'
}
check "nor does an Event say that one made one" not ran
check "the HelmRelease's spec and annotations are as before" same "$release_before" "$(object_state shop helmrelease shop)"
check "the Kustomization's too" same "$kustomization_before" "$(object_state flux-system kustomization shop)"
check "Flux reconciles it again" wait_for "HelmRelease shop/shop is ready" 60 flux_ready helmrelease shop shop
check "no object carries gleaner" wait_for "clean hands" 30 clean_hands shop flux-system
check "gleaner holds prints none" same "nothing is held" "$(gleaner holds 2>&1)"
check "no mover is left" wait_for "no mover" 60 kubectl_is '' get pods -A -l gleaner.dev/mover -o name
check "the same Restore applied again changes nothing" apply_restore "e2e-flux-$$" "e2e-flux-$$"
end
