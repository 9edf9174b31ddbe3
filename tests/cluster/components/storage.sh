# shellcheck shell=bash
# shellcheck disable=SC2154 # what lib.sh sets
# Dynamic volumes: class `standard` (the default), folders of this machine, bound at first use.

storage_up() {
    require_programs local-path-provisioner
    mkdir -p "$volumes"
    chmod 711 "$volumes"
    apply <<X
apiVersion: v1
kind: Namespace
metadata: {name: local-path-storage}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: local-path-provisioner-service-account, namespace: local-path-storage}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: local-path-config, namespace: local-path-storage}
data:
  setup: |
    #!/bin/sh
    mkdir -m 0777 -p "\$VOL_DIR"
  teardown: |
    #!/bin/sh
    rm -rf "\$VOL_DIR"
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: rancher.io/local-path
reclaimPolicy: Delete
volumeBindingMode: WaitForFirstConsumer
X
    write_file "$conf/storage.json" <<X
{"nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["$volumes"]}]}
X
    write_file "$conf/storage-helper.yaml" <<X
apiVersion: v1
kind: Pod
metadata: {name: helper-pod}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: helper-pod, image: "$busybox_image", imagePullPolicy: Never}]
X
    start_process storage -f "$conf/storage.json" -f "$conf/storage-helper.yaml" local-path-provisioner start \
        --config "$conf/storage.json" --helper-pod-file "$conf/storage-helper.yaml" --helper-image "$busybox_image" \
        --kubeconfig "$admin_kubeconfig" --namespace local-path-storage \
        --provisioning-retry-count 0 --deletion-retry-count 0
    wait_healthy storage 20 storage_healthy
}
# It serves nothing; it runs, or it has ended because it could not reach the API server.
storage_healthy() { process_pid storage && kubectl get storageclass standard; }
