#!/usr/bin/env bash
# The gateway of the cluster, asked with real tokens of real pods: who may do what
. "$(dirname "$0")/checks.sh"
folder=$work/gateway
rm -rf "$folder"
mkdir -p "$folder/source"
store=$(store_folder x)
store=${store%/backups/*}/gateway-test # beside the real store's folder, on gleaner's own volume
url=https://$(kubectl -n gleaner-system get service gleaner-gateway -o jsonpath='{.spec.clusterIP}'):8443
kubectl -n gleaner-system get secret gleaner-gateway-tls -o jsonpath='{.data.ca\.crt}' | base64 -d >"$folder/ca"

clean() {
    kubectl delete namespace gw-one gw-two --ignore-not-found --wait=false >/dev/null
    rm -rf "$store"
}
trap clean EXIT
kubectl delete namespace gw-one gw-two --ignore-not-found --timeout=60s >/dev/null

# A pod with a token for the gateway, and one for somebody else.
pod() { # NAMESPACE NAME
    kubectl -n "$1" apply -f - >/dev/null <<X
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "$2"}, "spec": {"terminationGracePeriodSeconds": 0,
 "automountServiceAccountToken": false, "containers": [{"name": "m", "image": "gleaner.test/busybox:1",
  "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"], "volumeMounts": [{"name": "t", "mountPath": "/t"}]}],
 "volumes": [{"name": "t", "projected": {"sources": [
  {"serviceAccountToken": {"audience": "gleaner-gateway", "expirationSeconds": 600, "path": "gateway"}},
  {"serviceAccountToken": {"audience": "somebody-else", "expirationSeconds": 600, "path": "other"}}]}}]}}
X
}
# One of its tokens as a header in a file, so that it is on no command line.
header() { # NAMESPACE POD FILE
    (umask 077; printf 'Authorization: Bearer %s' "$(kubectl -n "$1" exec "$2" -- cat "/t/$3" </dev/null)" >"$folder/$2-$3")
}
# status METHOD PATH HEADER-FILE [CURL-ARGUMENTS...]: the HTTP status.
status() {
    local method=$1 path=$2 token=$3
    shift 3
    curl -X "$method" -s -o /dev/null -w '%{http_code}' --path-as-is --cacert "$folder/ca" -H @"$folder/$token" "$@" "$url$path"
}
answers() { # EXPECTED METHOD PATH HEADER-FILE [CURL-ARGUMENTS...]
    local expected=$1
    shift
    same "$expected" "$(status "$@")"
}
register() { # NAMESPACE POD WRITE
    local uid key
    uid=$(kubectl -n "$1" get pod "$2" -o jsonpath='{.metadata.uid}')
    key=$(ls "$store/c/$1/keys")
    answers 204 PUT "/gleaner/v1/movers/$uid" controller --data-binary @- <<X
{"store":"gateway-test","repository":"c/$1","password":"a tenant's password","keys":["$key"],"write":$3,"lock":"nobody"}
X
}

# Two repositories, one for each namespace, with a snapshot in each.
echo "a tenant's password" | tr -d '\n' >"$folder/password"
echo "some bytes" >"$folder/source/file"
for ns in gw-one gw-two; do
    kubectl create namespace "$ns" >/dev/null
    mkdir -p "$store/c/$ns"
    export RESTIC_REPOSITORY=$store/c/$ns RESTIC_PASSWORD_FILE=$folder/password RESTIC_CACHE_DIR=$folder/cache
    must "a repository for $ns" restic init -q
    must "with a snapshot" restic backup -q "$folder/source"
done
unset RESTIC_REPOSITORY
chown -R 65532:65532 "$store"
pod gw-one mover
pod gw-one stranger
pod gw-two other
kubectl -n gw-one wait --for=condition=Ready --timeout=60s pod/mover pod/stranger >/dev/null
kubectl -n gw-two wait --for=condition=Ready --timeout=60s pod/other >/dev/null
header gw-one mover gateway
header gw-one mover other
header gw-one stranger gateway
header gw-two other gateway
(umask 077; printf 'Authorization: Bearer %s' "$(kubectl -n gleaner-system create token gleaner-controller --audience gleaner-gateway --duration 10m)" >"$folder/controller")
(umask 077; printf 'Authorization: Bearer %s' "$(kubectl -n gleaner-system create token gleaner-controller --duration 10m)" >"$folder/controller-api")
echo 'Authorization: Bearer e30.e30.e30' >"$folder/forged"
one=/c/gw-one pack=$(find "$store/c/gw-one/data" -type f -printf '%f\n' -quit)

check "before it is registered a pod gets nothing" answers 403 GET $one/config mover-gateway
check "nor the password" answers 403 GET /gleaner/v1/key mover-gateway
check "the controller registers a mover" register gw-one mover true
check "and one of another namespace" register gw-two other true
check "which no mover can" answers 403 PUT /gleaner/v1/movers/x mover-gateway --data-binary '{}'
check "nor the controller with a token for the API server" answers 401 PUT /gleaner/v1/movers/x controller-api --data-binary '{}'

check "the mover reads the config" answers 200 GET $one/config mover-gateway
check "and packs" answers 200 GET "$one/data/$pack" mover-gateway
check "and gets the password" answers 200 GET /gleaner/v1/key mover-gateway
check "its token for somebody else is refused" answers 401 GET $one/config mover-other
check "a forged one too" answers 401 GET $one/config forged
check "another pod of the same account is refused" answers 403 GET $one/config stranger-gateway
check "another namespace's mover is refused" answers 403 GET $one/config other-gateway
check "and this one there" answers 403 GET /c/gw-two/config mover-gateway
check "which that one reads" answers 200 GET /c/gw-two/config other-gateway
kubectl -n gw-two delete pod other --wait=true >/dev/null # its token is asked about at the end
check "snapshots are not for movers" answers 403 GET $one/snapshots/ mover-gateway
check "nor are locks" answers 403 POST "$one/locks/$pack" mover-gateway --data-binary x
check "nor deleting" answers 403 DELETE "$one/data/$pack" mover-gateway
check "a path out of the store is refused" answers 403 GET "$one/../../../etc/passwd" mover-gateway
echo "a pack" >"$folder/pack"
id=$(sha256sum "$folder/pack" | cut -c1-64)
check "a pack under its hash is stored" answers 200 POST "$one/data/$id" mover-gateway --data-binary "@$folder/pack"
check "and lies in the store" test -f "$store/c/gw-one/data/${id:0:2}/$id"
check "under another hash it is not" answers 400 POST "$one/data/$pack" mover-gateway --data-binary "@$folder/pack"
check "an index without the controller's lock is not" answers 403 POST "$one/index/$id" mover-gateway --data-binary "@$folder/pack"

# Stock restic; it repeats what is refused for minutes, its first words are enough.
# The token is in the environment of restic alone.
by_gateway() { # SECONDS ARGUMENTS...
    local seconds=$1 token
    shift
    token=$(sed 's/^Authorization: Bearer //' "$folder/mover-gateway")
    RESTIC_REPOSITORY="rest:https://x:$token@${url#https://}$one/" timeout "$seconds" restic --no-cache --cacert "$folder/ca" "$@"
}
refused() { # RESTIC-ARGUMENTS...
    local said
    said=$(by_gateway 4 "$@" 2>&1)
    contains "$said" 403
}
check "stock restic: cat config" by_gateway 60 --no-lock cat config
check "stock restic: list index" by_gateway 60 --no-lock list index
check "stock restic: list packs" by_gateway 60 --no-lock list packs
check "stock restic: snapshots is refused" refused --no-lock snapshots
check "stock restic: backup is refused" refused --no-lock backup "$folder/source"
check "stock restic: forget is refused" refused forget latest

check "the token of a deleted pod ends within a minute or so" wait_for "401" 75 answers 401 GET /c/gw-two/config other-gateway
said=$(kubectl -n gleaner-system logs deployment/gleaner-gateway)
check "no token and no password in the gateway's log" not grep -qE "eyJ|a tenant's password" <<<"$said"
end
