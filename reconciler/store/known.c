#include "reconciler/store/known.h"

#include "core/clock.h"
#include "kube/client.h"
#include "reconciler/schedule/policy.h"
#include "reconciler/snapshot_layout.h"
#include "reconciler/target_lease.h"

static const char *text_or(const char *text)
{
    return text ? text : "";
}

static int64_t time_of(struct arena *a, str object, const char *member)
{
    int64_t ms;
    const char *text = raw_text(a, object, "status", member, NULL);
    return text && clock_parse(str_of(text), &ms) ? ms : 0;
}

static const char *schedule_of(struct arena *a, const struct kube_object *o)
{
    const char *name = kube_annotation(a, o, BACKUP_SCHEDULE_ANNOTATION);
    if (!name)
        name = kube_label(a, o, BACKUP_SCHEDULE_ANNOTATION);
    return name && *name ? arena_printf(a, "%s/%s", o->ns, name) : NULL;
}

static void read_claim_tags(struct arena *a, const struct kube_object *o, struct known_backup *b)
{
    str row, rows = raw_at(o->raw, "status", "volumes", NULL);
    size_t n = 0;
    for (struct raw_iter it = raw_iter(rows); raw_next(&it, NULL, NULL);)
        n++;
    b->claim_tags = arena_alloc(a, n * sizeof *b->claim_tags);
    for (struct raw_iter it = raw_iter(rows); raw_next(&it, NULL, &row);) {
        const char *claim = raw_text(a, row, "claim", NULL);
        const char *since = raw_text(a, row, "since", NULL);
        if (claim && since && raw_get(row, "tree").p)
            b->claim_tags[b->claim_tags_n++] =
                snapshot_claim_tag(a, claim, since, raw_is(raw_get(row, "phase"), "Completed"));
    }
}

static int seen_backup(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct known *k = ctx;
    struct arena *a = k->a;
    const char *uid = kube_annotation(a, o, BACKUP_UID_ANNOTATION);
    const char *ttl = raw_text(a, o->raw, "spec", "ttl", NULL);
    struct known_backup b = {
        .ns = arena_strdup(a, o->ns),
        .name = arena_strdup(a, o->name),
        .object_uid = arena_strdup(a, o->uid),
        .resource_version = arena_strdup(a, o->resource_version),
        .full = arena_printf(a, "%s/%s", o->ns, o->name),
        .uid = uid ? uid : arena_strdup(a, o->uid),
        .phase = text_or(raw_text(a, o->raw, "status", "phase", NULL)),
        .store = text_or(raw_text(a, o->raw, "status", "store", NULL)),
        .content = text_or(raw_text(a, o->raw, "status", "namespace", NULL)),
        .snapshot = text_or(raw_text(a, o->raw, "status", "snapshot", NULL)),
        .repository_id = text_or(raw_text(a, o->raw, "status", "repositoryID", NULL)),
        .target = arena_printf(a, "%s %s/%s",
                               text_or(raw_text(a, o->raw, "spec", "target", "kind", NULL)),
                               text_or(raw_text(a, o->raw, "spec", "target", "namespace", NULL)),
                               text_or(raw_text(a, o->raw, "spec", "target", "name", NULL))),
        .request = text_or(kube_annotation(a, o, "gleaner.dev/request")),
        .handled = text_or(raw_text(a, o->raw, "status", "lastHandledRequest", NULL)),
        .schedule = schedule_of(a, o),
        .safety = kube_label(a, o, LEASE_SAFETY_LABEL),
        .ttl = ttl,
        .missing_since_ms = time_of(a, o->raw, "missingSince"),
        .completed_ms = time_of(a, o->raw, "completionTime"),
    };
    read_claim_tags(a, o, &b);
    /* One that was made for a snapshot and has no status yet still has its store. */
    if (uid && !*b.store)
        b.store = text_or(raw_text(a, o->raw, "spec", "storeRef", "name", NULL));
    if (!ttl || !clock_parse_duration(str_of(ttl), &b.ttl_ms))
        b.ttl_ms = 0;
    b.ended = streq(b.phase, "Completed") || streq(b.phase, "PartiallyFailed") ||
              streq(b.phase, "Failed");
    *vec_add(&k->backups) = b;
    return 0;
}

int known_read(struct context *cx, struct arena *a, struct known *ret, struct err *err)
{
    struct known k = {.a = a};
    struct kube_list ours = {.ns = cx->ns};
    if (kube_list(cx->kube, &KUBE_BACKUP, &ours, seen_backup, &k, NULL, err) < 0) {
        known_free(&k);
        return err_wrap(err, "listing Backups");
    }
    *ret = k;
    return 0;
}

void known_free(struct known *k)
{
    vec_free(&k->backups);
}

const struct known_backup *known_by_uid(const struct known *k, const char *store, const char *uid)
{
    for (size_t i = 0; i < k->backups.n; i++) {
        const struct known_backup *b = &k->backups.p[i];
        if (streq(b->uid, uid) && (!*b->store || streq(b->store, store)))
            return b;
    }
    return NULL;
}

/* ---- for the guard ---- */

struct gathering {
    struct context *cx;
    struct arena *a;
    VEC(struct guard_restore) restores;
    VEC(struct guard_schedule) schedules;
};

static int seen_restore(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct gathering *g = ctx;
    struct arena *a = g->a;
    static const char *const ends[] = {"Done", "Failed", "Cancelled", "AlreadyRestored",
                                       "RolledBack"};
    str phase = raw_at(o->raw, "status", "phase", NULL);
    const char *backup = raw_text(a, o->raw, "spec", "backupRef", "name", NULL);
    struct guard_restore r = {
        .name = arena_printf(a, "%s/%s", o->ns, o->name),
        .uid = arena_strdup(a, o->uid),
        .backup = backup ? arena_printf(a, "%s/%s", o->ns, backup) : NULL,
        .snapshot = raw_text(a, o->raw, "status", "source", "snapshot", NULL),
        .ended_ms = time_of(a, o->raw, "completedAt"),
    };
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        r.ended |= raw_is(phase, ends[i]);
    *vec_add(&g->restores) = r;
    return 0;
}

/* One whose retention cannot be read keeps all: an empty policy. */
static int seen_schedule(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct gathering *g = ctx;
    struct arena *a = g->a;
    str template = raw_at(o->raw, "spec", "template", "target", NULL);
    struct guard_schedule s = {.name = arena_printf(a, "%s/%s", o->ns, o->name),
                               .kind = text_or(raw_text(a, template, "kind", NULL)),
                               .target_ns = text_or(raw_text(a, template, "namespace", NULL)),
                               .target = text_or(raw_text(a, template, "name", NULL))};
    if (!streq(o->ns, g->cx->ns) ||
        schedule_policy_read(a, raw_at(o->raw, "spec", "retention", NULL), &s.policy, NULL) < 0)
        s.policy = (struct retention_policy){0};
    *vec_add(&g->schedules) = s;
    return 0;
}

static void *keep(struct arena *a, const void *p, size_t n)
{
    void *copy = arena_alloc(a, n + 1);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

static const struct guard_backup *guard_backups(struct arena *a, const struct known *k)
{
    struct guard_backup *p = arena_alloc(a, (k->backups.n + 1) * sizeof *p);
    for (size_t i = 0; i < k->backups.n; i++) {
        const struct known_backup *b = &k->backups.p[i];
        p[i] =
            (struct guard_backup){.name = b->full,
                                  .uid = b->uid,
                                  .snapshot = *b->snapshot ? b->snapshot : NULL,
                                  /* One that is just being made for a snapshot denies nothing. */
                                  .completed = streq(b->phase, "Completed") ||
                                               (!*b->phase && !streq(b->uid, b->object_uid))};
    }
    return p;
}

int known_guard(struct context *cx, struct arena *a, const struct known *k, struct guard_input *ret,
                struct err *err)
{
    struct gathering g = {.cx = cx, .a = a};
    int r = kube_list(cx->kube, &KUBE_RESTORE, NULL, seen_restore, &g, NULL, err);
    if (r == 0)
        r = kube_list(cx->kube, &KUBE_SCHEDULE, NULL, seen_schedule, &g, NULL, err);
    if (r == 0)
        *ret = (struct guard_input){
            .restores = keep(a, g.restores.p, g.restores.n * sizeof *g.restores.p),
            .restores_n = g.restores.n,
            .schedules = keep(a, g.schedules.p, g.schedules.n * sizeof *g.schedules.p),
            .schedules_n = g.schedules.n,
            .backups = guard_backups(a, k),
            .backups_n = k->backups.n,
            .now_ms = clock_wall_ms(),
        };
    vec_free(&g.restores);
    vec_free(&g.schedules);
    return r < 0 ? err_wrap(err, "listing Restores and Schedules") : 0;
}
