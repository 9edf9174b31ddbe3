#include "gateway/registry.h"

#include <stdlib.h>

#include "core/clock.h"
#include "core/map.h"
#include "gateway/client.h"
#include "store/lock.h"

struct registry {
    pthread_mutex_t lock;
    struct map *movers; /* pod uid -> struct mover */
    struct places *places;
    uint64_t budget;
};

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
    places_give(m->place);
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
        r = lock_confirm_name(m->repo, m->r.lock, err);
    pthread_mutex_unlock(&m->lock);
    return r;
}

/* ---- all of them ---- */

struct registry *registry_new(const char *local_root, uint64_t budget)
{
    struct registry *reg = xcalloc(1, sizeof *reg);
    pthread_mutex_init(&reg->lock, NULL);
    reg->movers = map_new(release);
    reg->places = places_new(local_root);
    reg->budget = budget;
    return reg;
}

void registry_free(struct registry *reg)
{
    if (!reg)
        return;
    map_free(reg->movers);
    places_free(reg->places);
    pthread_mutex_destroy(&reg->lock);
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

static struct mover *new_mover(struct registration *r, struct place *place,
                               const struct mover *earlier)
{
    struct mover *m = xcalloc(1, sizeof *m);
    atomic_init(&m->holders, 1);
    atomic_init(&m->spent, earlier ? atomic_load(&earlier->spent) : 0);
    pthread_mutex_init(&m->lock, NULL);
    m->place = place;
    m->backend = place->backend;
    m->r = *r;
    *r = (struct registration){0};
    return m;
}

static int put(struct registry *reg, str pod_uid, struct registration *r, struct err *err)
{
    struct mover *m = map_get(reg->movers, pod_uid);
    struct place *place;
    if (!r->budget)
        r->budget = reg->budget;
    if (m && !registration_same_place(&m->r, r))
        return err_set(err, ERR_CONFLICT, "mover %.*s serves another repository", STR_FMT(pod_uid));
    if (!m && map_count(reg->movers) >= GATEWAY_MOVERS_MAX)
        forget_expired(reg);
    if (!m && map_count(reg->movers) >= GATEWAY_MOVERS_MAX)
        return err_set(err, ERR_BUSY, "more than %d movers", GATEWAY_MOVERS_MAX);
    /* Also for a mover that is known: so renewed credentials come into use. */
    if (places_get(reg->places, r, &place, err) < 0)
        return -1;
    registration_forget_keys(r);
    if (m && m->place == place && registration_same(&m->r, r)) {
        places_give(place);
    } else {
        m = new_mover(r, place, m);
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
