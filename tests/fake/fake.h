/* fake-apiserver: a process that speaks enough of the Kubernetes API for whole reconciles to run
 * against it in milliseconds, and that fails on demand. README.md says what it does and does not.
 *
 * One mutex (the big lock) guards everything; each connection has a thread. Objects in the store
 * are never changed in place: a write makes a deep copy and replaces it. Running out of memory ends
 * it. */
#ifndef FAKE_H
#define FAKE_H

#include <jansson.h>
#include <pthread.h>

#include "core/base.h"
#include "core/json.h"
#include "core/str.h"
#include "kube/types.h"

/* ---- types ---- */

struct ftype {
    struct kube_type t; /* its strings live as long as the process */
    bool status;        /* has the status subresource */
    bool scale;
    bool generation; /* metadata.generation is kept */
    bool custom;     /* of a CRD: list items carry apiVersion and kind */
    bool stale;      /* discovery calls its version stale */
};

void types_init(void);
size_t types_count(void);
struct ftype *types_at(size_t i);
struct ftype *types_by_path(const char *group, const char *version, const char *resource);
/* version NULL: the first one. */
struct ftype *types_by_kind(const char *group, const char *version, const char *kind);
/* Copies the strings; an existing one of the same group, version and resource is replaced. */
struct ftype *types_add(const struct ftype *t);
/* Every served version of a CustomResourceDefinition. */
void types_add_crd(const json_t *crd);
bool is_review(const struct ftype *t);               /* answered, not stored */
const char *type_api_version(const struct ftype *t); /* static until the next call */

json_t *discovery_document(bool core);

/* ---- requests and answers ---- */

struct request {
    const char *method;
    const char *path; /* decoded, without query */
    const char *content_type, *accept;
    str body;
    const char *(*param)(void *ctx, const char *name); /* of the query; NULL if absent */
    void *param_ctx;
    struct ftype *type;
    const char *ns, *name, *sub; /* NULL if absent */
    const char *manager;
    bool dry_run;
};

struct answer {
    int code;
    json_t *body;          /* owned */
    char *text;            /* instead of body, malloc'd */
    unsigned retry_after;  /* seconds, 0: no header */
    struct watcher *watch; /* a stream instead */
    bool reset, truncate;  /* of the connection, of the body */
};

/* Answers with a metav1.Status; returns -1. */
int refuse(struct answer *a, int code, const char *reason, const struct request *r, const char *fmt,
           ...) printf_like(5, 6);

static inline const char *param(const struct request *r, const char *name)
{
    const char *v = r->param(r->param_ctx, name);
    return v && *v ? v : NULL;
}

/* Everything below /api and /apis, with the big lock held. */
void api_handle(struct request *r, struct answer *a);

/* ---- the store ---- */

extern pthread_mutex_t big_lock;
extern pthread_cond_t changed; /* the store, a pause or the end of a watch */

struct event {
    const char *kind; /* ADDED, MODIFIED, DELETED */
    int64_t version;
    const struct ftype *type;
    json_t *object, *before; /* before: NULL if added */
};

void store_init(void);
/* Borrowed; NULL if absent. The type's versions share their objects. */
json_t *store_get(const struct ftype *t, const char *ns, const char *name);
/* Takes `object` over, gives it the next resourceVersion, tells the watches. */
json_t *store_put(const struct ftype *t, json_t *object);
/* The last state (with a new resourceVersion) is borrowed until the next call. */
json_t *store_remove(const struct ftype *t, const char *ns, const char *name);
int64_t store_version(void);
/* Objects of a type in order of namespace and name: an array of references, owned by the caller. ns
 * NULL: all. */
json_t *store_list(const struct ftype *t, const char *ns);
json_t *store_everything(void); /* all types; for the tests' comparisons */
/* Events after a version; NULL if none. */
const struct event *store_event_after(int64_t version);
int64_t store_compacted(void); /* watches and pages from before it are 410 */
void store_compact(void);

/* ---- time, on the virtual clock if there is one ---- */

int64_t fake_now_ms(void);
void fake_set_clock(int64_t ms);
void now_text(char out[32]);

/* ---- writing ---- */

int write_create(struct request *r, json_t *body, struct answer *a);
/* The live object becomes `wanted` (owned): managedFields, generation, finalizers. apply_set: the
 * fields that an apply names (owned), NULL for everything else. */
int write_update(struct request *r, json_t *live, json_t *wanted, json_t *apply_set,
                 struct answer *a);
int write_patch(struct request *r, struct answer *a);
int write_replace(struct request *r, struct answer *a);
int write_delete(struct request *r, struct answer *a);
json_t *scale_of(const struct ftype *t, const json_t *object);
/* A change by a reactor or the admin, as an Update of that manager. Takes `wanted` over. */
void write_as(const struct ftype *t, json_t *live, json_t *wanted, const char *manager,
              bool to_status);
/* Loads an object as it stands (uid, managedFields, status kept); a namespace is made if it lacks.
 * -1: it is of no known type, and *why (malloc'd) says so. */
int load_object(const json_t *object, char **why);

/* ---- field sets: FieldsV1 objects ---- */

json_t *fields_of(const json_t *value);                          /* all leaves */
json_t *fields_changed(const json_t *before, const json_t *now); /* leaves added or changed */
bool fields_has(const json_t *set, char *const *path, size_t n);
void fields_remove(json_t *set, char *const *path, size_t n);
/* Calls fn for each leaf; the path is of plain names. fn false stops. */
enum { FIELD_DEPTH = 64 };
bool fields_each(const json_t *set, bool (*fn)(void *ctx, char *const *path, size_t n), void *ctx);

/* ---- patches ---- */

json_t *merge_patch(const json_t *target, const json_t *patch); /* new; RFC 7386 */
/* RFC 6902; NULL and *why (static) if it does not apply. */
json_t *json_patch(const json_t *target, const json_t *patch, const char **why);
/* Server-side apply; live may be NULL. The applied object and its set, or -1 and the answer. */
int apply_patch(struct request *r, const json_t *live, const json_t *body, bool force,
                json_t **ret_object, json_t **ret_set, struct answer *a);
/* managedFields of `now` after a write; before NULL: created. */
void manage_update(const struct request *r, const json_t *before, json_t *now, const char *sub);
void manage_apply(const struct request *r, const json_t *before, json_t *now, json_t *set,
                  const char *sub);

/* ---- reading ---- */

struct selector;
struct selector *selector_parse(const char *labels, const char *fields, const char **why);
bool selector_matches(const struct selector *s, const json_t *object);
void selector_free(struct selector *s);

void read_list(struct request *r, struct answer *a);
void read_watch(struct request *r, struct answer *a);
/* Bytes of a stream for the transport: > 0, or -1 at its end. Blocks; takes the big lock. */
ssize_t watcher_read(struct watcher *w, char *out, size_t room);
void watcher_free(struct watcher *w);
void watchers_drop(void); /* ends all streams; big lock held */

/* ---- faults, reactors, administration ---- */

struct fault;
/* Counts the call; what is to happen to it, or NULL. Big lock held. */
struct fault *fault_for(const struct request *r);
/* Before and behind the handling: may wait (the lock is given up meanwhile). -1: do not handle, *a
 * is the answer. */
int fault_before(struct fault *f, struct request *r, struct answer *a);
void fault_after(struct fault *f, struct request *r, struct answer *a);
bool is_mutating(const struct request *r);
void log_call(const struct request *r, int code);

void reactors_tick(bool step); /* step: time has passed; otherwise only those without delay */
int reactors_set(const json_t *list, char **why);

void admin_handle(struct request *r, struct answer *a); /* /fake/..., big lock held */
/* status of a TokenReview. */
json_t *admin_review(const char *token, const json_t *audiences);
/* The test has taken the right away. */
bool admin_denies(const char *verb, const char *group, const char *resource);

/* ---- small JSON helpers ---- */

json_t *at(const json_t *j, const char *a, const char *b);          /* j[a][b]; b may be NULL */
const char *text_of(const json_t *j, const char *a, const char *b); /* "" if absent */
#define name_of(o) text_of((o), "metadata", "name")
#define ns_of(o) text_of((o), "metadata", "namespace")
json_t *ensure(json_t *j, const char *name); /* the object member, made if absent */

#endif
