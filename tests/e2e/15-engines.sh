#!/usr/bin/env bash
# Hold, quiet, resume on the real Flux and Argo CD; what is refused; books, parents and sources
#
# GITOPS_TOOL names the program (tests/unit/gitops_tool.c); default: that of a build folder. The
# controller sleeps meanwhile: it would lift holds that belong to no Restore.
. "$(dirname "$0")/checks.sh"
tool=${GITOPS_TOOL:-}
for build in asan dev; do
    [ -n "$tool" ] || { [ -x "$top/build/$build/tests/unit/gitops_tool" ] && tool=$top/build/$build/tests/unit/gitops_tool; }
done
if [ -z "$tool" ]; then
    tool=$top/build/dev/tests/unit/gitops_tool
    (cd "$top" && cmake --preset dev && nice ninja -C build/dev gitops_tool gleaner) >"$work/gitops_tool.log" 2>&1
fi
must "the driver of the engines is there" test -x "$tool"
state=$(mktemp -d "${TMPDIR:-/tmp}/gleaner-engines.XXXXXX")

controller() { kubectl -n gleaner-system scale deployment gleaner-controller --replicas="$1" >/dev/null 2>&1; }
controller_gone() { [ -z "$(kubectl -n gleaner-system get pods -l app.kubernetes.io/component=controller -o name)" ]; }
wake() { controller 1; rm -rf "$state"; }
trap wake EXIT

says() { # PATTERN COMMAND...: the command's output (of either kind) has it
    local pattern=$1 said
    shift
    said=$("$@" 2>&1)
    grep -qE -- "$pattern" <<<"$said" || { echo "$said"; return 1; }
}
refuses() { # PATTERN COMMAND...: the command fails and says so
    local pattern=$1 said
    shift
    said=$("$@" 2>&1) && { echo "not refused: $said"; return 1; }
    grep -qE -- "$pattern" <<<"$said" || { echo "$said"; return 1; }
}
all_true() { # every source is proven
    local said
    said=$("$tool" sources "$@") && [ -n "$said" ] && ! grep -v ': true$' <<<"$said"
}

# What a resume must leave as it was; the API server may order entries as it likes.
owned() { # KIND NAMESPACE NAME
    kubectl -n "$2" get "$1" "$3" --show-managed-fields -o json | jq -S '{
        spec, annotations: (.metadata.annotations // {} | del(.["reconcile.fluxcd.io/requestedAt"])),
        owners: [.metadata.managedFields[] | select(.subresource != "status")
            | {manager, operation, fieldsV1} | del(.fieldsV1["f:status"])
            | select(.manager != "e2e-request")] | sort_by(.manager)}'
}
traces() { # KIND NAMESPACE NAME
    kubectl -n "$2" get "$1" "$3" --show-managed-fields -o json |
        jq -r '.metadata | .managedFields[].manager, (.annotations // {} | keys[])' | grep -xE 'gleaner|gleaner\.dev/hold'
}
switch_is() { kubectl_is "$5" -n "$2" get "$1" "$3" -o jsonpath="$4"; } # KIND NAMESPACE NAME JSONPATH VALUE

round() { # KIND NAMESPACE NAME JSONPATH VALUE [DURING]: the switch as the hold sets it
    local app=("$1" "$2" "$3")
    owned "${app[@]}" >"$state/before"
    check "$1: may be held" "$tool" may-hold "${app[@]}"
    check "$1: is held" "$tool" hold "${app[@]}"
    check "$1: the switch is set" switch_is "$@"
    check "$1: holding again is nothing" "$tool" hold "${app[@]}"
    check "$1: is quiet" "$tool" quiet "${app[@]}"
    check "$1: is marked as cleared" "$tool" mark-cleared "${app[@]}"
    check "$1: and stays quiet" "$tool" quiet "${app[@]}"
    [ $# -lt 6 ] || "$6"
    check "$1: is resumed" "$tool" resume "${app[@]}"
    check "$1: resuming again is nothing" "$tool" resume "${app[@]}"
    check "$1: settles" "$tool" settled "${app[@]}"
    owned "${app[@]}" >"$state/after"
    check "$1: spec, annotations and owners are as before" diff "$state/before" "$state/after"
    check "$1: no trace of us" not traces "${app[@]}"
}

request() { # KIND NAMESPACE NAME: asks Flux to reconcile, and waits for the answer
    local token
    token=$(date +%s%N)
    kubectl -n "$2" annotate --field-manager=e2e-request --overwrite "$1" "$3" reconcile.fluxcd.io/requestedAt="$token" >/dev/null &&
        wait_for "$1 $2/$3 answers" 60 kubectl_is "$token" -n "$2" get "$1" "$3" -o jsonpath='{.status.lastHandledReconcileAt}'
}
parent_runs() {
    request kustomization flux-system shop
    check "HelmRelease: the hold survives its parent" switch_is HelmRelease shop shop '{.spec.suspend}' true
}
nothing_is_repaired() {
    local kinds=deployment,statefulset,service
    kubectl -n blog delete $kinds --all >/dev/null
    check "Application: Argo CD sees that all is gone" wait_for "OutOfSync" 60 \
        kubectl_is OutOfSync -n argocd get application blog -o jsonpath='{.status.sync.status}'
    check "Application: and repairs nothing" kubectl_is '' -n blog get $kinds -o name
}

must "shop runs under Flux" setup_app shop
must "blog runs under Argo CD" setup_app blog
controller 0
must "the controller sleeps" wait_for "no controller" 60 controller_gone

check "every application is found" says 'Application argocd/blog content=blog .*ready' "$tool" all
check "HelmRelease: its books are Helm's" says 'apps/StatefulSet shop/shop manifest' "$tool" books HelmRelease shop shop
check "Kustomization: its books" says 'helm.toolkit.fluxcd.io/HelmRelease shop/shop' "$tool" books Kustomization flux-system shop
check "Application: its books" says '/Secret blog/blog-admin' "$tool" books Application argocd blog
check "HelmRelease: its parent" says 'Kustomization flux-system/shop content=shop' "$tool" parents HelmRelease shop shop
check "HelmRelease: its sources hold it" all_true HelmRelease shop shop
check "Application: its source holds it" all_true Application argocd blog
git_repo_hide blog
check "Application: a source that is gone proves nothing" says 'unknown.*404' "$tool" sources Application argocd blog
git_repo_show blog

round HelmRelease shop shop '{.spec.suspend}' true parent_runs
round Kustomization flux-system shop '{.spec.suspend}' true
round Application argocd blog '{.spec.syncPolicy.automated.enabled}' false nothing_is_repaired

# A value that a person had set, and its owner, come back too.
enabled() { kubectl -n argocd patch application blog --field-manager=somebody --type=merge \
    -p "{\"spec\":{\"syncPolicy\":{\"automated\":{\"enabled\":$1}}}}" >/dev/null; }
enabled true
must "blog with a person's switch" app_blog_wait
round Application argocd blog '{.spec.syncPolicy.automated.enabled}' false
check "Application: the person's switch is back" switch_is Application argocd blog '{.spec.syncPolicy.automated.enabled}' true
enabled null

kubectl -n argocd annotate application blog argocd.argoproj.io/skip-reconcile=true >/dev/null
check "Application: not where Argo CD does not look" refuses 'skip-reconcile' "$tool" may-hold Application argocd blog
kubectl -n argocd annotate application blog argocd.argoproj.io/skip-reconcile- >/dev/null

newest=$(kubectl -n shop get secret -l owner=helm,name=shop,status=deployed -o name | head -n 1)
kubectl -n shop label --overwrite "$newest" status=pending-upgrade >/dev/null
check "HelmRelease: not while Helm is at work" refuses 'pending-upgrade' "$tool" may-hold HelmRelease shop shop
kubectl -n shop label --overwrite "$newest" status=deployed >/dev/null

declares() { kubectl -n shop get helmrelease shop --show-managed-fields -o json |
    jq -e '.metadata.managedFields[] | select(.manager == "kustomize-controller").fieldsV1["f:spec"]["f:suspend"]'; }
release=$(git_checkout shop)/deploy/release.yaml
cp "$release" "$state/release.yaml"
sed -i 's/^spec:/spec:\n  suspend: false/' "$release"
git_commit shop "Declare suspend" >/dev/null
check "shop declares its switch" wait_for "the switch is Git's" 60 declares
check "HelmRelease: not where Git declares the switch" refuses 'declared in Git' "$tool" may-hold HelmRelease shop shop
cp "$state/release.yaml" "$release"
git_commit shop "Declare it no more" >/dev/null
check "shop is as before" wait_for "the switch is nobody's" 60 not declares
end
