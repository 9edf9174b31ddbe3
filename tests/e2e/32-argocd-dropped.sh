#!/usr/bin/env bash
# Git has dropped what a Restore brings back: Argo CD would prune it again, so it stays held until Git has it
. "$(dirname "$0")/checks.sh"
must "blog runs under Argo CD" setup_app blog
must "it is backed up" backup_app "e2e-dropped-$$" blog
application_before=$(object_state argocd application blog)
files_before=$(volume_state blog "$(pod_of blog)")

declared=$(git_checkout blog)/manifests/blog.yaml
whole=$(cat "$declared")
refresh() { kubectl -n argocd annotate application blog argocd.argoproj.io/refresh=normal --overwrite >/dev/null; }
awk 'BEGIN { RS = "---\n" } !/kind: (PersistentVolumeClaim|Deployment)/ { printf "%s%s", n++ ? RS : "", $0 }' \
    <<<"$whole" >"$declared"
must "a commit drops the claim and the Deployment that mounts it" git_commit blog "No posts any more"
refresh
pruned() { not kubectl -n blog get pvc blog-posts; }
must "Argo CD prunes them" wait_for "the claim is gone" 120 pruned

restore=e2e-dropped-$$
apply_restore $restore $restore
check "a Restore brings the claim back, and ends Held" ended_as restore $restore Held 300
check "it says what Argo CD would delete" contains "$(why restore $restore)" "PersistentVolumeClaim blog/blog-posts"
check "and what to do" contains "$(why restore $restore)" "Bring it back in Git"
check "the claim is there" kubectl -n blog get pvc blog-posts
check "the Application is still held" kubectl_is false -n argocd get application blog -o jsonpath='{.spec.syncPolicy.automated.enabled}'

printf '%s\n' "$whole" >"$declared"
must "a commit brings them back" git_commit blog "Posts again"
must "the Restore is asked to go on" kubectl -n gleaner-system annotate restore $restore gleaner.dev/request=resume
heard() { kubectl_is resume -n gleaner-system get restore $restore -o jsonpath='{.status.lastHandledRequest}'; }
must "it hears" wait_for "the request was handled" 30 heard
must "and ends Done" ended_as restore $restore Done 300
must "the blog runs again" wait_for "Application blog" 90 argocd_healthy blog
pod_ready() { kubectl -n blog wait --for=condition=Ready --timeout=1s pod "$(pod_of blog)"; }
must "with a running pod" wait_for "the blog's pod is ready" 60 pod_ready
check "the bytes are back" same "$files_before" "$(volume_state blog "$(pod_of blog)")"
check "the Application's spec and annotations are as before" same "$application_before" "$(object_state argocd application blog)"
check "nothing is held" same "nothing is held" "$(gleaner holds 2>&1)"
end
