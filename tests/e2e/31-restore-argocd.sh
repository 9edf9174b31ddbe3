#!/usr/bin/env bash
# Argo CD: destroyed with automated sync, prune and selfHeal on, and restored by one kubectl apply
. "$(dirname "$0")/checks.sh"
must "blog runs under Argo CD" setup_app blog
must "it is backed up" backup_app "e2e-argocd-$$" blog
pod=$(pod_of blog)
application_before=$(object_state argocd application blog)
files_before=$(volume_state blog "$pod")
first_before=$(kubectl -n blog exec "$pod" -- cat /data/first)
user_before=$(secret_value blog blog-admin user)
owners_admin=$(owners blog secret blog-admin)
job_status=$(kubectl -n blog get job blog-import -o json | jq -cS '.status')

kubectl -n blog exec "$pod" -- sh -c 'rm -rf /data/ledger; echo overwritten >/data/first' </dev/null
kubectl -n blog delete secret blog-mail blog-admin >/dev/null # selfHeal makes the second anew, without the key
kubectl -n blog delete job blog-import --cascade=foreground >/dev/null
healed() { kubectl -n blog get secret blog-admin; }
check "selfHeal brings the declared Secret back, without the added key" wait_for "Secret blog-admin" 60 healed
check "the key is really gone" kubectl_is '' -n blog get secret blog-admin -o jsonpath='{.data.password}'

apply_restore "e2e-argocd-$$" "e2e-argocd-$$"
must "one applied Restore ends Done" ended_as restore "e2e-argocd-$$" Done 300
must "the blog runs again" wait_for "Application blog" 90 argocd_healthy blog
pod=$(pod_of blog)
pod_ready() { kubectl -n blog wait --for=condition=Ready --timeout=1s pod "$(pod_of blog)"; }
must "with a running pod" wait_for "the blog's pod is ready" 60 pod_ready
pod=$(pod_of blog)
check "the bytes are back: content, modes, owners, times, links" same "$files_before" "$(volume_state blog "$pod")"
check "the overwritten file is as it was" same "$first_before" "$(kubectl -n blog exec "$pod" -- cat /data/first)"
check "the hand-made Secret is back" same mail-key-made-by-hand "$(secret_value blog blog-mail key)"
check "the added key is back" same blog-password-filled-in "$(secret_value blog blog-admin password)"
check "the declared key beside it is there" same "$user_before" "$(secret_value blog blog-admin user)"
password_owners() { jq -c 'map(select(.fieldsV1 | tostring | contains("f:password")) | .manager)' <<<"$1"; }
check "the added key belongs to whom it belonged" same "$(password_owners "$owners_admin")" "$(password_owners "$(owners blog secret blog-admin)")"
check "the finished Job is back, with its status" same "$job_status" "$(kubectl -n blog get job blog-import -o json | jq -cS '.status')"
check "the Job did not run again: it has no pod" kubectl_is '' -n blog get pods -l app=blog-import -o name
check "the Application's spec and annotations are as before" same "$application_before" "$(object_state argocd application blog)"
check "no object carries gleaner" wait_for "clean hands" 30 clean_hands blog argocd
check "gleaner holds prints none" same "nothing is held" "$(gleaner holds 2>&1)"
check "no mover is left" wait_for "no mover" 60 kubectl_is '' get pods -A -l gleaner.dev/mover -o name
end
