#include "gateway/registry.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/json.h"
#include "core/map.h"
#include "gateway/client.h"
#include "store/layout.h"
#include "store/lock.h"

enum { TEXT_MAX = 1024 };

struct registry {
    pthread_mutex_t lock;
    struct map *movers; /* pod uid -> struct mover */
    char *local_root;
    uint64_t budget;
};

/* ---- a registration's text ---- */

void registration_free(struct registration *r)
{
    if (r->password)
        OPENSSL_cleanse(r->password, strlen(r->password));
    free(r->store);
    free(r->repository);
    free(r->password);
    free(r->lock_holder);
    *r = (struct registration){0};
}

static int take_text(const json_t *j, const char *name, bool needed, char **ret, struct err *err)
{
    const json_t *v = json_object_get(j, name);
    if (v && (!json_is_string(v) || json_string_length(v) > TEXT_MAX ||
              strlen(json_string_value(v)) != json_string_length(v)))
        return err_set(err, ERR_INVALID, "\"%s\" is not a text of at most %d bytes", name,
                       TEXT_MAX);
    if (needed && (!v || json_string_length(v) == 0))
        return err_set(err, ERR_INVALID, "\"%s\" is missing", name);
    *ret = xstrdup(v ? json_string_value(v) : "");
    return 0;
}

static int take_keys(const json_t *j, struct registration *r, struct err *err)
{
    const json_t *keys = json_object_get(j, "keys"), *key;
    size_t i;
    if (!json_is_array(keys) || json_array_size(keys) == 0 ||
        json_array_size(keys) > GATEWAY_KEYS_MAX)
        return err_set(err, ERR_INVALID, "\"keys\" is not a list of 1 to %d ids", GATEWAY_KEYS_MAX);
    json_array_foreach(keys, i, key)
    {
        if (!store_id_parse(str_of(json_string_value(key)), &r->keys[i]))
            return err_set(err, ERR_INVALID, "\"keys\": one is not an id");
        r->keys_n = i + 1;
    }
    return 0;
}

/* Plain elements below each other: no "..", nothing hidden, no leading '/'. */
static bool is_folder(const char *folder)
{
    str rest = str_of(folder);
    if (rest.n == 0)
        return true;
    while (rest.p) {
        str element = str_cut(&rest, '/');
        if (element.n == 0 || element.p[0] == '.')
            return false;
    }
    return true;
}

static int check_members(const json_t *j, struct err *err)
{
    static const char *const names[] = {"store", "repository", "password",   "keys",
                                        "write", "budget",     "lock_holder"};
    const char *name;
    json_t *value;
    if (!json_is_object(j))
        return err_set(err, ERR_INVALID, "the registration is not an object");
    json_object_foreach((json_t *)(uintptr_t)j, name, value)
    {
        size_t i = 0;
        while (i < ARRAY_LEN(names) && !streq(name, names[i]))
            i++;
        if (i == ARRAY_LEN(names))
            return err_set(err, ERR_INVALID, "the registration has an unknown member");
    }
    return 0;
}

static int parse(const json_t *j, struct registration *r, struct err *err)
{
    const json_t *write = json_object_get(j, "write"), *budget = json_object_get(j, "budget");
    str cluster, namespace;
    if (check_members(j, err) < 0 || take_text(j, "store", false, &r->store, err) < 0 ||
        take_text(j, "repository", true, &r->repository, err) < 0 ||
        take_text(j, "password", true, &r->password, err) < 0 ||
        take_text(j, "lock_holder", json_is_true(write), &r->lock_holder, err) < 0 ||
        take_keys(j, r, err) < 0)
        return -1;
    if (!layout_parse_repository(str_of(r->repository), &cluster, &namespace))
        return err_set(err, ERR_INVALID, "\"repository\" is not <clusterName>/<namespace>");
    if (!is_folder(r->store))
        return err_set(err, ERR_INVALID, "\"store\" is not a folder below the store's root");
    if (write && !json_is_boolean(write))
        return err_set(err, ERR_INVALID, "\"write\" is neither true nor false");
    if (budget && (!json_is_integer(budget) || json_integer_value(budget) < 0))
        return err_set(err, ERR_INVALID, "\"budget\" is not a number of bytes");
    r->write = json_is_true(write);
    r->budget = (uint64_t)json_integer_value(budget);
    return 0;
}

int registration_parse(str body, struct registration *ret, struct err *err)
{
    struct registration r CLEANUP(registration_free) = {0};
    json_t *j CLEANUP_JSON = NULL;
    /* The parser's own message could quote the password. */
    if (json_parse(body, &j, NULL) < 0)
        return err_set(err, ERR_INVALID, "the registration is not JSON");
    if (parse(j, &r, err) < 0)
        return -1;
    *ret = r;
    r = (struct registration){0};
    return 0;
}

/* ---- a mover ---- */

struct mover *mover_hold(struct mover *m)
{
    atomic_fetch_add(&m->holders, 1);
    return m;
}

void mover_release(struct mover *m)
{
    if (atomic_fetch_sub(&m->holders, 1) != 1)
        return;
    repository_close(m->repo);
    backend_close(m->backend);
    registration_free(&m->r);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static void release(void *mover)
{
    mover_release(mover);
}

bool mover_spend(struct mover *m, uint64_t bytes)
{
    return atomic_fetch_add(&m->spent, bytes) + bytes <= m->r.budget;
}

int mover_confirm_lock(struct mover *m, struct err *err)
{
    struct repository_options options = {.read_only = true};
    int r = 0;
    pthread_mutex_lock(&m->lock);
    if (!m->repo)
        r = repository_open(m->backend, m->r.password, &options, &m->repo, err);
    if (r == 0)
        r = lock_confirm_holder(m->repo, m->r.lock_holder, err);
    pthread_mutex_unlock(&m->lock);
    return r;
}

static bool same_registration(const struct registration *a, const struct registration *b)
{
    return streq(a->store, b->store) && streq(a->repository, b->repository) &&
           streq(a->password, b->password) && streq(a->lock_holder, b->lock_holder) &&
           a->keys_n == b->keys_n && memcmp(a->keys, b->keys, a->keys_n * sizeof *a->keys) == 0 &&
           a->write == b->write && a->budget == b->budget;
}

/* ---- all of them ---- */

struct registry *registry_new(const char *local_root, uint64_t budget)
{
    struct registry *reg = xcalloc(1, sizeof *reg);
    pthread_mutex_init(&reg->lock, NULL);
    reg->movers = map_new(release);
    reg->local_root = xstrdup(local_root);
    reg->budget = budget;
    return reg;
}

void registry_free(struct registry *reg)
{
    if (!reg)
        return;
    map_free(reg->movers);
    pthread_mutex_destroy(&reg->lock);
    free(reg->local_root);
    free(reg);
}

static void forget_expired(struct registry *reg)
{
    str uid;
    void *m;
    size_t at = 0;
    while (map_each(reg->movers, &at, &uid, &m)) {
        if (((struct mover *)m)->expires_ms > clock_mono_ms())
            continue;
        map_del(reg->movers, uid);
        at = 0;
    }
}

static int new_mover(struct registry *reg, struct registration *r, const struct mover *earlier,
                     struct mover **ret, struct err *err)
{
    char *path CLEANUP(free_p) =
        xasprintf("%s/%s%s%s", reg->local_root, r->store, *r->store ? "/" : "", r->repository);
    struct backend *backend;
    if (backend_open_local(path, &backend, err) < 0)
        return -1;
    struct mover *m = xcalloc(1, sizeof *m);
    atomic_init(&m->holders, 1);
    atomic_init(&m->spent, earlier ? atomic_load(&earlier->spent) : 0);
    pthread_mutex_init(&m->lock, NULL);
    m->backend = backend;
    m->r = *r;
    *r = (struct registration){0};
    *ret = m;
    return 0;
}

static int put(struct registry *reg, str pod_uid, struct registration *r, struct err *err)
{
    struct mover *m = map_get(reg->movers, pod_uid);
    if (!r->budget)
        r->budget = reg->budget;
    if (m && (!streq(m->r.repository, r->repository) || !streq(m->r.store, r->store)))
        return err_set(err, ERR_CONFLICT, "mover %.*s serves another repository", STR_FMT(pod_uid));
    if (!m && map_count(reg->movers) >= GATEWAY_MOVERS_MAX)
        forget_expired(reg);
    if (!m && map_count(reg->movers) >= GATEWAY_MOVERS_MAX)
        return err_set(err, ERR_BUSY, "more than %d movers", GATEWAY_MOVERS_MAX);
    if (!m || !same_registration(&m->r, r)) {
        if (new_mover(reg, r, m, &m, err) < 0)
            return -1;
        map_put(reg->movers, pod_uid, m);
    }
    m->expires_ms = clock_mono_ms() + GATEWAY_REGISTRATION_SECONDS * 1000ll;
    return 0;
}

int registry_put(struct registry *reg, str pod_uid, struct registration *r, struct err *err)
{
    pthread_mutex_lock(&reg->lock);
    int done = put(reg, pod_uid, r, err);
    pthread_mutex_unlock(&reg->lock);
    return done;
}

void registry_remove(struct registry *reg, str pod_uid)
{
    pthread_mutex_lock(&reg->lock);
    map_del(reg->movers, pod_uid);
    pthread_mutex_unlock(&reg->lock);
}

struct mover *registry_find(struct registry *reg, const char *pod_uid)
{
    pthread_mutex_lock(&reg->lock);
    struct mover *m = *pod_uid ? map_get(reg->movers, str_of(pod_uid)) : NULL;
    if (m && m->expires_ms <= clock_mono_ms()) {
        map_del(reg->movers, str_of(pod_uid));
        m = NULL;
    }
    if (m)
        mover_hold(m);
    pthread_mutex_unlock(&reg->lock);
    return m;
}
