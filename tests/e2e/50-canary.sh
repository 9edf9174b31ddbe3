#!/usr/bin/env bash
# No secret anywhere: logs, Events, statuses, argument lists, environments, repository files
. "$(dirname "$0")/checks.sh"
must "shop runs under Flux" setup_app shop
must "blog runs under Argo CD" setup_app blog
must "an S3 server is up" "$top/tests/cluster/up" minio
folder=$work/canary
rm -rf "$folder"
mkdir -p "$folder/found" "$folder/logs"

# Fresh values, so that nothing that was found by luck elsewhere counts.
random() { openssl rand -hex 16; }
kubectl -n shop patch secret shop-courier --type=merge -p "{\"stringData\": {\"key\": \"canary-courier-$(random)\"}}" >/dev/null
kubectl -n blog patch secret blog-mail --type=merge -p "{\"stringData\": {\"key\": \"canary-mail-$(random)\"}}" >/dev/null
(umask 077; printf 'CANARY%s' "$(random)" >"$folder/access"; printf 'canary-bucket-%s' "$(random)" >"$folder/secret")
kubectl -n gleaner-system create secret generic canary-bucket --from-file=AWS_ACCESS_KEY_ID="$folder/access" \
    --from-file=AWS_SECRET_ACCESS_KEY="$folder/secret" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
kubectl -n gleaner-system create secret generic canary-bucket-ca --from-file=ca.crt="$GLEANER_S3_CA" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
kubectl -n shop exec shop-0 -- sh -c "echo canary-bytes-$(random) >/data/ledger/canary2" </dev/null
# Every value of every Secret there, but for certificates (public) and what is no secret at all.
{
    kubectl get secrets -A -o json | jq -r '.items[] | select(.type != "helm.sh/release.v1") | (.data // {}) | to_entries[]
        | select(.key | IN("tls.crt", "ca.crt") | not) | .value | @base64d | select(length >= 12)'
    kubectl -n shop exec shop-0 -- cat /data/ledger/canary /data/ledger/canary2 </dev/null
} | sed '/^-----/d' | awk 'length >= 12' | grep -vxE 'merchant-[0-9]+' | sort -u >"$folder/values"
check "there are canaries to look for" test "$(wc -l <"$folder/values")" -ge 6

# Argument lists and environments are looked at as long as this runs; log lines too, of pods that go.
touch "$folder/watching"
watch_processes() {
    local pid
    while [ -e "$folder/watching" ]; do
        for pid in $(pgrep -x gleaner); do
            { cat "/proc/$pid/cmdline" "/proc/$pid/environ" 2>/dev/null; echo; } >>"$folder/found/processes"
        done
        for pod in $(kubectl get pods -A -l gleaner.dev/mover -o jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name} {end}' 2>/dev/null); do
            kubectl -n "${pod%/*}" logs "${pod#*/}" >"$folder/logs/${pod#*/}" 2>/dev/null
            kubectl -n "${pod%/*}" get pod "${pod#*/}" -o json >>"$folder/found/mover-pods" 2>/dev/null
        done
    done
}
watch_processes &
watcher=$!
must "the volume has something new" write_fresh shop shop-0
check "a backup of each succeeds" backup_app "canary-shop-$$" shop
check "and of the other" backup_app "canary-blog-$$" blog
kubectl -n shop delete secret shop-courier >/dev/null
apply_restore "canary-$$" "canary-shop-$$"
check "a restore succeeds" ended_as restore "canary-$$" Done 300
# Failing ways: a wrong password, and a pack that is not there.
pack=$(fresh_pack shop)
mv "$pack" "$folder/pack"
apply_restore "canary-bad-$$" "canary-shop-$$"
check "a restore fails" ended_as restore "canary-bad-$$" Failed 120
mv "$folder/pack" "$pack"
(umask 077; printf 'canary-wrong-%s' "$(random)" | tee -a "$folder/values" >"$folder/wrong"; echo >>"$folder/values")
kubectl -n gleaner-system create secret generic canary-wrong --from-file=password="$folder/wrong" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
kubectl apply -f - >/dev/null <<<'{"apiVersion": "gleaner.dev/v1alpha1", "kind": "BackupStore", "metadata": {"name": "canary-wrong"},
 "spec": {"local": {"path": "backups"}, "passwordSecretRef": {"name": "canary-wrong"}}}'
refused() { kubectl_is False get backupstore canary-wrong -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}'; }
check "a wrong password fails" wait_for "BackupStore canary-wrong" 30 refused
# Keys that the server of a bucket refuses; it repeats the access key in its words.
kubectl apply -f - >/dev/null <<X
{"apiVersion": "gleaner.dev/v1alpha1", "kind": "BackupStore", "metadata": {"name": "canary-bucket"}, "spec": {
 "s3": {"endpoint": "$GLEANER_MINIO_URL", "bucket": "canary"}, "credentialsSecretRef": {"name": "canary-bucket"}, "caSecretRef": {"name": "canary-bucket-ca"},
 "passwordSecretRef": {"name": "gleaner-store-password"}}}
X
key_unknown() { kubectl_is AccessKeyUnknown get backupstore canary-bucket -o jsonpath='{.status.conditions[?(@.type=="Ready")].reason}'; }
check "wrong keys of a bucket fail" wait_for "BackupStore canary-bucket" 60 key_unknown
rm -f "$folder/watching"
wait $watcher

for deployment in gleaner-controller gleaner-gateway; do
    kubectl -n gleaner-system logs "deployment/$deployment" >"$folder/logs/$deployment"
done
kubectl get events.v1.events.k8s.io -A -o json >"$folder/found/events"
kubectl get backupstores,backups,restores,schedules -A -o json >"$folder/found/resources"
kubectl -n gleaner-system get pods,deployments,leases,configmaps -o json --show-managed-fields >"$folder/found/gleaner-system"
kubectl get helmreleases,kustomizations,applications -A -o json --show-managed-fields >"$folder/found/applications"
gleaner plan helmrelease/shop -n shop -o json >"$folder/found/plan" 2>&1
gleaner plan application/blog -n argocd >"$folder/found/plan-text" 2>&1
check "the processes were seen" grep -qa gleaner "$folder/found/processes"
check "logs of movers were seen" test -n "$(find "$folder/logs" -name 'gleaner-mover-*')"

# Raw, as base64 at each of the three alignments, and as hex.
cat >"$folder/search.py" <<'P'
import base64, os, sys
values = [line.rstrip('\n').encode() for line in open(sys.argv[1]) if len(line) > 12]
needles = []
for v in values:
    needles += [v, v.hex().encode(), v.hex().upper().encode()]
    for shift in range(3):
        text = base64.b64encode(b'\0' * shift + v)
        needles.append(text[4 if shift else 0:len(text) - 4])
bad = 0
for top in sys.argv[2:]:
    files = [top] if os.path.isfile(top) else [os.path.join(d, f) for d, _, fs in os.walk(top) for f in fs]
    for name in files:
        data = open(name, 'rb').read()
        for n in needles:
            if len(n) >= 12 and n in data:
                print('%s holds a canary that begins with %r' % (name, n[:8])); bad = 1
sys.exit(bad)
P
rm -f "$folder/pack" "$folder/wrong" "$folder/access" "$folder/secret"
search() { python3 "$folder/search.py" "$folder/values" "$@"; }
check "the search finds what is there" not search "$folder/values"
check "logs hold none" search "$folder/logs"
check "argument lists and environments hold none" search "$folder/found/processes"
check "mover pods hold none" search "$folder/found/mover-pods"
check "Events hold none" search "$folder/found/events"
check "our resources and their statuses hold none" search "$folder/found/resources"
check "pods, Leases and the applications hold none" search "$folder/found/gleaner-system" "$folder/found/applications"
check "plans hold none" search "$folder/found/plan" "$folder/found/plan-text"
check "repository files hold none" search "$(dirname "$(store_folder shop)")"
kubectl delete backupstore canary-wrong canary-bucket >/dev/null
kubectl -n gleaner-system delete secret canary-bucket canary-bucket-ca >/dev/null
kubectl -n shop patch secret shop-courier --type=merge -p '{"stringData": {"key": "courier-key-made-by-hand"}}' >/dev/null
kubectl -n blog patch secret blog-mail --type=merge -p '{"stringData": {"key": "mail-key-made-by-hand"}}' >/dev/null
rm -rf "$folder"
end
