# shellcheck shell=bash
# For end-to-end tests and the demo: waiting, Git repositories, the two applications.
# Needs the test cluster (tests/cluster/up); sets what tests/cluster/env prints.
e2e=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
eval "$("$e2e/../cluster/env")"
e2e_checkouts=${GLEANER_E2E_CHECKOUTS:-$(dirname "$GLEANER_GIT_ROOT")/checkouts}

fail() {
    echo "FAILED: $*" >&2
    return 1
}

# wait_for DESCRIPTION SECONDS COMMAND...: polls until the command succeeds. When the time is over it
# fails and says what was awaited and what the command said last.
wait_for() {
    local what=$1 seconds=$2 end=$((SECONDS + $2)) said
    shift 2
    until said=$("$@" 2>&1); do
        if [ $SECONDS -ge $end ]; then
            fail "$what: not so after $seconds s. Asked: $*. Said last: ${said:-nothing}"
            return 1
        fi
        sleep 0.3
    done
}

# --- Git ----------------------------------------------------------------------------------------

# The identity of commits; none of the user's configuration, hooks or proxies.
e2e_git() {
    GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git -c user.name=Tester -c user.email=tester@example.org \
        -c init.defaultBranch=main -c safe.directory='*' -c http.proxy= "$@"
}

# git_repo_create REPO FOLDER: a new repository whose first commit holds the folder's content; one
# of that name is replaced. Its URL is $GLEANER_GIT_URL/REPO.git, its branch main.
git_repo_create() {
    local bare=$GLEANER_GIT_ROOT/$1.git work
    work=$(git_checkout "$1")
    rm -rf "$bare" "$bare.hidden" "$work"
    mkdir -p "$work"
    e2e_git init -q --bare "$bare"
    cp -r "$2/." "$work"
    e2e_git -C "$work" init -q
    e2e_git -C "$work" remote add origin "$GLEANER_GIT_URL/$1.git"
    git_commit "$1" "First commit"
}

# git_checkout REPO: the folder in which to edit before git_commit.
git_checkout() { echo "$e2e_checkouts/$1"; }

# git_commit REPO MESSAGE [FILE...]: commits what changed in the checkout (or only the FILEs, named
# from its top), pushes it to main, and prints the commit.
git_commit() {
    local work repo=$1 message=$2
    work=$(git_checkout "$repo")
    shift 2
    [ $# -gt 0 ] || set -- .
    e2e_git -C "$work" add -A -- "$@" && e2e_git -C "$work" commit -qm "$message" &&
        e2e_git -C "$work" push -q origin HEAD:main && e2e_git -C "$work" rev-parse HEAD
}

# git_repo_hide REPO, git_repo_show REPO: the server answers 404 for it; it answers again.
git_repo_hide() { mv "$GLEANER_GIT_ROOT/$1.git" "$GLEANER_GIT_ROOT/$1.git.hidden"; }
git_repo_show() { mv "$GLEANER_GIT_ROOT/$1.git.hidden" "$GLEANER_GIT_ROOT/$1.git"; }

# --- the applications ---------------------------------------------------------------------------

# app_apply APP FILE: one of the application's files, with the Git server's address put in.
app_apply() { sed "s#GIT_URL#$GLEANER_GIT_URL#" "$e2e/apps/$1/$2" | kubectl apply -f - >/dev/null; }

kubectl_is() { # EXPECTED KUBECTL-ARGUMENTS...: whether kubectl prints exactly that
    local expected=$1 got
    shift
    got=$(kubectl "$@") && [ "$got" = "$expected" ] && return 0
    echo "${got:-nothing}"
    return 1
}

flux_ready() { # KIND NAMESPACE NAME: Ready for the newest generation
    kubectl_is "True" -n "$2" get "$1" "$3" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' &&
        kubectl_is "$(kubectl -n "$2" get "$1" "$3" -o jsonpath='{.metadata.generation}')" \
            -n "$2" get "$1" "$3" -o jsonpath='{.status.observedGeneration}'
}

argocd_healthy() { # NAME: synced and healthy
    kubectl_is "Synced Healthy" -n argocd get application "$1" \
        -o jsonpath='{.status.sync.status} {.status.health.status}'
}

# app_shop_deploy [DRIFT]: by Flux; DRIFT is the HelmRelease's drift detection (default: disabled).
app_shop_deploy() {
    local source
    source=$(mktemp -d)
    cp -r "$e2e/apps/shop/git/." "$source"
    sed -i "s/mode: disabled/mode: ${1:-disabled}/" "$source/deploy/release.yaml"
    git_repo_create shop "$source" >/dev/null && rm -rf "$source" && app_apply shop flux.yaml && app_shop_wait
}
app_shop_wait() {
    wait_for "Kustomization flux-system/shop is ready" 60 flux_ready kustomization flux-system shop &&
        wait_for "HelmRelease shop/shop is ready" 120 flux_ready helmrelease shop shop &&
        wait_for "StatefulSet shop/shop runs" 60 kubectl_is 1 -n shop get statefulset shop -o jsonpath='{.status.readyReplicas}'
}
# What people do by hand: a Secret, a Job that ends, a CronJob with one that ended, and a key in a Secret that Git declares.
# The key has a manager of its own: Flux takes back what a manager called kubectl... has changed.
app_shop_by_hand() {
    app_apply shop by-hand.yaml &&
        kubectl -n shop patch secret shop-payment --field-manager=payment-operator --type=merge -p '{"stringData":{"token":"payment-token-filled-in"}}' >/dev/null &&
        { kubectl -n shop get job shop-report-1 >/dev/null 2>&1 || kubectl -n shop create job shop-report-1 --from=cronjob/shop-report >/dev/null; } &&
        kubectl -n shop wait --for=condition=Complete --timeout=60s job/shop-import job/shop-report-1 >/dev/null
}
app_shop_delete() {
    kubectl -n flux-system delete kustomization,gitrepository shop --ignore-not-found --timeout=90s >/dev/null &&
        kubectl delete namespace shop --ignore-not-found --timeout=90s >/dev/null
}

# app_blog_deploy: by Argo CD, automated with prune and selfHeal.
app_blog_deploy() {
    git_repo_create blog "$e2e/apps/blog/git" >/dev/null && app_apply blog argocd.yaml && app_blog_wait
}
app_blog_wait() { wait_for "Application argocd/blog is synced and healthy" 120 argocd_healthy blog; }
app_blog_by_hand() {
    app_apply blog by-hand.yaml &&
        kubectl -n blog patch secret blog-admin --field-manager=blog-operator --type=merge -p '{"stringData":{"password":"blog-password-filled-in"}}' >/dev/null &&
        kubectl -n blog wait --for=condition=Complete --timeout=60s job/blog-import >/dev/null
}
app_blog_delete() {
    kubectl -n argocd delete application blog --ignore-not-found --timeout=90s >/dev/null &&
        kubectl delete namespace blog --ignore-not-found --timeout=90s >/dev/null
}
