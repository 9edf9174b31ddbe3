#!/usr/bin/env bash
# The Git repository is deleted: what it declared is not declared any more, and is kept
. "$(dirname "$0")/checks.sh"
must "shop runs under Flux" setup_app shop
must "it is backed up" backup_app "e2e-git-$$" shop
check "with Git there, no StatefulSet is in the backup" has_none "$(backup_files "e2e-git-$$" shop)" '^/resources/(statefulsets\.apps|services)/'
check "and the Backup says that Git holds it" kubectl_is true -n gleaner-system get backup "e2e-git-$$" -o jsonpath='{.status.declared.reachable}'

git_repo_hide shop
trap 'git_repo_show shop 2>/dev/null' EXIT
check "without it a backup still completes" backup_app "e2e-nogit-$$" shop
files=$(backup_files "e2e-nogit-$$" shop)
check "it holds the StatefulSet" has_path "$files" /resources/statefulsets.apps/namespaces/shop/shop.json
check "and the Service" has_path "$files" /resources/services/namespaces/shop/shop.json
check "and the ConfigMap" has_path "$files" /resources/configmaps/namespaces/shop/shop-config.json
check "the Backup says that this is not proven" kubectl_is unknown -n gleaner-system get backup "e2e-nogit-$$" -o jsonpath='{.status.declared.reachable}'
check "the plan says why, for each" jq -e '.objects[] | select(.kind == "StatefulSet") | .class == "declared-unproven" and (.reason | test("Git|remote|repository|404"))' \
    <<<"$(gleaner plan helmrelease/shop -n shop -o json)"
git_repo_show shop
trap - EXIT
must "Git is back" wait_for "GitRepository shop is ready" 60 flux_ready gitrepository flux-system shop
check "and the plan trusts it again" jq -e '.declared.reachable | IN("true", true)' <<<"$(gleaner plan helmrelease/shop -n shop -o json)"
end
