/* Left-overs: movers and sessions whose owner is gone or has ended. */
#include "reconciler/backup/backup.h"

#include "core/map.h"
#include "core/vec.h"
#include "kube/types.h"
#include "reconciler/mover_pod.h"

struct living {
    struct arena *a;
    struct map *uids; /* of Backups and Restores that have not ended */
};

static int living_seen(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct living *l = ctx;
    static const char *const ends[] = {"Completed", "PartiallyFailed", "Failed",    "Done",
                                       "Cancelled", "AlreadyRestored", "RolledBack"};
    str phase = raw_at(o->raw, "status", "phase", NULL);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        if (raw_is(phase, ends[i]))
            return 0;
    }
    map_put(l->uids, str_of(o->uid), l);
    return 0;
}

struct movers {
    struct arena *a;
    VEC(struct kube_object) all;
};

static int mover_seen(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct movers *m = ctx;
    *vec_add(&m->all) = kube_object_copy(m->a, o);
    return 0;
}

static int list_living(struct context *cx, struct living *l, struct err *err)
{
    static const struct kube_type *const types[] = {&KUBE_BACKUP, &KUBE_RESTORE};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (kube_list(cx->kube, types[i], NULL, living_seen, l, NULL, err) < 0)
            return -1;
    }
    return 0;
}

static int delete_orphans(struct context *cx, struct arena *a, const struct movers *m,
                          const struct map *living, struct err *err)
{
    for (size_t i = 0; i < m->all.n; i++) {
        const struct kube_object *pod = &m->all.p[i];
        struct kube_delete opts = {.uid = pod->uid, .grace_seconds = -1};
        const char *owner = kube_label(a, pod, MOVER_LABEL);
        if (owner && map_get(living, str_of(owner)))
            continue;
        if (kube_delete(cx->kube, &KUBE_POD, pod->ns, pod->name, &opts, err) < 0 &&
            err->kind != ERR_NOT_FOUND && err->kind != ERR_CONFLICT)
            return err_wrap(err, "deleting left-over mover %s/%s", pod->ns, pod->name);
    }
    return 0;
}

/* ---- leases ---- */

struct leases {
    struct arena *a;
    VEC(struct kube_object) all;
};

static int lease_seen(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct leases *l = ctx;
    if (str_starts(str_of(raw_text(l->a, o->raw, "spec", "holderIdentity", NULL)), "Backup/"))
        *vec_add(&l->all) = kube_object_copy(l->a, o);
    return 0;
}

/* A Lease of a Backup that is gone stands in nobody's way, but tells people a lie. */
static int delete_leases(struct context *cx, const struct leases *l, const struct map *living,
                         struct err *err)
{
    for (size_t i = 0; i < l->all.n; i++) {
        const struct kube_object *o = &l->all.p[i];
        const char *holder = raw_text(l->a, o->raw, "spec", "holderIdentity", NULL);
        struct kube_delete opts = {
            .uid = o->uid, .resource_version = o->resource_version, .grace_seconds = -1};
        if (map_get(living, str_of(strrchr(holder, '/') + 1)))
            continue;
        if (kube_delete(cx->kube, &KUBE_LEASE, o->ns, o->name, &opts, err) < 0 &&
            err->kind != ERR_NOT_FOUND && err->kind != ERR_CONFLICT)
            return err_wrap(err, "deleting left-over Lease %s", o->name);
    }
    return 0;
}

int backup_sweep(struct context *cx, struct arena *a, struct err *err)
{
    struct map CLEANUP(map_free_p) *uids = map_new(NULL);
    struct living living = {a, uids};
    struct movers movers = {.a = a};
    struct leases leases = {.a = a};
    struct kube_list opts = {.label_selector = MOVER_LABEL}, ours = {.ns = cx->ns};
    /* What works first, its owners after: who is made meanwhile is not taken for a left-over. */
    const char **sessions;
    size_t n = backup_session_uids(a, &sessions);
    int result = kube_list(cx->kube, &KUBE_POD, &opts, mover_seen, &movers, NULL, err);
    if (result == 0)
        result = kube_list(cx->kube, &KUBE_LEASE, &ours, lease_seen, &leases, NULL, err);
    if (result == 0)
        result = list_living(cx, &living, err);
    if (result == 0)
        result = delete_orphans(cx, a, &movers, uids, err);
    if (result == 0)
        result = delete_leases(cx, &leases, uids, err);
    vec_free(&movers.all);
    vec_free(&leases.all);
    if (result < 0)
        return err_wrap(err, "looking for left-overs of Backups");
    for (size_t i = 0; i < n; i++) {
        if (!map_get(uids, str_of(sessions[i])))
            backup_session_end(sessions[i]);
    }
    return 0;
}
