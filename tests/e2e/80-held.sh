#!/usr/bin/env bash
# Restores that cannot go on: held, never half given back
. "$(dirname "$0")/checks.sh"
must "shop runs under Flux" setup_app shop
must "it is backed up" backup_app "e2e-held-$$" shop
files_before=$(volume_state shop shop-0)
state_before=$(object_state shop helmrelease shop)

intruder() { # a pod that mounts the claim
    kubectl apply -f - >/dev/null <<X
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "intruder", "namespace": "shop"}, "spec": {
 "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "$GLEANER_TEST_IMAGE", "imagePullPolicy": "Never",
 "command": ["sleep", "1000"], "volumeMounts": [{"name": "v", "mountPath": "/data"}]}],
 "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data-shop-0"}}]}}
X
}
says_what_to_do() {
    kubectl get events.v1.events.k8s.io -A -o json | jq -e '[.items[] | select((.note // "") | (contains("gleaner holds --free") or contains("gleaner restore")))] | length > 0' >/dev/null
}
in_phase() { phase_is restore "$1" "$2"; }

# Before Clear: something that cannot be stopped mounts the claim. Refused, and nothing has changed.
intruder
apply_restore "e2e-refused-$$" "e2e-held-$$"
check "a bare pod on the claim: refused before anything is cleared" ended_as restore "e2e-refused-$$" Failed 120
check "the condition names the pod" contains "$(why restore "e2e-refused-$$")" intruder
check "the engine was given back as it was" same "$state_before" "$(object_state shop helmrelease shop)"
check "no hold is left" same "nothing is held" "$(gleaner holds 2>&1)"
kubectl -n shop delete pod intruder --grace-period=0 --force >/dev/null 2>&1
must "shop runs" wait_for "StatefulSet shop/shop" 60 kubectl_is 1 -n shop get statefulset shop -o jsonpath='{.status.readyReplicas}'

# From Clear on: the same pod while the mover works.
kubectl -n shop exec shop-0 -- rm -rf /data/ledger </dev/null
apply_restore "e2e-stopped-$$" "e2e-held-$$"
must "a Restore comes to Volumes" wait_for "Restore in Volumes" 180 in_phase "e2e-stopped-$$" Volumes
intruder
check "a pod mounts the claim while the mover works: Held" ended_as restore "e2e-stopped-$$" Held 120
check "the condition names the pod" contains "$(why restore "e2e-stopped-$$")" intruder
check "the engine is still held" kubectl_is true -n shop get helmrelease shop -o jsonpath='{.spec.suspend}'
check "gleaner holds names it" contains "$(gleaner holds 2>&1)" shop
kubectl -n gleaner-system delete restore "e2e-stopped-$$" --wait=false >/dev/null
gone() { not kubectl -n gleaner-system get restore "e2e-stopped-$$"; }
check "the Restore can be deleted" wait_for "the Restore is gone" 60 gone
check "deleting it leaves the engine held" kubectl_is true -n shop get helmrelease shop -o jsonpath='{.spec.suspend}'
check "and an Event on the HelmRelease or the Restore says what to do" says_what_to_do
kubectl -n shop delete pod intruder --grace-period=0 --force >/dev/null 2>&1

# The next Restore takes the hold over: the engine is never given back over missing data.
apply_restore "e2e-over-$$" "e2e-held-$$"
check "another Restore takes over what is held, and ends Done" ended_as restore "e2e-over-$$" Done 300
check "nothing is held then" same "nothing is held" "$(gleaner holds 2>&1)"
must "shop runs" wait_for "StatefulSet shop/shop" 60 kubectl_is 1 -n shop get statefulset shop -o jsonpath='{.status.readyReplicas}'
check "the bytes are back" same "$files_before" "$(volume_state shop shop-0)"
check "the engine is as it was" same "$state_before" "$(object_state shop helmrelease shop)"

# Deleted half-way once more, and now somebody wants it back as it is.
kubectl -n shop exec shop-0 -- rm -rf /data/ledger </dev/null
apply_restore "e2e-left-$$" "e2e-held-$$"
must "a Restore comes to Volumes" wait_for "Restore in Volumes" 180 in_phase "e2e-left-$$" Volumes
kubectl -n gleaner-system delete restore "e2e-left-$$" --timeout=60s >/dev/null
check "deleting it leaves the engine held" kubectl_is true -n shop get helmrelease shop -o jsonpath='{.spec.suspend}'
check "gleaner holds --free gives it back" gleaner holds --free
check "nothing is held then" same "nothing is held" "$(gleaner holds 2>&1)"
must "shop runs, without its bytes" wait_for "StatefulSet shop/shop" 60 kubectl_is 1 -n shop get statefulset shop -o jsonpath='{.status.readyReplicas}'
check "the engine is as it was" same "$state_before" "$(object_state shop helmrelease shop)"
apply_restore "e2e-again-$$" "e2e-held-$$"
check "a Restore ends Done" ended_as restore "e2e-again-$$" Done 300
must "shop runs" wait_for "StatefulSet shop/shop" 60 kubectl_is 1 -n shop get statefulset shop -o jsonpath='{.status.readyReplicas}'
check "the bytes are back" same "$files_before" "$(volume_state shop shop-0)"
check "the engine is as it was" same "$state_before" "$(object_state shop helmrelease shop)"
check "no object carries gleaner" wait_for "clean hands" 30 clean_hands shop flux-system
end
