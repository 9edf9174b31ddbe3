# shellcheck shell=bash
# shellcheck disable=SC2154 # what lib.sh sets
# Argo CD: redis, repo-server and application-controller as processes of this machine. There is no
# argocd-server, so what it would make at its first start is made here: settings, key, project.

redis_port=23800
repo_server_port=23801
repo_server_metrics_port=23802
application_controller_port=23803

argocd_up() {
    require_programs argocd helm kustomize
    argocd_objects
    apply_crds application-crd applicationset-crd appproject-crd
    argocd_project
    mkdir -p "$state/argocd"/{tls,ssh,plugins,work,gnupg}
    chmod 700 "$state/argocd/gnupg"
    local env=(-f "$admin_kubeconfig" -e "KUBECONFIG=$admin_kubeconfig" -e ARGOCD_FAKE_IN_CLUSTER=true
        -e "ARGOCD_TLS_DATA_PATH=$state/argocd/tls" -e "ARGOCD_SSH_DATA_PATH=$state/argocd/ssh"
        -e "ARGOCD_GNUPGHOME=$state/argocd/gnupg" -e ARGOCD_GPG_ENABLED=false
        -e "ARGOCD_PLUGINSOCKFILEPATH=$state/argocd/plugins")
    start_process redis redis-server --port $redis_port --bind 127.0.0.1 --save '' --appendonly no \
        --dir "$state/argocd"
    start_process argocd-repo-server "${env[@]}" -e ARGOCD_BINARY_NAME=argocd-repo-server \
        -e "TMPDIR=$state/argocd/work" argocd --address 127.0.0.1 --port $repo_server_port \
        --metrics-address 127.0.0.1 --metrics-port $repo_server_metrics_port \
        --redis 127.0.0.1:$redis_port --disable-tls --revision-cache-expiration 10s
    start_process argocd-application-controller "${env[@]}" \
        -e ARGOCD_BINARY_NAME=argocd-application-controller argocd -n argocd \
        --redis 127.0.0.1:$redis_port --repo-server 127.0.0.1:$repo_server_port --repo-server-plaintext \
        --metrics-port $application_controller_port --app-resync 10 --app-resync-jitter 0
    wait_healthy redis 10 redis_healthy
    wait_healthy argocd-repo-server 60 argocd-repo-server_healthy
    wait_healthy argocd-application-controller 60 argocd-application-controller_healthy
}
redis_healthy() { [ "$(redis-cli -p $redis_port ping)" = PONG ]; }
argocd-repo-server_healthy() { http_ok "http://127.0.0.1:$repo_server_metrics_port/healthz"; }
argocd-application-controller_healthy() { http_ok "http://127.0.0.1:$application_controller_port/healthz"; }

argocd_objects() {
    local name
    {
        echo '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}}'
        for name in argocd-cm argocd-cmd-params-cm argocd-rbac-cm argocd-ssh-known-hosts-cm argocd-tls-certs-cm argocd-gpg-keys-cm; do
            # Argo CD sees only those with the label.
            echo "---"
            echo "{apiVersion: v1, kind: ConfigMap, metadata: {name: $name, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}}"
        done
    } | apply
    kubectl -n argocd get secret argocd-secret >/dev/null 2>&1 || apply <<X
apiVersion: v1
kind: Secret
metadata: {name: argocd-secret, namespace: argocd, labels: {app.kubernetes.io/part-of: argocd}}
stringData: {server.secretkey: $(openssl rand -base64 32)}
X
}

argocd_project() {
    apply <<'X'
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec:
  sourceRepos: ["*"]
  destinations: [{namespace: "*", server: "*"}]
  clusterResourceWhitelist: [{group: "*", kind: "*"}]
X
}
