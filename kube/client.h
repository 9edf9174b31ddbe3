/* The API client. Blocking calls, safe from any thread: each thread keeps one connection.
 *
 * Every call has a deadline (KUBE_TIMEOUT_MS unless the client was told otherwise). Repeated
 * inside: answers 429 and 503 that carry Retry-After (that long, as long as the deadline allows),
 * and GETs whose connection broke. Everything else is the caller's decision. Errors carry the
 * server's own message (metav1.Status.message), err->http and the kind: 404 NOT_FOUND; 409 EXISTS
 * (reason AlreadyExists) or CONFLICT; 403 FORBIDDEN; 401 UNAUTHORIZED; 400, 422 INVALID; 410 GONE;
 * 413 TOO_LARGE; 429 BUSY; 5xx and no connection UNAVAILABLE; deadline TIMEOUT; cancelled
 * CANCELLED. Values never enter an error message: a message of the server about a Secret is cut to
 * its reason, a refusal (422) of anything to fields, types and details. */
#ifndef KUBE_CLIENT_H
#define KUBE_CLIENT_H

#include <stdatomic.h>

#include "kube/config.h"
#include "kube/object.h"
#include "kube/types.h"

enum {
    KUBE_TIMEOUT_MS = 30000,
    KUBE_MAX_OBJECT = 8 << 20 /* bytes of one object or answer; more is ERR_TOO_LARGE */
};

/* The field manager of everything that we write. */
#define KUBE_MANAGER "gleaner"

struct kube;

/* The one plug point below the client: the network, or a test. */
struct kube_http {
    const char *method, *path; /* path with query, percent-encoded */
    const char *content_type;  /* NULL without body */
    const char *accept;        /* NULL: application/json */
    str body;
    unsigned timeout_ms;
    /* Called for each piece of a 2xx body; < 0 stops the transfer (with *err set). NULL: the body
     * is gathered in `answer`, as are the bodies of other answers. */
    int (*sink)(void *ctx, const char *p, size_t n, struct err *err);
    void *sink_ctx;
    const atomic_bool *cancel; /* ends the exchange with ERR_CANCELLED once true; may be NULL */
    /* filled in */
    int status;
    struct buf answer;
    unsigned retry_after_ms;
};

struct kube_transport {
    /* One exchange, no repeats. < 0: no answer (UNAVAILABLE, TIMEOUT, CANCELLED, or the sink's). */
    int (*perform)(void *ctx, struct kube_http *x, struct err *err);
    void (*close)(void *ctx);
    void *ctx;
};

/* Takes the config over. */
int kube_new(struct kube_config *config, struct kube **ret, struct err *err) must_check;
struct kube *kube_new_on(struct kube_transport transport); /* for tests */
void kube_free(struct kube *k);
DEFINE_CLEANUP(struct kube *, kube_free)

/* From then on calls fail with ERR_CANCELLED as soon as *flag is true. */
void kube_cancel_on(struct kube *k, const atomic_bool *flag);

/* The deadline of each call from then on, instead of KUBE_TIMEOUT_MS. */
void kube_set_timeout(struct kube *k, unsigned timeout_ms);

/* The config that the client was made from (NULL on a test transport). */
struct kube_config *kube_config_of(struct kube *k);

/* ---- reading ---- */

/* ns is NULL or "" for cluster-scoped types. The object lives in the arena. */
int kube_get(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
             const char *name, struct kube_object *ret, struct err *err) must_check;

/* A subresource ("scale"), or any path for /version, /readyz: the body in the arena. */
int kube_get_path(struct kube *k, struct arena *a, const char *path, str *ret, struct err *err)
    must_check;

struct kube_list {
    const char *ns;                              /* NULL or "": all namespaces */
    const char *label_selector, *field_selector; /* NULL: none */
    unsigned page;                               /* objects in a page; 0: 500 */
};

struct kube_listed {
    char resource_version[64]; /* of the list: a watch goes on from here */
    size_t count;
    bool inconsistent; /* a 410 in the middle: pages are of different moments */
};

/* Streams the objects of a type: each() is called for one after another while pages arrive, with an
 * object that lives only during that call (kube_object_copy keeps it). No page and no list is ever
 * held. each() may make calls of its own. each() < 0 ends the list with its error. A list without
 * resourceVersion is ERR_CORRUPT. */
int kube_list(struct kube *k, const struct kube_type *t,
              const struct kube_list *opts /* may be NULL */,
              int (*each)(void *ctx, const struct kube_object *o, struct err *err), void *ctx,
              struct kube_listed *ret /* may be NULL */, struct err *err) must_check;

/* ---- writing ---- */

struct kube_write {
    bool dry_run;            /* dryRun=All */
    bool force;              /* server-side apply: take conflicting fields over */
    const char *subresource; /* "status", "scale", or NULL */
    const char *manager;     /* NULL: KUBE_MANAGER */
};

enum kube_patch_kind { KUBE_PATCH_MERGE, KUBE_PATCH_JSON };

/* All of them: `ret` may be NULL; opts may be NULL; fieldValidation=Strict for our own resources is
 * the caller's choice of body. Server-side apply: the body has apiVersion, kind, metadata.name. */
int kube_apply(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
               const char *name, str body, const struct kube_write *opts, struct kube_object *ret,
               struct err *err) must_check;
int kube_patch(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
               const char *name, enum kube_patch_kind kind, str body, const struct kube_write *opts,
               struct kube_object *ret, struct err *err) must_check;
int kube_create(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
                str body, const struct kube_write *opts, struct kube_object *ret, struct err *err)
    must_check;
/* PUT: the body carries metadata.resourceVersion. */
int kube_replace(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
                 const char *name, str body, const struct kube_write *opts, struct kube_object *ret,
                 struct err *err) must_check;

struct kube_delete {
    const char *uid, *resource_version; /* preconditions; NULL: none */
    const char *propagation; /* "Foreground", "Background", "Orphan"; NULL: the default */
    int grace_seconds;       /* < 0: the default */
    bool dry_run;
};

/* Accepted is success: deletion may still be going on. opts may be NULL. */
int kube_delete(struct kube *k, const struct kube_type *t, const char *ns, const char *name,
                const struct kube_delete *opts, struct err *err) must_check;

/* The API path of a type, object or subresource, percent-encoded, in the arena. name and sub may be
 * NULL. */
const char *kube_path(struct arena *a, const struct kube_type *t, const char *ns, const char *name,
                      const char *sub);

#endif
