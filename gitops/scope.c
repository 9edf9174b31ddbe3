#include "gitops/scope.h"

#include <stdio.h>

#include "kube/discovery.h"

/* Source: the built-in kinds of Kubernetes 1.34 (kubectl api-resources). All groups end in .k8s.io
 * but those named; a kind that is in neither list is asked of discovery. */
static const struct {
    const char *group, *namespaced, *cluster;
} table[] = {
    {"",
     " ConfigMap Endpoints Event LimitRange PersistentVolumeClaim Pod PodTemplate "
     "ReplicationController ResourceQuota Secret Service ServiceAccount ",
     " Namespace Node PersistentVolume "},
    {"apps", " ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet ", " "},
    {"batch", " CronJob Job ", " "},
    {"autoscaling", " HorizontalPodAutoscaler ", " "},
    {"policy", " PodDisruptionBudget ", " "},
    {"networking.k8s.io", " Ingress NetworkPolicy ", " IngressClass "},
    {"rbac.authorization.k8s.io", " Role RoleBinding ", " ClusterRole ClusterRoleBinding "},
    {"apiextensions.k8s.io", " ", " CustomResourceDefinition "},
    {"admissionregistration.k8s.io", " ",
     " MutatingWebhookConfiguration ValidatingWebhookConfiguration ValidatingAdmissionPolicy "
     "ValidatingAdmissionPolicyBinding "},
    {"storage.k8s.io", " CSIStorageCapacity ", " CSIDriver CSINode StorageClass VolumeAttachment "},
    {"scheduling.k8s.io", " ", " PriorityClass "},
    {"coordination.k8s.io", " Lease ", " "},
    {"discovery.k8s.io", " EndpointSlice ", " "},
    {"apiregistration.k8s.io", " ", " APIService "},
    {"helm.toolkit.fluxcd.io", " HelmRelease ", " "},
    {"kustomize.toolkit.fluxcd.io", " Kustomization ", " "},
    {"argoproj.io", " Application AppProject ApplicationSet ", " "},
};

void scope_free(struct scope *s)
{
    if (s->discovery)
        kube_discovery_free(s->discovery);
    s->discovery = NULL;
}

static bool listed(const char *kinds, const char *kind)
{
    char word[128];
    return snprintf(word, sizeof word, " %s ", kind) < (int)sizeof word && strstr(kinds, word);
}

int scope_namespaced(struct scope *s, str group, const char *kind, bool *ret_known,
                     bool *ret_namespaced, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (!str_is(group, table[i].group))
            continue;
        bool ns = listed(table[i].namespaced, kind);
        if (ns || listed(table[i].cluster, kind)) {
            *ret_known = true;
            *ret_namespaced = ns;
            return 0;
        }
    }
    if (!s->discovery && kube_discover(s->k, &s->discovery, err) < 0)
        return -1;
    const struct kube_type *t = kube_discovery_kind(s->discovery, group, NULL, kind);
    *ret_known = t != NULL;
    *ret_namespaced = t && t->namespaced;
    return 0;
}
