/* Helm's storage Secret: sh.helm.release.v1.<release>.v<revision>, type helm.sh/release.v1, labels
 * owner=helm, name, status, version. data.release is base64 (the API's) of base64 of gzip (or
 * plain) of JSON with "manifest" (YAML documents), "hooks" and "chart" (helm.sh/helm/v3
 * pkg/storage/driver). Decoded in the worker; the parent sees JSON objects only. */
#ifndef GITOPS_HELM_H
#define GITOPS_HELM_H

#include "gitops/engine.h"

enum {
    HELM_TEXT_MAX = 4 << 20,     /* of data.release */
    HELM_RELEASE_MAX = 64 << 20, /* of the JSON that it unpacks to */
    HELM_ANSWER_MAX = 32 << 20
};

/* The frames of an answer. HELM_INFO comes first: {"name","namespace","version"}. */
enum {
    HELM_INFO = 'I',
    HELM_OBJECT = 'O', /* one object of the manifest, as JSON */
    HELM_HOOK = 'H',   /* one object of a hook */
    HELM_CRD = 'C'     /* one object of the chart's crds/ folder */
};

/* The worker's whole work: the text of data.release to frames. ERR_INVALID, ERR_TOO_LARGE. */
int helm_decode(str release_text, struct buf *out, struct err *err) must_check;

/* The worker's mode: stdin to stdout. Exit code. */
int helm_release_main(void);

/* The newest storage Secret of a release, and the newest whose status is "deployed". */
struct helm_storage {
    int64_t newest;            /* revision; 0: there is none */
    const char *newest_status; /* "deployed", "failed", "pending-upgrade", ... */
    int64_t deployed;          /* 0: none */
    str deployed_text;         /* its data.release, if it was asked for */
};

int helm_storage_read(struct kube *k, struct arena *a, const char *ns, const char *release,
                      bool with_text, struct helm_storage *ret, struct err *err) must_check;

/* ERR_REFUSED, with what to do, unless the newest Secret is deployed. */
int helm_storage_settled(const struct helm_storage *s, const char *ns, const char *release,
                         struct err *err) must_check;

/* Has the deployed release decoded and calls each() for every object. Namespaces that the manifest
 * leaves out are filled with release_ns where the kind is namespaced. */
int helm_books(struct kube *k, struct arena *a, const char *storage_ns, const char *release,
               const char *release_ns, book_fn *each, void *ctx, struct err *err) must_check;

/* The name of an application's release: as helm-controller makes it when spec.releaseName is absent
 * (github.com/fluxcd/helm-controller internal/release/name.go ShortenName). */
const char *helm_release_name(struct arena *a, const char *release_name, const char *target_ns,
                              const char *name);

#endif
