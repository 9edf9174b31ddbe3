#!/usr/bin/env bash
# The engines of gitops/ on the real ones: hold, quiet, resume, settled; afterwards spec, annotations and
# field owners are as before. Books, sources, parents, and what is refused.
#
#     tests/e2e/engines.sh [GITOPS_TOOL]     (default: the dev build's)
#
# Prints PASS or FAIL lines; exit 1 if one failed. Deploys shop and blog and deletes them again.
set -u
cd "$(dirname "$0")/../.." || exit 1
tool=$(realpath "${1:-build/dev/tests/unit/gitops_tool}")
. tests/e2e/lib.sh
work=$(mktemp -d "${TMPDIR:-/tmp}/gleaner-engines.XXXXXX")
failed=0
cleanup() { app_shop_delete; app_blog_delete; rm -rf "$work"; }
trap cleanup EXIT

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then echo "PASS engines: $name"; else
        echo "FAIL engines: $name"
        sed 's/^/    /' "$work/log" | tail -n 20
        failed=1
    fi
}

says() { # PATTERN COMMAND...: the command's output (of either kind) has it
    local pattern=$1
    shift
    "$@" >"$work/said" 2>&1
    cat "$work/said"
    grep -qE -- "$pattern" "$work/said"
}

refuses() { # PATTERN COMMAND...: the command fails and says so
    local pattern=$1
    shift
    if "$@" >"$work/said" 2>&1; then echo "it was not refused"; return 1; fi
    cat "$work/said"
    grep -qE -- "$pattern" "$work/said"
}

silent() { # COMMAND...: it prints nothing
    local said
    said=$("$@" 2>&1)
    [ -z "$said" ] || { echo "$said"; return 1; }
}

# What a resume must leave as it was. An API server may split or order entries as it likes.
state() { # KIND NAMESPACE NAME
    kubectl -n "$2" get "$1" "$3" --show-managed-fields -o json | jq -S '{
        spec, annotations: (.metadata.annotations // {} | del(.["reconcile.fluxcd.io/requestedAt"])),
        owners: [.metadata.managedFields[] | select(.subresource != "status")
            | {manager, operation, fieldsV1} | del(.fieldsV1["f:status"])
            | select(.manager != "kubectl-annotate")] | sort_by(.manager)}'
}

is_held() { # KIND NAMESPACE NAME JSONPATH VALUE
    kubectl_is "$5" -n "$2" get "$1" "$3" -o jsonpath="$4"
}

round() { # KIND NAMESPACE NAME JSONPATH VALUE: the switch as the hold sets it
    local kind=$1 ns=$2 name=$3
    state "$kind" "$ns" "$name" >"$work/before"
    check "$kind: may be held" "$tool" may-hold "$kind" "$ns" "$name"
    check "$kind: hold" "$tool" hold "$kind" "$ns" "$name"
    check "$kind: the switch is set" is_held "$@"
    check "$kind: holding again changes nothing" "$tool" hold "$kind" "$ns" "$name"
    check "$kind: quiet" "$tool" quiet "$kind" "$ns" "$name"
    check "$kind: marked as cleared" "$tool" mark-cleared "$kind" "$ns" "$name"
    check "$kind: the marker says so" says cleared kubectl -n "$ns" get "$kind" "$name" -o yaml
    check "$kind: still quiet" "$tool" quiet "$kind" "$ns" "$name"
    between "$@"
    check "$kind: resume" "$tool" resume "$kind" "$ns" "$name"
    check "$kind: resuming again is nothing" "$tool" resume "$kind" "$ns" "$name"
    check "$kind: settled" "$tool" settled "$kind" "$ns" "$name"
    state "$kind" "$ns" "$name" >"$work/after"
    check "$kind: spec, annotations and owners are as before" diff "$work/before" "$work/after"
    check "$kind: no trace of us" silent \
        bash -c "kubectl -n $ns get $kind $name --show-managed-fields -o json | jq .metadata | grep gleaner"
}

# Under the hold the engine repairs nothing, and its parent does not undo it.
between() {
    case $1 in
    HelmRelease)
        kubectl -n flux-system annotate --overwrite kustomization shop \
            reconcile.fluxcd.io/requestedAt="$(date +%s%N)" >/dev/null
        check "$1: the hold survives its parent" bash -c "sleep 5; . tests/e2e/lib.sh; kubectl_is true -n shop get helmrelease shop -o jsonpath={.spec.suspend}"
        ;;
    Application)
        kubectl -n blog delete deployment,statefulset --all >/dev/null
        check "$1: nothing is repaired" bash -c "sleep 5; [ -z \"\$(kubectl -n blog get deployment,statefulset -o name)\" ]"
        ;;
    esac
}

check "shop is deployed" app_shop_deploy
check "blog is deployed" app_blog_deploy
check "every application is found" says "Application argocd/blog content=blog .*ready" "$tool" all
check "HelmRelease: books from Helm's storage" says "apps/StatefulSet shop/shop manifest" "$tool" books HelmRelease shop shop
check "Kustomization: books" says "helm.toolkit.fluxcd.io/HelmRelease shop/shop" "$tool" books Kustomization flux-system shop
check "Application: books" says "/Secret blog/blog-admin" "$tool" books Application argocd blog
check "HelmRelease: its parent" says "Kustomization flux-system/shop content=shop" "$tool" parents HelmRelease shop shop
check "HelmRelease: two sources" says "refs/heads/main main@sha1:.*: true" "$tool" sources HelmRelease shop shop
check "HelmRelease: ... both proven" silent \
    bash -c "'$tool' sources HelmRelease shop shop | grep -v ': true\$'"
check "Application: its source" says ": true" "$tool" sources Application argocd blog
git_repo_hide blog
check "Application: a source that is gone proves nothing" says "unknown.*404" "$tool" sources Application argocd blog
git_repo_show blog

round HelmRelease shop shop '{.spec.suspend}' true
round Kustomization flux-system shop '{.spec.suspend}' true
round Application argocd blog '{.spec.syncPolicy.automated.enabled}' false

# A value that a person had set, and its owner, come back too.
kubectl -n argocd patch application blog --field-manager=somebody --type=merge \
    -p '{"spec":{"syncPolicy":{"automated":{"enabled":true}}}}' >/dev/null
check "blog with a person's switch" app_blog_wait
between() { :; }
round Application argocd blog '{.spec.syncPolicy.automated.enabled}' false
check "Application: the person's switch is back" is_held Application argocd blog '{.spec.syncPolicy.automated.enabled}' true
kubectl -n argocd patch application blog --type=merge -p '{"spec":{"syncPolicy":{"automated":{"enabled":null}}}}' >/dev/null

kubectl -n argocd annotate application blog argocd.argoproj.io/skip-reconcile=true >/dev/null
check "Application: not where Argo CD does not look" refuses skip-reconcile "$tool" may-hold Application argocd blog
kubectl -n argocd annotate application blog argocd.argoproj.io/skip-reconcile- >/dev/null

revision=$(kubectl -n shop get secret -l owner=helm,name=shop,status=deployed -o name | head -n 1)
kubectl -n shop label --overwrite "$revision" status=pending-upgrade >/dev/null
check "HelmRelease: not while Helm is at work" refuses "pending-upgrade" "$tool" may-hold HelmRelease shop shop
kubectl -n shop label --overwrite "$revision" status=deployed >/dev/null

sed -i 's/^spec:/spec:\n  suspend: false/' "$(git_checkout shop)/deploy/release.yaml"
git_commit shop "Declare suspend" >/dev/null
check "shop declares suspend" wait_for "the field's owner" 60 bash -c \
    "kubectl -n shop get helmrelease shop --show-managed-fields -o json | jq -e '.metadata.managedFields[] | select(.manager == \"kustomize-controller\").fieldsV1[\"f:spec\"][\"f:suspend\"]'"
check "HelmRelease: not where Git declares the switch" refuses "declared in Git" "$tool" may-hold HelmRelease shop shop
exit $failed
