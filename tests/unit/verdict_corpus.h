/* Objects as an API server sends them (cut down to what verdicts look at), and what is to become of
 * them. Included by verdict_test.c alone. */
#ifndef TESTS_VERDICT_CORPUS_H
#define TESTS_VERDICT_CORPUS_H

#define J(...) #__VA_ARGS__

/* managedFields of one manager. */
#define OWNS(manager, op, fields)                                                                  \
    "{\"manager\":\"" manager "\",\"operation\":\"" op "\",\"apiVersion\":\"v1\","                  \
    "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":" fields "}"
#define META(name, rest) "\"metadata\":{\"name\":\"" name "\",\"namespace\":\"shop\",\"uid\":\"u\"" rest "}"
#define OBJECT(api, kind, name, meta, rest)                                                        \
    "{\"apiVersion\":\"" api "\",\"kind\":\"" kind "\"," META(name, meta) rest "}"
#define FIELDS(list) ",\"managedFields\":[" list "]"

#define TOKEN                                                                                      \
    ",\"type\":\"kubernetes.io/service-account-token\",\"data\":{\"token\":\"eA==\",\"ca.crt\":"    \
    "\"eA==\"}"

enum booked { FREE, BY_KUSTOMIZATION, BY_CHART, BY_ARGO, BY_ARGO_CHART };

static const struct sample {
    const char *why;
    const char *group, *kind, *json;
    enum booked booked;
    const char *manifest, *seed;
    enum reachable reachable;
    enum owner_state owner;
    bool application, credential, issued;
    enum verdict_class class;
    const char *rule;
    enum verdict_keep keep;
    enum verdict_restore restore;
    const char *fields; /* joined by spaces */
} samples[] = {
    /* ---- what the platform makes and forgets ---- */
    {.why = "the log of the last hour", .group = "", .kind = "Event",
     .json = OBJECT("v1", "Event", "e", "", ""),
     .class = VERDICT_EPHEMERAL, .rule = "event", .keep = KEEP_NONE, .restore = RESTORE_NEVER},
    {.why = "an old leader would stall its controller", .group = "coordination.k8s.io", .kind = "Lease",
     .json = OBJECT("coordination.k8s.io/v1", "Lease", "l", "", ""),
     .class = VERDICT_EPHEMERAL, .rule = "lease", .keep = KEEP_NONE, .restore = RESTORE_NEVER},
    {.why = "leader election in a ConfigMap", .group = "", .kind = "ConfigMap",
     .json = OBJECT("v1", "ConfigMap", "l",
                    ",\"annotations\":{\"control-plane.alpha.kubernetes.io/leader\":\"{}\"}", ""),
     .class = VERDICT_EPHEMERAL, .rule = "leader-election", .restore = RESTORE_NEVER},
    {.why = "made from a file on the node", .group = "", .kind = "Pod",
     .json = OBJECT("v1", "Pod", "p", ",\"annotations\":{\"kubernetes.io/config.mirror\":\"x\"}", ""),
     .class = VERDICT_EPHEMERAL, .rule = "static-pod", .restore = RESTORE_NEVER},
    {.why = "made again it would run again", .group = "", .kind = "Pod",
     .json = OBJECT("v1", "Pod", "p", "", ",\"status\":{\"phase\":\"Succeeded\"}"),
     .class = VERDICT_EPHEMERAL, .rule = "finished-pod", .restore = RESTORE_NEVER},
    {.why = "a volume that dies with its pod", .group = "", .kind = "PersistentVolumeClaim",
     .json = OBJECT("v1", "PersistentVolumeClaim", "p",
                    ",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\",\"uid\":\"x\"}]", ""),
     .owner = OWNER_OTHER, .class = VERDICT_EPHEMERAL, .rule = "pod-volume", .restore = RESTORE_NEVER},
    {.why = "a mover of our own", .group = "", .kind = "Pod",
     .json = OBJECT("v1", "Pod", "p", ",\"labels\":{\"gleaner.dev/mover\":\"u\"}", ""),
     .class = VERDICT_EPHEMERAL, .rule = "mover", .restore = RESTORE_NEVER},
    {.why = "the cluster's CA is the cluster's", .group = "", .kind = "ConfigMap",
     .json = OBJECT("v1", "ConfigMap", "kube-root-ca.crt", "", ",\"data\":{\"ca.crt\":\"x\"}"),
     .class = VERDICT_PLATFORM_ISSUED, .rule = "root-ca", .restore = RESTORE_NEVER},
    {.why = "a token that an old cluster made by itself", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "t", "", TOKEN), .issued = true,
     .class = VERDICT_PLATFORM_ISSUED, .rule = "account-token", .restore = RESTORE_NEVER},
    {.why = "nobody makes a hand-made token Secret again", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "t", "", TOKEN), .class = VERDICT_SECRET,
     .rule = "token-by-hand", .keep = KEEP_OBJECT, .restore = RESTORE_NORMAL},
    {.why = "the cluster's own part of a declared token is no residue", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "t",
                    FIELDS(OWNS("kustomize-controller", "Apply", J({"f:type":{}})) ","
                           OWNS("kube-controller-manager", "Update",
                                J({"f:data":{".":{},"f:token":{},"f:ca.crt":{}}}))), TOKEN),
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_TRUE,
     .class = VERDICT_DECLARED, .rule = "declared", .keep = KEEP_NONE, .restore = RESTORE_NORMAL},
    {.why = "a chart has no value to make for a token", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "t", "", TOKEN),
     .booked = BY_CHART, .manifest = "{\"type\":\"kubernetes.io/service-account-token\"}",
     .reachable = REACHABLE_TRUE,
     .class = VERDICT_DECLARED, .rule = "declared", .keep = KEEP_NONE, .restore = RESTORE_NORMAL},
    {.why = "a token Secret whose source is not proven", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "t", "", TOKEN),
     .booked = BY_CHART, .manifest = "{}", .reachable = REACHABLE_UNKNOWN,
     .class = VERDICT_DECLARED_UNPROVEN, .rule = "git-not-proven", .keep = KEEP_OBJECT,
     .restore = RESTORE_NORMAL},
    {.why = "Helm's record is kept, and no restore in place touches it", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "sh.helm.release.v1.shop.v1", "", ",\"type\":\"helm.sh/release.v1\""),
     .class = VERDICT_PLATFORM_ISSUED, .rule = "helm-storage", .keep = KEEP_OBJECT,
     .restore = RESTORE_NEVER},
    {.why = "may be a CA key, and is cheaper than a new certificate", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "tls", ",\"annotations\":{\"cert-manager.io/certificate-name\":\"x\"}",
                    ",\"type\":\"kubernetes.io/tls\""),
     .class = VERDICT_PLATFORM_ISSUED, .rule = "cert-manager-leaf", .keep = KEEP_OBJECT,
     .restore = RESTORE_FIRST},
    {.why = "bootstrap comes before platform-issued", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "tls", ",\"annotations\":{\"cert-manager.io/certificate-name\":\"x\"}", ""),
     .credential = true, .class = VERDICT_BOOTSTRAP, .rule = "source-credential", .keep = KEEP_OBJECT,
     .restore = RESTORE_FIRST},
    {.why = "without it no sealed Secret opens", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "k",
                    ",\"labels\":{\"sealedsecrets.bitnami.com/sealed-secrets-key\":\"compromised\"}", ""),
     .class = VERDICT_BOOTSTRAP, .rule = "sealing-key", .keep = KEEP_OBJECT, .restore = RESTORE_FIRST},
    {.why = "a claim is data even where Git declares it", .group = "", .kind = "PersistentVolumeClaim",
     .json = OBJECT("v1", "PersistentVolumeClaim", "data-shop-0", "", ""),
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_TRUE,
     .class = VERDICT_DATA, .rule = "claim", .keep = KEEP_OBJECT},

    /* ---- declared by a Kustomization ---- */
    {.why = "Git holds it, so the backup does not", .group = "apps", .kind = "Deployment",
     .json = OBJECT("apps/v1", "Deployment", "d",
                    FIELDS(OWNS("kustomize-controller", "Apply", "{\"f:spec\":{\"f:replicas\":{}}}")),
                    ",\"spec\":{\"replicas\":1}"),
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_TRUE,
     .class = VERDICT_DECLARED, .rule = "declared", .keep = KEEP_NONE},
    {.why = "an operator filled a key in", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "s",
                    FIELDS(OWNS("kustomize-controller", "Apply", "{\"f:data\":{\"f:a\":{}}}") ","
                           OWNS("operator", "Update", "{\"f:data\":{\"f:added\":{}}}")),
                    ",\"data\":{\"a\":\"YQ==\",\"added\":\"Yg==\"}"),
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_TRUE,
     .class = VERDICT_DECLARED, .rule = "added-fields", .keep = KEEP_FIELDS, .fields = "data/added"},
    {.why = "a key that nobody owns is nobody's but ours to keep", .group = "", .kind = "ConfigMap",
     .json = OBJECT("v1", "ConfigMap", "s",
                    FIELDS(OWNS("kustomize-controller", "Apply", "{\"f:data\":{\"f:a\":{}}}")),
                    ",\"data\":{\"a\":\"1\",\"b\":\"2\"},\"binaryData\":{\"c\":\"Yg==\"}"),
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_TRUE,
     .class = VERDICT_DECLARED, .rule = "added-fields", .keep = KEEP_FIELDS,
     .fields = "data/b binaryData/c"},
    {.why = "a person's annotation stays, a controller's is made again", .group = "apps",
     .kind = "Deployment",
     .json = OBJECT("apps/v1", "Deployment", "d",
                    ",\"annotations\":{\"note\":\"x\",\"deployment.kubernetes.io/revision\":\"1\",\"kcm\":\"1\"}"
                    FIELDS(OWNS("kustomize-controller", "Apply", "{\"f:spec\":{}}") ","
                           OWNS("kubectl-annotate", "Update",
                                "{\"f:metadata\":{\"f:annotations\":{\"f:note\":{}}}}") ","
                           OWNS("kube-controller-manager", "Update",
                                "{\"f:metadata\":{\"f:annotations\":{\"f:kcm\":{}}}}")), ""),
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_TRUE,
     .class = VERDICT_DECLARED, .rule = "added-fields", .keep = KEEP_FIELDS,
     .fields = "metadata/annotations/note"},
    {.why = "the remote does not answer: kept whole", .group = "apps", .kind = "Deployment",
     .json = OBJECT("apps/v1", "Deployment", "d",
                    FIELDS(OWNS("kustomize-controller", "Apply", "{\"f:spec\":{}}")), ""),
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_UNKNOWN,
     .class = VERDICT_DECLARED_UNPROVEN, .rule = "git-not-proven", .keep = KEEP_OBJECT},
    {.why = "the remote lacks the commit: kept whole", .group = "apps", .kind = "Deployment",
     .json = OBJECT("apps/v1", "Deployment", "d",
                    FIELDS(OWNS("kustomize-controller", "Apply", "{\"f:spec\":{}}")), ""),
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_FALSE,
     .class = VERDICT_DECLARED_UNPROVEN, .rule = "git-lacks-it", .keep = KEEP_OBJECT},
    {.why = "labels and books alone prove nothing", .group = "", .kind = "ConfigMap",
     .json = OBJECT("v1", "ConfigMap", "c",
                    ",\"labels\":{\"kustomize.toolkit.fluxcd.io/name\":\"shop\"}"
                    FIELDS(OWNS("kubectl-create", "Update", "{\"f:data\":{\"f:a\":{}}}")),
                    ",\"data\":{\"a\":\"1\"}"),
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_TRUE,
     .class = VERDICT_DECLARED_UNPROVEN, .rule = "not-applied", .keep = KEEP_OBJECT},
    {.why = "Git is only the seed", .group = "", .kind = "ConfigMap",
     .json = OBJECT("v1", "ConfigMap", "c",
                    ",\"annotations\":{\"kustomize.toolkit.fluxcd.io/ssa\":\"IfNotPresent\"}"
                    FIELDS(OWNS("kustomize-controller", "Apply", "{\"f:data\":{\"f:a\":{}}}")),
                    ",\"data\":{\"a\":\"1\"}"),
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_TRUE,
     .class = VERDICT_UNDECLARED, .rule = "seed", .keep = KEEP_OBJECT},
    {.why = "only this record says that it has run", .group = "batch", .kind = "Job",
     .json = OBJECT("batch/v1", "Job", "j",
                    FIELDS(OWNS("kustomize-controller", "Apply", "{\"f:spec\":{}}")),
                    ",\"status\":{\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\"}]}"),
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_TRUE,
     .class = VERDICT_HISTORY, .rule = "finished-job", .keep = KEEP_OBJECT},
    {.why = "a declared Job that runs is Git's", .group = "batch", .kind = "Job",
     .json = OBJECT("batch/v1", "Job", "j",
                    FIELDS(OWNS("kustomize-controller", "Apply", "{\"f:spec\":{}}")),
                    ",\"status\":{\"conditions\":[{\"type\":\"Complete\",\"status\":\"False\"}]}"),
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_TRUE,
     .class = VERDICT_DECLARED, .rule = "declared", .keep = KEEP_NONE},

    /* ---- declared by a chart ---- */
    {.why = "a chart may make new values each time", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "db",
                    FIELDS(OWNS("helm-controller", "Update", "{\"f:data\":{\"f:password\":{}}}")),
                    ",\"data\":{\"password\":\"YQ==\"}"),
     .booked = BY_CHART, .manifest = J({"kind":"Secret","data":{"password":"YQ=="}}),
     .reachable = REACHABLE_TRUE, .class = VERDICT_SECRET, .rule = "chart-secret",
     .keep = KEEP_OBJECT},
    {.why = "client-side apply owns defaults too, the manifest does not", .group = "",
     .kind = "ConfigMap",
     .json = OBJECT("v1", "ConfigMap", "c",
                    FIELDS(OWNS("helm-controller", "Update", "{\"f:data\":{\"f:a\":{},\"f:b\":{}}}")),
                    ",\"data\":{\"a\":\"1\",\"b\":\"2\"}"),
     .booked = BY_CHART, .manifest = J({"kind":"ConfigMap","data":{"a":"1"}}),
     .reachable = REACHABLE_TRUE, .class = VERDICT_DECLARED, .rule = "added-fields",
     .keep = KEEP_FIELDS, .fields = "data/b"},
    {.why = "Helm does not put a changed value back by itself", .group = "", .kind = "ConfigMap",
     .json = OBJECT("v1", "ConfigMap", "c",
                    FIELDS(OWNS("kubectl-edit", "Update", "{\"f:data\":{\"f:a\":{}}}")),
                    ",\"data\":{\"a\":\"9\"}"),
     .booked = BY_CHART, .manifest = J({"kind":"ConfigMap","data":{"a":"1"}}),
     .reachable = REACHABLE_TRUE, .class = VERDICT_DRIFTED, .rule = "changed-fields",
     .keep = KEEP_FIELDS, .fields = "data/a"},
    {.why = "escapes in the manifest are not a change", .group = "", .kind = "ConfigMap",
     .json = OBJECT("v1", "ConfigMap", "c", "", ",\"data\":{\"a\":\"x\\u0026y\"}"),
     .booked = BY_CHART, .manifest = J({"kind":"ConfigMap","data":{"a":"x&y"}}),
     .reachable = REACHABLE_TRUE, .class = VERDICT_DECLARED, .rule = "declared", .keep = KEEP_NONE},
    {.why = "a hook is put there once", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "h", "", ""), .booked = BY_CHART,
     .manifest = J({"kind":"Secret"}), .seed = "Helm hook", .reachable = REACHABLE_TRUE,
     .class = VERDICT_UNDECLARED, .rule = "seed", .keep = KEEP_OBJECT},

    /* ---- declared by Argo CD ---- */
    {.why = "server-side apply names the fields", .group = "", .kind = "ConfigMap",
     .json = OBJECT("v1", "ConfigMap", "c",
                    FIELDS(OWNS("argocd-controller", "Apply", "{\"f:data\":{\"f:a\":{}}}") ","
                           OWNS("kubectl-patch", "Update", "{\"f:data\":{\"f:b\":{}}}")),
                    ",\"data\":{\"a\":\"1\",\"b\":\"2\"}"),
     .booked = BY_ARGO, .reachable = REACHABLE_TRUE, .class = VERDICT_DECLARED,
     .rule = "added-fields", .keep = KEEP_FIELDS, .fields = "data/b"},
    {.why = "client-side apply is known by its own last-applied", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "s",
                    ",\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":"
                    "\"{\\\"kind\\\":\\\"Secret\\\",\\\"metadata\\\":{\\\"name\\\":\\\"s\\\",\\\"namespace\\\":\\\"shop\\\"},\\\"data\\\":{\\\"a\\\":\\\"YQ==\\\"}}\"}"
                    FIELDS(OWNS("argocd-controller", "Update", "{\"f:data\":{\"f:a\":{}}}") ","
                           OWNS("kubectl-patch", "Update", "{\"f:data\":{\"f:b\":{}}}")),
                    ",\"data\":{\"a\":\"YQ==\",\"b\":\"Yg==\"}"),
     .booked = BY_ARGO, .reachable = REACHABLE_TRUE, .class = VERDICT_DECLARED,
     .rule = "added-fields", .keep = KEEP_FIELDS, .fields = "data/b"},
    {.why = "somebody changed the value of a declared key", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "s",
                    ",\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":"
                    "\"{\\\"kind\\\":\\\"Secret\\\",\\\"metadata\\\":{\\\"name\\\":\\\"s\\\",\\\"namespace\\\":\\\"shop\\\"},\\\"data\\\":{\\\"a\\\":\\\"YQ==\\\"}}\"}"
                    FIELDS(OWNS("argocd-controller", "Update", "{\"f:type\":{}}") ","
                           OWNS("kubectl-patch", "Update", "{\"f:data\":{\"f:a\":{}}}")),
                    ",\"data\":{\"a\":\"Yg==\"}"),
     .booked = BY_ARGO, .reachable = REACHABLE_TRUE, .class = VERDICT_DRIFTED,
     .rule = "changed-fields", .keep = KEEP_FIELDS, .fields = "data/a"},
    {.why = "last-applied of another object, inherited from a parent", .group = "", .kind = "ConfigMap",
     .json = OBJECT("v1", "ConfigMap", "child",
                    ",\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":"
                    "\"{\\\"kind\\\":\\\"Image\\\",\\\"metadata\\\":{\\\"name\\\":\\\"parent\\\"}}\"}"
                    FIELDS(OWNS("operator", "Update", "{\"f:data\":{\"f:a\":{}}}")),
                    ",\"data\":{\"a\":\"1\"}"),
     .booked = BY_ARGO, .reachable = REACHABLE_TRUE, .class = VERDICT_DECLARED_UNPROVEN,
     .rule = "not-applied", .keep = KEEP_OBJECT},
    {.why = "a chart's Secret, whoever renders it", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "s",
                    FIELDS(OWNS("argocd-controller", "Apply", "{\"f:data\":{\"f:a\":{}}}")),
                    ",\"data\":{\"a\":\"YQ==\"}"),
     .booked = BY_ARGO_CHART, .reachable = REACHABLE_TRUE, .class = VERDICT_SECRET,
     .rule = "chart-secret", .keep = KEEP_OBJECT},

    /* ---- declared by nobody ---- */
    {.why = "made by hand", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "hand", "", ",\"type\":\"Opaque\""),
     .class = VERDICT_SECRET, .rule = "secret", .keep = KEEP_OBJECT},
    {.why = "owned is not the same as regenerable", .group = "", .kind = "Secret",
     .json = OBJECT("v1", "Secret", "pg-superuser", "", ""), .owner = OWNER_OTHER,
     .class = VERDICT_SECRET, .rule = "owned-secret", .keep = KEEP_OBJECT,
     .restore = RESTORE_AFTER_OWNER},
    {.why = "its controller makes it again", .group = "", .kind = "Pod",
     .json = OBJECT("v1", "Pod", "p", "", ",\"status\":{\"phase\":\"Running\"}"),
     .owner = OWNER_REGENERATES, .class = VERDICT_DERIVED, .rule = "regenerated",
     .restore = RESTORE_NEVER},
    {.why = "a pod of nobody comes back by nobody", .group = "", .kind = "Pod",
     .json = OBJECT("v1", "Pod", "p", "", ",\"status\":{\"phase\":\"Running\"}"),
     .class = VERDICT_UNDECLARED, .rule = "undeclared", .keep = KEEP_OBJECT},
    {.why = "an operator that we do not know", .group = "", .kind = "ConfigMap",
     .json = OBJECT("v1", "ConfigMap", "c", "", ""), .owner = OWNER_OTHER,
     .class = VERDICT_DERIVED_UNPROVEN, .rule = "owner-unknown", .keep = KEEP_OBJECT,
     .restore = RESTORE_AFTER_OWNER},
    {.why = "an owner that is gone makes nothing", .group = "", .kind = "ConfigMap",
     .json = OBJECT("v1", "ConfigMap", "c", "", ""), .owner = OWNER_GONE,
     .class = VERDICT_DERIVED_UNPROVEN, .rule = "owner-gone", .keep = KEEP_OBJECT,
     .restore = RESTORE_AFTER_OWNER},
    {.why = "a record of finished work, of a CronJob", .group = "batch", .kind = "Job",
     .json = OBJECT("batch/v1", "Job", "j", "",
                    ",\"status\":{\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\"}]}"),
     .owner = OWNER_REGENERATES, .class = VERDICT_HISTORY, .rule = "finished-job",
     .keep = KEEP_OBJECT, .restore = RESTORE_AFTER_OWNER},
    {.why = "every namespace gets one", .group = "", .kind = "ServiceAccount",
     .json = OBJECT("v1", "ServiceAccount", "default", "", ""), .class = VERDICT_DERIVED,
     .rule = "default-account", .restore = RESTORE_NEVER},
    {.why = "the platform's role stands on its annotation", .group = "", .kind = "ServiceAccount",
     .json = OBJECT("v1", "ServiceAccount", "default",
                    ",\"annotations\":{\"eks.amazonaws.com/role-arn\":\"x\"}", ""),
     .class = VERDICT_UNDECLARED, .rule = "default-account-changed", .keep = KEEP_OBJECT},
    {.why = "the application itself, applied by hand", .group = "argoproj.io", .kind = "Application",
     .json = OBJECT("argoproj.io/v1alpha1", "Application", "blog", "", ""), .application = true,
     .class = VERDICT_UNDECLARED, .rule = "application", .keep = KEEP_OBJECT},
    {.why = "a developer's object in no Git", .group = "example.dev", .kind = "Widget",
     .json = OBJECT("example.dev/v1", "Widget", "w", "", ""), .class = VERDICT_UNDECLARED,
     .rule = "undeclared", .keep = KEEP_OBJECT},
    {.why = "a slice that nobody can read is kept", .group = "", .kind = "ConfigMap",
     .json = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},\"data\":{\"a\":tru}}",
     .booked = BY_KUSTOMIZATION, .reachable = REACHABLE_TRUE, .class = VERDICT_UNDECLARED,
     .rule = "unreadable", .keep = KEEP_OBJECT},
};

#endif
