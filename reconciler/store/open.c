#include "reconciler/store/open.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/codec.h"
#include "core/vec.h"
#include "kube/client.h"
#include "kube/secret.h"
#include "reconciler/store/keyring.h"
#include "reconciler/store/owner.h"
#include "store/layout.h"
#include "store/limits.h"
#include "store/lock.h"
#include "store/recall.h"

enum {
    PASSWORD_MIN = 22 /* characters: 128 bits in base64's alphabet */,
    MOVER_PASSWORD_BYTES = 32,
    RETRY_SECONDS = 30, /* a reconcile is a thread of the pool: it is called again */
    SOON_SECONDS = 5
};

/* ---- which store ---- */

struct choice {
    struct arena *a;
    const char *marked, *any;
    size_t count;
};

static int consider(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct choice *c = ctx;
    c->count++;
    c->any = arena_strdup(c->a, o->name);
    if (raw_true(raw_at(o->raw, "spec", "default", NULL)))
        c->marked = c->any;
    return 0;
}

int store_resolve(struct context *cx, struct arena *a, const char *store, const char **ret,
                  struct err *err)
{
    if (store && *store) {
        *ret = store;
        return 0;
    }
    struct choice c = {.a = a};
    if (kube_list(cx->kube, &KUBE_BACKUPSTORE, NULL, consider, &c, NULL, err) < 0)
        return -1;
    if (!c.marked && c.count != 1)
        return err_set(err, ERR_NOT_FOUND,
                       c.count
                           ? "no store is named and none of the %zu BackupStores is the default: "
                             "set spec.default on one, or name one in storeRef"
                           : "there is no BackupStore (%zu): create one, see manifests/samples",
                       c.count);
    *ret = c.marked ? c.marked : c.any;
    return 0;
}

/* ---- its passwords ---- */

static int store_password(struct context *cx, struct arena *a, const struct kube_object *store,
                          const char **ret, struct err *err)
{
    const char *name = raw_text(a, store->raw, "spec", "passwordSecretRef", "name", NULL);
    const char *key = raw_text(a, store->raw, "spec", "passwordSecretRef", "key", NULL);
    struct kube_object secret;
    if (!name)
        return err_set(err, ERR_INVALID, "BackupStore %s has no spec.passwordSecretRef",
                       store->name);
    if (!key)
        key = "password";
    if (kube_get(cx->kube, a, &KUBE_SECRET, cx->ns, name, &secret, err) < 0) {
        if (err->kind == ERR_NOT_FOUND)
            return err_set(
                err, ERR_REFUSED,
                "BackupStore %s: its password's Secret %s/%s is not there: create it with "
                "the key '%s'",
                store->name, cx->ns, name, key);
        return err_wrap(err, "BackupStore %s", store->name);
    }
    str password;
    struct err why;
    if (kube_secret_value(a, &secret, key, &password, &why) < 0)
        return err_set(err, ERR_REFUSED, "BackupStore %s: %s", store->name, why.msg);
    if (strlen(password.p) < PASSWORD_MIN)
        return err_set(err, ERR_REFUSED,
                       "BackupStore %s: the password in Secret %s/%s is too short: use %d or more "
                       "random characters (128 bits)",
                       store->name, cx->ns, name, PASSWORD_MIN);
    *ret = password.p;
    return 0;
}

/* The Secret with a namespace's own password. Its name follows from what the repository is, and
 * from the namespace's uid: a namespace that was made anew gets a password of its own. */
static int mover_secret_name(struct context *cx, struct arena *a, const char *store,
                             const char *repository, const char *ns, const char **ret,
                             struct err *err)
{
    struct kube_object object = {.uid = ""};
    if (!streq(ns, LAYOUT_CLUSTER) &&
        kube_get(cx->kube, a, &KUBE_NAMESPACE, NULL, ns, &object, err) < 0 &&
        err->kind != ERR_NOT_FOUND)
        return -1;
    char *text = arena_printf(a, "%s\n%s\n%s", store, repository, object.uid);
    uint8_t hash[32];
    char hex[65];
    sha256(text, strlen(text), hash);
    hex_encode(hash, sizeof hash, hex);
    *ret = arena_printf(a, "gleaner-repository-%.16s", hex);
    return 0;
}

static int create_mover_secret(struct context *cx, struct arena *a, const char *name,
                               const char *repository, struct kube_object *ret, struct err *err)
{
    char password[2 * MOVER_PASSWORD_BYTES + 1];
    random_token(password, MOVER_PASSWORD_BYTES);
    struct buf encoded CLEANUP(buf_free) = {0}, body CLEANUP(buf_free) = {0};
    base64_encode(&encoded, password, strlen(password));
    buf_printf(
        &body,
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"%s\","
        "\"labels\":{\"app.kubernetes.io/managed-by\":\"gleaner\"},\"annotations\":"
        "{\"gleaner.dev/repository\":\"%s\"}},\"type\":\"Opaque\",\"data\":{\"password\":\"%s\"}}",
        name, repository, encoded.p);
    if (kube_create(cx->kube, a, &KUBE_SECRET, cx->ns, buf_view(&body), NULL, ret, err) == 0)
        return 0;
    if (err->kind != ERR_EXISTS)
        return -1;
    return kube_get(cx->kube, a, &KUBE_SECRET, cx->ns, name, ret, err);
}

static int take_mover_password(struct opened *o, const char *password, const char *of,
                               struct err *err)
{
    if (snprintf(o->mover_password, sizeof o->mover_password, "%s", password) >=
        (int)sizeof o->mover_password)
        return err_set(err, ERR_INVALID, "%s: the password is too long", of);
    return 0;
}

static int mover_password(struct context *cx, struct arena *a, const char *ns, bool create,
                          struct opened *o, struct err *err)
{
    const char *name;
    str password;
    struct kube_object secret;
    if (mover_secret_name(cx, a, o->store, o->path, ns, &name, err) < 0)
        return -1;
    if (kube_get(cx->kube, a, &KUBE_SECRET, cx->ns, name, &secret, err) < 0) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        if (!create)
            return 0;
        if (create_mover_secret(cx, a, name, o->path, &secret, err) < 0)
            return -1;
    }
    if (kube_secret_value(a, &secret, "password", &password, err) < 0)
        return -1;
    return take_mover_password(o, password.p, name, err);
}

/* ---- the repository ---- */

struct how {
    bool create;
    bool again; /* see store_open_again */
    bool fresh; /* see store_open_fresh */
    unsigned seconds;
};

static int make_repository(struct opened *o, const char *password, const char *ns,
                           struct context *cx, struct err *err)
{
    const struct repository_key keys[] = {
        {.password = password, .username = "gleaner", .hostname = cx->cluster},
        {.password = o->mover_password, .username = ns, .hostname = cx->cluster},
    };
    return repository_init(o->backend, keys, ARRAY_LEN(keys), NULL, err);
}

/* The key file of the namespace's password; makes one if the repository has none. */
static int look_for_mover_key(struct opened *o, const char *ns, struct context *cx,
                              struct store_id *ret, struct err *err)
{
    struct repository *as_mover CLEANUP(repository_close_p) = NULL;
    struct repository_options read_only = {.read_only = true};
    if (repository_open(o->backend, o->mover_password, &read_only, &as_mover, err) == 0) {
        *ret = *repository_key_id(as_mover);
        return 0;
    }
    if (err->kind != ERR_UNAUTHORIZED || err->http)
        return -1;
    const struct repository_key key = {
        .password = o->mover_password, .username = ns, .hostname = cx->cluster};
    return repository_add_key(o->repo, &key, ret, err);
}

/* True if the key file is still there. */
static bool has_key_file(struct opened *o, const struct store_id *id)
{
    uint64_t size;
    struct err gone;
    return repository_lists_key(o->repo, id) ||
           backend_stat(o->backend, &(struct backend_file){BACKEND_KEY, *id}, &size, &gone) == 0;
}

static int find_mover_key(struct opened *o, const char *ns, struct context *cx, struct err *err)
{
    struct store_id id;
    if (!keyring_find_mover(o, &id) || !has_key_file(o, &id)) {
        if (look_for_mover_key(o, ns, cx, &id, err) < 0)
            return -1;
        keyring_note_mover(o, &id);
    }
    hex_encode(id.b, sizeof id.b, o->mover_key_id);
    return 0;
}

/* The key file goes to the gateway with the mover's registration: it asks a distant store for it no
 * more. */
static int load_mover_key(struct opened *o, struct err *err)
{
    struct backend_file f = {.type = BACKEND_KEY};
    struct buf text = {0};
    if (!store_id_parse(str_of(o->mover_key_id), &f.id) ||
        backend_load_all(o->backend, &f, STORE_SMALL_FILE_MAX, &text, err) < 0) {
        buf_free(&text);
        return -1;
    }
    o->mover_key_text = buf_take(&text);
    return 0;
}

/* A key of which no store knows: what a mover is shown of a repository that is only read. */
static int make_shown_key(struct opened *o, struct err *err)
{
    char password[2 * MOVER_PASSWORD_BYTES + 1];
    struct store_id id;
    struct buf text = {0};
    random_token(password, MOVER_PASSWORD_BYTES);
    struct repository_key key = {.password = password, .username = "gleaner", .hostname = "reader"};
    int r = repository_key_text(o->repo, &key, &text, &id, err);
    if (r == 0)
        r = take_mover_password(o, password, "a reader's key", err);
    explicit_bzero(password, sizeof password);
    if (r < 0)
        return -1;
    o->mover_key_text = buf_take(&text);
    hex_encode(id.b, sizeof id.b, o->mover_key_id);
    return 0;
}

static int open_repository(struct context *cx, struct opened *o, const char *password,
                           const char *ns, const struct how *how, const struct store_ids *keys,
                           struct err *err)
{
    struct repository_memory *memory CLEANUP(repository_memory_free_p) = keyring_find(o, password);
    struct repository_options options = {.read_only = o->read_only,
                                         .keys = keys->n ? keys : NULL,
                                         .memory = memory,
                                         .config_known = how->again,
                                         .tree_memory = cx->tree_memory};
    int r = repository_open(o->backend, password, &options, &o->repo, err);
    if (r < 0 && err->kind == ERR_NOT_FOUND && how->create && !o->read_only) {
        if (make_repository(o, password, ns, cx, err) < 0)
            return -1;
        options.keys = NULL;
        r = repository_open(o->backend, password, &options, &o->repo, err);
    }
    if (r < 0 && err->kind == ERR_NOT_FOUND && how->create && o->foreign)
        return err_set(err, ERR_NOT_FOUND,
                       "it is not there, and none is made below the clusterName of the cluster %s",
                       o->owner);
    if (r < 0 && err->kind == ERR_UNAUTHORIZED && !err->http)
        return err_set(
            err, ERR_REFUSED,
            "the store's password does not open it: put back the password that it was made "
            "with");
    if (r == 0 && !how->again)
        keyring_note(o, password);
    return r;
}

/* The key files, and at once all that is listed next. None where no repository is. */
static int list_keys(struct backend *b, struct store_ids *keys, struct err *err)
{
    struct err why = {0};
    if (backend_foresee(b, &why) == 0 &&
        backend_list_ids(b, BACKEND_KEY, false, STORE_KEYS_MAX, keys, &why) == 0)
        return 0;
    if (why.kind == ERR_NOT_FOUND)
        return 0;
    if (err)
        *err = why;
    return -1;
}

/* Whether the repository may be written; *keys: its key files, if it was asked for them. A
 * clusterName that is our own uid is nobody else's. */
static int find_owner(struct context *cx, const struct kube_object *store, struct opened *o,
                      const char *cluster, unsigned seconds, struct store_ids *keys,
                      struct err *err)
{
    struct buf path CLEANUP(buf_free) = {0};
    struct backend *b CLEANUP(backend_close_p) = NULL;
    o->read_only = raw_true(raw_at(store->raw, "spec", "readOnly", NULL));
    if (streq(cluster, cx->cluster)) {
        snprintf(o->owner, sizeof o->owner, "%s", cx->cluster);
        return 0;
    }
    if (list_keys(o->backend, keys, err) < 0 ||
        store_owner_of_keys(o->backend, keys, cx->cluster, o->owner, sizeof o->owner, err) < 0)
        return -1;
    /* A repository that is not there yet would be made in the path of whoever made its sibling. */
    if (!*o->owner && layout_repository(&path, cluster, LAYOUT_CLUSTER, err) == 0 &&
        !streq(path.p, o->path) &&
        (store_place_open(cx, &o->place, path.p, seconds, &b, err) < 0 ||
         store_owner_read(b, cx->cluster, o->owner, sizeof o->owner, err) < 0))
        return -1;
    if (!*o->owner && store_owner_is_uid(cluster))
        snprintf(o->owner, sizeof o->owner, "%s", cluster);
    o->foreign = *o->owner && !streq(o->owner, cx->cluster);
    o->read_only |= o->foreign;
    return 0;
}

/* Files whose names are their hashes are read once from a distant store. */
static int open_backend(struct context *cx, struct opened *o, const struct how *how,
                        struct err *err)
{
    if (store_place_open(cx, &o->place, o->path, how->seconds, &o->backend, err) < 0)
        return -1;
    if (!o->place.folder && !how->fresh)
        o->backend = backend_recall(o->backend);
    return 0;
}

static int open_at(struct context *cx, struct arena *a, const struct kube_object *store,
                   const char *cluster, const char *password, const char *ns, const struct how *how,
                   struct opened *o, struct err *err)
{
    struct store_ids keys = {0};
    int r = 0;
    if (open_backend(cx, o, how, err) < 0 ||
        find_owner(cx, store, o, cluster, how->seconds, &keys, err) < 0 ||
        (!o->read_only && mover_password(cx, a, ns, how->create, o, err) < 0) ||
        open_repository(cx, o, password, ns, how, &keys, err) < 0 ||
        (!o->read_only && o->mover_password[0] && find_mover_key(o, ns, cx, err) < 0) ||
        (!o->place.folder && *o->mover_key_id && how->create && load_mover_key(o, err) < 0) ||
        (o->read_only && how->create && make_shown_key(o, err) < 0))
        r = err_wrap(err, "store %s, repository %s", store->name, o->path);
    vec_free(&keys);
    return r;
}

static int open_all(struct context *cx, struct arena *a, const struct kube_object *store,
                    const char *ns, const struct how *how, struct opened *o, struct err *err)
{
    const char *cluster = raw_text(a, store->raw, "spec", "clusterName", NULL), *password;
    struct buf path CLEANUP(buf_free) = {0};
    if (!cluster)
        cluster = cx->cluster;
    if (store_password(cx, a, store, &password, err) < 0 ||
        store_place_read(cx, a, store, &o->place, err) < 0 ||
        layout_repository(&path, cluster, ns, err) < 0)
        return -1;
    snprintf(o->store, sizeof o->store, "%s", store->name);
    snprintf(o->path, sizeof o->path, "%s", path.p);
    return open_at(cx, a, store, cluster, password, ns, how, o, err);
}

static int read_store(struct context *cx, struct arena *a, const char *name,
                      struct kube_object *ret, struct err *err)
{
    if (kube_get(cx->kube, a, &KUBE_BACKUPSTORE, NULL, name, ret, err) == 0)
        return 0;
    if (err && err->kind == ERR_NOT_FOUND)
        return err_set(err, ERR_NOT_FOUND, "there is no BackupStore '%s'", name);
    return -1;
}

static int open_within(struct context *cx, struct arena *a, const char *store, const char *ns,
                       const struct how *how, struct opened *ret, struct err *err)
{
    struct opened o CLEANUP(store_close) = {0};
    struct kube_object object;
    const char *name;
    if (store_resolve(cx, a, store, &name, err) < 0 || read_store(cx, a, name, &object, err) < 0 ||
        open_all(cx, a, &object, ns, how, &o, err) < 0)
        return -1;
    *ret = o;
    o = (struct opened){0};
    return 0;
}

int store_open(struct context *cx, struct arena *a, const char *store, const char *ns, bool create,
               struct opened *ret, struct err *err)
{
    const struct how how = {.create = create, .seconds = RETRY_SECONDS};
    return open_within(cx, a, store, ns, &how, ret, err);
}

int store_open_again(struct context *cx, struct arena *a, const char *store, const char *ns,
                     struct opened *ret, struct err *err)
{
    const struct how how = {.again = true, .seconds = RETRY_SECONDS};
    return open_within(cx, a, store, ns, &how, ret, err);
}

int store_open_fresh(struct context *cx, struct arena *a, const char *store, const char *ns,
                     struct opened *ret, struct err *err)
{
    const struct how how = {.fresh = true, .seconds = RETRY_SECONDS};
    return open_within(cx, a, store, ns, &how, ret, err);
}

int store_open_soon(struct context *cx, struct arena *a, const char *store, const char *ns,
                    bool create, struct opened *ret, struct err *err)
{
    const struct how how = {.create = create, .seconds = SOON_SECONDS};
    return open_within(cx, a, store, ns, &how, ret, err);
}

int store_prove(struct context *cx, struct opened *o, struct err *err)
{
    struct buf holder CLEANUP(buf_free) = {0};
    struct lock *lock;
    lock_identity(&holder, cx->cluster, cx->ns, cx->instance, cx->instance_uid);
    struct lock_options options = {.hostname = holder.p, .username = "gleaner"};
    struct err why;
    if (lock_acquire(o->repo, &options, &lock, &why) < 0) {
        if (why.kind == ERR_BUSY && !why.http)
            return 0;
        if (err)
            *err = why;
        return -1;
    }
    return lock_release(lock, err);
}

void store_close(struct opened *o)
{
    repository_close(o->repo);
    backend_close(o->backend);
    store_place_free(&o->place);
    explicit_bzero(o->mover_password, sizeof o->mover_password);
    free(o->mover_key_text);
    o->mover_key_text = NULL;
    o->repo = NULL;
    o->backend = NULL;
}

int store_may_write(const struct opened *o, struct err *err)
{
    if (o->foreign)
        return err_set(err, ERR_REFUSED,
                       "store %s, repository %s was made by another cluster (uid %s) and is only "
                       "read here: name a BackupStore with a clusterName of this cluster's own",
                       o->store, o->path, o->owner);
    if (o->read_only)
        return err_set(err, ERR_REFUSED, "store %s is only read: its spec.readOnly says so",
                       o->store);
    return 0;
}

int store_now(struct context *cx, struct arena *a, const struct opened *o, struct store_place *ret,
              struct err *err)
{
    struct store_place p CLEANUP(store_place_free) = {0};
    struct kube_object object;
    if (read_store(cx, a, o->store, &object, err) < 0 ||
        store_place_read(cx, a, &object, &p, err) < 0)
        return -1;
    if (!streq(p.id, o->place.id))
        return err_set(err, ERR_REFUSED, "BackupStore %s was pointed to another place meanwhile",
                       o->store);
    *ret = p;
    p = (struct store_place){0};
    return 0;
}

int store_renew(struct context *cx, struct opened *o, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct store_place p;
    if (o->place.folder)
        return 0;
    if (store_now(cx, a, o, &p, err) < 0)
        return -1;
    if (p.access_key)
        backend_s3_set_keys(backend_behind(o->backend), p.access_key, p.secret_key,
                            p.session_token);
    store_place_free(&o->place);
    o->place = p;
    return 0;
}
