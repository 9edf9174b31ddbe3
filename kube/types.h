/* The types that code names. Everything else comes from discovery. */
#ifndef KUBE_TYPES_H
#define KUBE_TYPES_H

#include "kube/object.h"

/* X(NAME, group, version, resource, kind, namespaced) */
#define KUBE_TYPES(X)                                                                              \
    X(NAMESPACE, "", "v1", "namespaces", "Namespace", false)                                       \
    X(NODE, "", "v1", "nodes", "Node", false)                                                      \
    X(POD, "", "v1", "pods", "Pod", true)                                                          \
    X(SECRET, "", "v1", "secrets", "Secret", true)                                                 \
    X(CONFIGMAP, "", "v1", "configmaps", "ConfigMap", true)                                        \
    X(SERVICE, "", "v1", "services", "Service", true)                                              \
    X(SERVICEACCOUNT, "", "v1", "serviceaccounts", "ServiceAccount", true)                         \
    X(PVC, "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true)                      \
    X(PV, "", "v1", "persistentvolumes", "PersistentVolume", false)                                \
    X(EVENT, "events.k8s.io", "v1", "events", "Event", true)                                       \
    X(DEPLOYMENT, "apps", "v1", "deployments", "Deployment", true)                                 \
    X(STATEFULSET, "apps", "v1", "statefulsets", "StatefulSet", true)                              \
    X(DAEMONSET, "apps", "v1", "daemonsets", "DaemonSet", true)                                    \
    X(REPLICASET, "apps", "v1", "replicasets", "ReplicaSet", true)                                 \
    X(JOB, "batch", "v1", "jobs", "Job", true)                                                     \
    X(CRONJOB, "batch", "v1", "cronjobs", "CronJob", true)                                         \
    X(LEASE, "coordination.k8s.io", "v1", "leases", "Lease", true)                                 \
    X(TOKENREVIEW, "authentication.k8s.io", "v1", "tokenreviews", "TokenReview", false)            \
    X(CRD, "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",  \
      false)                                                                                       \
    X(HELMRELEASE, "helm.toolkit.fluxcd.io", "v2", "helmreleases", "HelmRelease", true)            \
    X(KUSTOMIZATION, "kustomize.toolkit.fluxcd.io", "v1", "kustomizations", "Kustomization", true) \
    X(GITREPOSITORY, "source.toolkit.fluxcd.io", "v1", "gitrepositories", "GitRepository", true)   \
    X(HELMCHART, "source.toolkit.fluxcd.io", "v1", "helmcharts", "HelmChart", true)                \
    X(APPLICATION, "argoproj.io", "v1alpha1", "applications", "Application", true)                 \
    X(APPPROJECT, "argoproj.io", "v1alpha1", "appprojects", "AppProject", true)                    \
    X(BACKUPSTORE, "gleaner.dev", "v1alpha1", "backupstores", "BackupStore", false)                \
    X(BACKUP, "gleaner.dev", "v1alpha1", "backups", "Backup", true)                                \
    X(SCHEDULE, "gleaner.dev", "v1alpha1", "schedules", "Schedule", true)                          \
    X(RESTORE, "gleaner.dev", "v1alpha1", "restores", "Restore", true)

#define X(name, group, version, resource, kind, namespaced)                                        \
    extern const struct kube_type KUBE_##name;
KUBE_TYPES(X)
#undef X

/* The static type of a kind name ("HelmRelease"); NULL if code names no such kind. */
const struct kube_type *kube_type_by_kind(const char *kind);

#endif
