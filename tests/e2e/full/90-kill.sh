#!/usr/bin/env bash
# SIGKILL of the controller while a volume is being restored: it ends as if nothing had happened
. "$(dirname "$0")/../checks.sh"
must "shop runs under Flux" setup_app shop
must "it is backed up" backup_app "e2e-kill-$$" shop
files_before=$(volume_state shop shop-0)
state_before=$(object_state shop helmrelease shop)
kubectl -n shop exec shop-0 -- rm -rf /data/ledger </dev/null
kubectl -n shop delete secret shop-courier >/dev/null

controller_pid() { pgrep -f '^/usr/bin/gleaner controller '; }
apply_restore "e2e-kill-$$" "e2e-kill-$$"
must "the Restore comes to Volumes" wait_for "Restore in Volumes" 180 phase_is restore "e2e-kill-$$" Volumes
pid=$(controller_pid | head -n 1)
check "the controller is killed" kill -9 "$pid"
killed() { [ ! -e "/proc/$pid" ]; }
check "and gone" wait_for "process $pid is gone" 20 killed
check "the Restore ends Done all the same" ended_as restore "e2e-kill-$$" Done 300
must "shop runs" wait_for "StatefulSet shop/shop" 60 kubectl_is 1 -n shop get statefulset shop -o jsonpath='{.status.readyReplicas}'
check "the bytes are back" same "$files_before" "$(volume_state shop shop-0)"
check "the Secret is back" same courier-key-made-by-hand "$(secret_value shop shop-courier key)"
check "the engine is as it was" same "$state_before" "$(object_state shop helmrelease shop)"
check "no object carries gleaner" wait_for "clean hands" 30 clean_hands shop flux-system
end
