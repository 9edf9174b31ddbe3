#!/usr/bin/env bash
# Backups by annotation and by hand, read back by stock restic
. "$(dirname "$0")/checks.sh"
must "shop runs under Flux" setup_app shop
must "blog runs under Argo CD" setup_app blog

kubectl -n shop annotate --field-manager=people helmrelease shop gleaner.dev/protect=true gleaner.dev/schedule='0 3 * * *' --overwrite >/dev/null
kubectl -n argocd annotate --field-manager=people application blog gleaner.dev/protect=true --overwrite >/dev/null
schedule_of() { kubectl -n gleaner-system get schedules -o json | jq -er --arg k "$1" --arg n "$2" '.items[] | select(.spec.template.target.kind == $k and .spec.template.target.name == $n) | .spec.schedule'; }
schedule_is() { same "$3" "$(schedule_of "$1" "$2")"; }
check "the annotation on the HelmRelease makes a Schedule" wait_for "a Schedule for shop" 20 schedule_is HelmRelease shop '0 3 * * *'
check "the annotation on the Application makes one at the default times" wait_for "a Schedule for blog" 20 schedule_is Application blog @daily
# A Schedule that is due each minute makes a Backup by itself.
kubectl -n shop annotate --field-manager=people helmrelease shop gleaner.dev/schedule='* * * * *' --overwrite >/dev/null
scheduled() { kubectl -n gleaner-system get schedules -o json | jq -e '[.items[] | select(.spec.template.target.kind == "HelmRelease" and .status.lastBackup != null)] | length > 0' && true; }

must "gleaner backup --wait prints its steps and ends with 0" gleaner backup helmrelease/shop -n shop --name e2e-shop-$$ --wait --timeout 180
must "blog is backed up" backup_app e2e-blog-$$ blog
files=$(backup_files e2e-shop-$$ shop)
check "shop: holds the hand-made Secret" has_path "$files" /resources/secrets/namespaces/shop/shop-courier.json
check "shop: holds the chart's Secret" has_path "$files" /resources/secrets/namespaces/shop/shop-database.json
check "shop: holds the finished Job" has_path "$files" /resources/jobs.batch/namespaces/shop/shop-import.json
check "shop: holds the added key as residue" has_path "$files" /residue/secrets/namespaces/shop/shop-payment.json
check "shop: holds the volume's bytes" has_path "$files" /volumes/data-shop-0/ledger/canary
claim=$(kubectl -n shop get pvc data-shop-0 -o json | jq -r '"claim:" + .metadata.name + "@" + .metadata.creationTimestamp')
check "shop: the snapshot says which claim its volume is of" jq -e --arg tag "$claim" 'any(.[]; .tags | index($tag))' \
    <<<"$(stock_restic shop snapshots --json --tag "backup:gleaner-system/e2e-shop-$$")"
check "shop: holds its plan" has_path "$files" /meta/plan.json
check "shop: holds no workload, Service or ConfigMap that Git declares" has_none "$files" '^/resources/((deployments|statefulsets)\.apps|services|configmaps)/.*/shop(-config)?\.json'
check "shop: the residue has the added key's value" same payment-token-filled-in \
    "$(backup_dump e2e-shop-$$ shop /residue/secrets/namespaces/shop/shop-payment.json | jq -r '.data.token | @base64d')"
check "shop: the residue has nothing that Git holds" jq -e '.data | has("account") | not' <<<"$(backup_dump e2e-shop-$$ shop /residue/secrets/namespaces/shop/shop-payment.json)"
check "shop: the volume's file is the very file" same "$(kubectl -n shop exec shop-0 -- sha256sum /data/ledger/large | cut -d' ' -f1)" \
    "$(backup_dump e2e-shop-$$ shop /volumes/data-shop-0/ledger/large | sha256sum | cut -d' ' -f1)"
files=$(backup_files e2e-blog-$$ blog)
check "blog: holds the hand-made Secret" has_path "$files" /resources/secrets/namespaces/blog/blog-mail.json
check "blog: holds the added key as residue" has_path "$files" /residue/secrets/namespaces/blog/blog-admin.json
check "blog: holds no workload, Service or ConfigMap that Git declares" has_none "$files" '^/resources/((deployments|statefulsets)\.apps|services|configmaps)/.*/blog(-config)?\.json'
for ns in shop blog; do
    check "$ns: stock restic check --read-data finds no fault" stock_restic $ns check --read-data
    rm -rf "$work/restored"
    check "$ns: stock restic restores it" stock_restic $ns restore latest --target "$work/restored"
    check "$ns: with the files" test -s "$work/restored/meta/plan.json"
done
rm -rf "$work/restored"
check "no mover is left" wait_for "no mover" 60 kubectl_is '' get pods -A -l gleaner.dev/mover -o name
check "gleaner get backups lists them" contains "$(gleaner get backups)" e2e-shop-$$
check "gleaner get -o json is a list" jq -e '.items | length >= 2' <<<"$(gleaner get backups -o json)"
check "gleaner repo snapshots sees them too" contains \
    "$(gleaner repo snapshots -r "$(store_folder shop)" -p "$(store_password_file)")" "target:HelmRelease/shop/shop"
check "backing up leaves no trace on the applications" wait_for "clean hands" 60 clean_hands shop blog flux-system argocd
check "the Schedule makes a Backup when it is due" wait_for "a Backup by the Schedule" 90 scheduled
kubectl -n shop annotate --field-manager=people helmrelease shop gleaner.dev/schedule='0 3 * * *' --overwrite >/dev/null
kubectl -n shop annotate --field-manager=people helmrelease shop gleaner.dev/protect- gleaner.dev/schedule- >/dev/null
check "without the annotation the Schedule goes" wait_for "no Schedule for shop" 20 not schedule_of HelmRelease shop
end
