#include "gateway/places.h"

#include <pthread.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/codec.h"
#include "core/map.h"
#include "store/recall.h"

/* A mover repeats what fails for a minute; so the gateway gives up before it does. */
enum { RETRY_SECONDS = 40, KEPT_MS = 5 * 60 * 1000 };

struct held {
    struct place place; /* first */
    struct places *all;
    unsigned holders;
    int64_t idle_ms; /* monotonic; since when nobody holds it */
};

struct places {
    pthread_mutex_t lock;
    char *local_root;
    struct map *held; /* of struct held, by what makes it */
};

static void held_free(void *p)
{
    struct held *h = p;
    backend_close(h->place.backend);
    free(h);
}

struct places *places_new(const char *local_root)
{
    struct places *all = xcalloc(1, sizeof *all);
    pthread_mutex_init(&all->lock, NULL);
    all->local_root = xstrdup(local_root);
    all->held = map_new(held_free);
    return all;
}

void places_free(struct places *all)
{
    if (!all)
        return;
    map_free(all->held);
    pthread_mutex_destroy(&all->lock);
    free(all->local_root);
    free(all);
}

/* All that makes it but the credentials, as a hash: a CA is long. */
static void name_of(const struct registration *r, char name[65])
{
    struct buf text CLEANUP(buf_free) = {0};
    uint8_t hash[32];
    buf_printf(&text, "%d\n%s\n%s\n", r->on_s3, r->store, r->repository);
    if (r->on_s3)
        buf_printf(&text, "%s\n%s\n%s\n%s\n%d\n%d\n%s", r->s3.endpoint, r->s3.bucket, r->s3.prefix,
                   r->s3.region, r->s3.lookup, *r->s3.access_key != '\0', r->s3.ca_pem);
    sha256(text.p, text.n, hash);
    hex_encode(hash, sizeof hash, name);
}

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

static int open_backend(struct places *all, const struct registration *r, struct backend **ret,
                        struct err *err)
{
    const char *store = r->on_s3 ? r->s3.prefix : r->store;
    char *below CLEANUP(free_p) = xasprintf("%s%s%s", store, *store ? "/" : "", r->repository);
    char *path CLEANUP(free_p) = xasprintf("%s/%s", all->local_root, below);
    if (!r->on_s3)
        return backend_open_local(path, ret, err);
    struct backend_s3_options options = {.endpoint = r->s3.endpoint,
                                         .bucket = r->s3.bucket,
                                         .prefix = below,
                                         .region = or_null(r->s3.region),
                                         .lookup = r->s3.lookup,
                                         .access_key = or_null(r->s3.access_key),
                                         .secret_key = or_null(r->s3.secret_key),
                                         .session_token = or_null(r->s3.session_token),
                                         .ca_pem = or_null(r->s3.ca_pem),
                                         .retry_seconds = RETRY_SECONDS,
                                         .fresh_lists = true};
    return backend_open_s3(&options, ret, err);
}

static void drop_idle(struct places *all)
{
    str name;
    void *p;
    size_t at = 0;
    while (map_each(all->held, &at, &name, &p)) {
        struct held *h = p;
        if (h->holders || clock_mono_ms() - h->idle_ms < KEPT_MS)
            continue;
        map_del(all->held, name);
        at = 0;
    }
}

static int get(struct places *all, const struct registration *r, struct held **ret, struct err *err)
{
    char name[65];
    struct backend *b;
    name_of(r, name);
    struct held *h = map_get(all->held, str_of(name));
    if (!h) {
        if (open_backend(all, r, &b, err) < 0)
            return -1;
        if (r->on_s3) /* index files, that each mover reads */
            b = backend_recall(b);
        h = xcalloc(1, sizeof *h);
        *h = (struct held){.place = {b, r->on_s3}, .all = all};
        map_put(all->held, str_of(name), h);
    } else if (r->on_s3 && *r->s3.access_key) {
        backend_s3_set_keys(backend_behind(h->place.backend), r->s3.access_key, r->s3.secret_key,
                            or_null(r->s3.session_token));
    }
    h->holders++;
    *ret = h;
    return 0;
}

int places_get(struct places *all, const struct registration *r, struct place **ret,
               struct err *err)
{
    struct held *h;
    pthread_mutex_lock(&all->lock);
    drop_idle(all);
    int done = get(all, r, &h, err);
    pthread_mutex_unlock(&all->lock);
    if (done == 0)
        *ret = &h->place;
    return done;
}

void places_give(struct place *p)
{
    if (!p)
        return;
    struct held *h = (struct held *)p;
    pthread_mutex_lock(&h->all->lock);
    if (--h->holders == 0)
        h->idle_ms = clock_mono_ms();
    pthread_mutex_unlock(&h->all->lock);
}
