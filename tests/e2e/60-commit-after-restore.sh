#!/usr/bin/env bash
# After a restore Git moves on: what people added stays, and is in the next backup
. "$(dirname "$0")/checks.sh"
must "shop runs under Flux" setup_app shop
must "blog runs under Argo CD" setup_app blog

# A restore that puts the added keys back, where an earlier script has not just done so.
# Both applications at once: each has an engine and a repository of its own.
apply_backup "e2e-commit-blog-$$" Application argocd blog
for app in shop blog; do
    must "$app is backed up" backup_app "e2e-commit-$app-$$" $app
done
kubectl -n shop patch secret shop-payment --type=json -p '[{"op": "remove", "path": "/data/token"}]' >/dev/null
kubectl -n blog patch secret blog-admin --type=json -p '[{"op": "remove", "path": "/data/password"}]' >/dev/null
for app in shop blog; do
    apply_restore "e2e-commit-$app-$$" "e2e-commit-$app-$$"
done
for app in shop blog; do
    must "$app is restored" ended_as restore "e2e-commit-$app-$$" Done 300
done
check "shop: the added key is back" same payment-token-filled-in "$(secret_value shop shop-payment token)"
check "blog: the added key is back" same blog-password-filled-in "$(secret_value blog blog-admin password)"

stamp=$(date +%s)
checkout=$(git_checkout shop)
sed -i "s/account: .*/account: merchant-$stamp/" "$checkout/deploy/payment.yaml"
must "a commit changes the Secret of the shop" git_commit shop "Another account"
account_is() { same "$1" "$(secret_value shop shop-payment account)"; }
check "Flux applies it" wait_for "the new account" 60 account_is "merchant-$stamp"
check "the added key is still there" same payment-token-filled-in "$(secret_value shop shop-payment token)"
sed -i "s/greeting: .*/greeting: hello-$stamp/" "$checkout/deploy/release.yaml"
sed -i "s/^version: .*/version: 0.2.$stamp/" "$checkout/chart/Chart.yaml"
must "a commit changes the chart" git_commit shop "Another greeting"
greeting_is() { kubectl_is "hello-$stamp" -n shop get configmap shop-config -o jsonpath='{.data.greeting}'; }
check "Helm upgrades" wait_for "the new greeting" 120 greeting_is
must "the HelmRelease is ready" wait_for "HelmRelease shop/shop is ready" 60 flux_ready helmrelease shop shop
check "the added key is still there after the upgrade" same payment-token-filled-in "$(secret_value shop shop-payment token)"
check "the hand-made Secret is still there" same courier-key-made-by-hand "$(secret_value shop shop-courier key)"

checkout=$(git_checkout blog)
sed -i "s/user: .*/user: editor-$stamp/; s/title: .*/title: The blog of $stamp/" "$checkout/manifests/blog.yaml"
must "a commit changes the Secret and the title of the blog" git_commit blog "Another editor"
kubectl -n argocd annotate application blog argocd.argoproj.io/refresh=normal --overwrite >/dev/null
user_is() { same "$1" "$(secret_value blog blog-admin user)"; }
check "Argo CD applies it" wait_for "the new user" 120 user_is "editor-$stamp"
check "the added key is still there" same blog-password-filled-in "$(secret_value blog blog-admin password)"
must "the Application is healthy" wait_for "Application blog" 60 argocd_healthy blog

apply_backup "e2e-commit2-blog-$$" Application argocd blog
for app in shop blog; do
    must "$app is backed up again" backup_app "e2e-commit2-$app-$$" $app
done
check "shop: the added key is in the next backup" same payment-token-filled-in \
    "$(backup_dump "e2e-commit2-shop-$$" shop /residue/secrets/namespaces/shop/shop-payment.json | jq -r '.data.token | @base64d')"
check "blog: the added key is in the next backup" same blog-password-filled-in \
    "$(backup_dump "e2e-commit2-blog-$$" blog /residue/secrets/namespaces/blog/blog-admin.json | jq -r '.data.password | @base64d')"
end
