# shellcheck shell=bash
# shellcheck disable=SC2154 # what lib.sh sets
# Flux: source-controller, kustomize-controller and helm-controller as processes of this machine.

flux_storage_port=23790
flux_health_ports=(23791 23792 23793)

flux_up() {
    require_programs source-controller kustomize-controller helm-controller
    apply <<<'{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "flux-system"}}'
    apply_crds source.toolkit kustomize.toolkit helm.toolkit
    mkdir -p "$state/flux-storage"
    local env=(-f "$admin_kubeconfig" -e "KUBECONFIG=$admin_kubeconfig" -e RUNTIME_NAMESPACE=flux-system)
    local common=(--metrics-addr=0 --events-addr= --watch-all-namespaces --log-level=info)
    start_process source-controller "${env[@]}" source-controller "${common[@]}" \
        --storage-path="$state/flux-storage" --storage-addr=127.0.0.1:$flux_storage_port \
        --storage-adv-addr=127.0.0.1:$flux_storage_port --health-addr=127.0.0.1:${flux_health_ports[0]}
    start_process kustomize-controller "${env[@]}" kustomize-controller "${common[@]}" \
        --requeue-dependency=2s --health-addr=127.0.0.1:${flux_health_ports[1]}
    start_process helm-controller "${env[@]}" helm-controller "${common[@]}" \
        --requeue-dependency=2s --health-addr=127.0.0.1:${flux_health_ports[2]}
    wait_healthy source-controller 40 source-controller_healthy
    wait_healthy kustomize-controller 40 kustomize-controller_healthy
    wait_healthy helm-controller 40 helm-controller_healthy
}
# The storage answers 404 or a listing for /, but it answers only once the controller leads.
source-controller_healthy() {
    http_ok "http://127.0.0.1:${flux_health_ports[0]}/readyz" &&
        curl -s -o /dev/null --max-time 3 --noproxy '*' "http://127.0.0.1:$flux_storage_port/"
}
kustomize-controller_healthy() { http_ok "http://127.0.0.1:${flux_health_ports[1]}/readyz"; }
helm-controller_healthy() { http_ok "http://127.0.0.1:${flux_health_ports[2]}/readyz"; }
