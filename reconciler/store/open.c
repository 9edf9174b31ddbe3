#include "reconciler/store/open.h"

#include <stdio.h>

#include "core/codec.h"
#include "kube/client.h"
#include "store/layout.h"

enum {
    PASSWORD_MIN = 22 /* characters: 128 bits in base64's alphabet */,
    MOVER_PASSWORD_BYTES = 32
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

/* The decoded value of a Secret's key; NOT_FOUND if the key is not there. */
static int secret_value(struct arena *a, const struct kube_object *secret, const char *key,
                        const char **ret, struct err *err)
{
    str text = raw_string(a, raw_at(secret->raw, "data", key, NULL));
    if (!text.p)
        return err_set(err, ERR_NOT_FOUND, "Secret %s/%s has no key '%s'", secret->ns, secret->name,
                       key);
    struct buf plain CLEANUP(buf_free) = {0};
    if (base64_decode(&plain, text, err) < 0)
        return err_wrap(err, "Secret %s/%s, key '%s'", secret->ns, secret->name, key);
    *ret = arena_strndup(a, plain.p ? plain.p : "", plain.n);
    return 0;
}

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
    const char *password;
    if (secret_value(a, &secret, key, &password, err) < 0) {
        err->kind = ERR_REFUSED;
        return err_wrap(err, "BackupStore %s", store->name);
    }
    if (strlen(password) < PASSWORD_MIN)
        return err_set(err, ERR_REFUSED,
                       "BackupStore %s: the password in Secret %s/%s is too short: use %d or more "
                       "random characters (128 bits)",
                       store->name, cx->ns, name, PASSWORD_MIN);
    *ret = password;
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

static int mover_password(struct context *cx, struct arena *a, const char *store,
                          const char *repository, const char *ns, bool create, struct opened *o,
                          struct err *err)
{
    const char *name, *password;
    struct kube_object secret;
    if (mover_secret_name(cx, a, store, repository, ns, &name, err) < 0)
        return -1;
    if (kube_get(cx->kube, a, &KUBE_SECRET, cx->ns, name, &secret, err) < 0) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        if (!create)
            return 0;
        if (create_mover_secret(cx, a, name, repository, &secret, err) < 0)
            return -1;
    }
    if (secret_value(a, &secret, "password", &password, err) < 0)
        return -1;
    if (snprintf(o->mover_password, sizeof o->mover_password, "%s", password) >=
        (int)sizeof o->mover_password)
        return err_set(err, ERR_INVALID, "Secret %s/%s: the password is too long", cx->ns, name);
    return 0;
}

/* ---- the repository ---- */

static int local_folder(struct arena *a, const struct kube_object *store, struct opened *o,
                        struct err *err)
{
    const char *path = raw_text(a, store->raw, "spec", "local", "path", NULL);
    if (!path)
        return err_set(err, ERR_INVALID, "BackupStore %s has no spec.local.path", store->name);
    if (strstr(path, ".."))
        return err_set(err, ERR_INVALID, "BackupStore %s: spec.local.path must not contain '..'",
                       store->name);
    if (snprintf(o->store_folder, sizeof o->store_folder, "%s", path) >=
        (int)sizeof o->store_folder)
        return err_set(err, ERR_INVALID, "BackupStore %s: spec.local.path is too long",
                       store->name);
    return 0;
}

static int make_repository(struct opened *o, const char *password, const char *ns,
                           struct context *cx, struct err *err)
{
    if (backend_create(o->backend, err) < 0)
        return -1;
    const struct repository_key keys[] = {
        {.password = password, .username = "gleaner", .hostname = cx->cluster},
        {.password = o->mover_password, .username = ns, .hostname = cx->cluster},
    };
    return repository_init(o->backend, keys, ARRAY_LEN(keys), NULL, err);
}

/* Finds the key file of the namespace's password; adds one if the repository does not know it. */
static int find_mover_key(struct opened *o, const char *ns, struct context *cx, struct err *err)
{
    struct store_id id;
    struct repository *as_mover = NULL;
    struct repository_options read_only = {.read_only = true};
    if (repository_open(o->backend, o->mover_password, &read_only, &as_mover, err) == 0) {
        id = *repository_key_id(as_mover);
        repository_close(as_mover);
    } else if (err->kind == ERR_UNAUTHORIZED) {
        const struct repository_key key = {
            .password = o->mover_password, .username = ns, .hostname = cx->cluster};
        if (repository_add_key(o->repo, &key, &id, err) < 0)
            return -1;
    } else {
        return -1;
    }
    hex_encode(id.b, sizeof id.b, o->mover_key_id);
    return 0;
}

static int open_repository(struct context *cx, struct opened *o, const char *password,
                           const char *ns, bool create, struct err *err)
{
    int r = repository_open(o->backend, password, NULL, &o->repo, err);
    if (r < 0 && err->kind == ERR_NOT_FOUND && create) {
        if (make_repository(o, password, ns, cx, err) < 0)
            return -1;
        r = repository_open(o->backend, password, NULL, &o->repo, err);
    }
    if (r < 0 && err->kind == ERR_UNAUTHORIZED)
        return err_set(
            err, ERR_REFUSED,
            "the store's password does not open it: put back the password that it was made "
            "with");
    return r < 0 ? -1 : repository_load_index(o->repo, err);
}

int store_open(struct context *cx, struct arena *a, const char *store, const char *ns, bool create,
               struct opened *ret, struct err *err)
{
    struct opened o CLEANUP(store_close) = {0};
    struct kube_object object;
    const char *name, *password;
    if (store_resolve(cx, a, store, &name, err) < 0)
        return -1;
    if (kube_get(cx->kube, a, &KUBE_BACKUPSTORE, NULL, name, &object, err) < 0) {
        if (err->kind == ERR_NOT_FOUND)
            return err_set(err, ERR_NOT_FOUND, "there is no BackupStore '%s'", name);
        return -1;
    }
    if (store_password(cx, a, &object, &password, err) < 0 || local_folder(a, &object, &o, err) < 0)
        return -1;
    const char *cluster = raw_text(a, object.raw, "spec", "clusterName", NULL);
    struct buf path CLEANUP(buf_free) = {0};
    if (layout_repository(&path, cluster ? cluster : cx->cluster, ns, err) < 0)
        return -1;
    snprintf(o.path, sizeof o.path, "%s", path.p);
    if (mover_password(cx, a, name, o.path, ns, create, &o, err) < 0 ||
        backend_open_local(arena_printf(a, "%s/%s/%s", cx->local_root, o.store_folder, o.path),
                           &o.backend, err) < 0 ||
        open_repository(cx, &o, password, ns, create, err) < 0 ||
        (o.mover_password[0] && find_mover_key(&o, ns, cx, err) < 0))
        return err_wrap(err, "store %s, repository %s", name, path.p);
    *ret = o;
    o = (struct opened){0};
    return 0;
}

void store_close(struct opened *o)
{
    repository_close(o->repo);
    backend_close(o->backend);
    explicit_bzero(o->mover_password, sizeof o->mover_password);
    o->repo = NULL;
    o->backend = NULL;
}
