#include "reconciler/store/preview.h"

#include "reconciler/store/retain.h"

#include "kube/client.h"

#include <stdlib.h>

/* The snapshot as its Backup describes it. */
static struct snapshot imagine(struct arena *a, const struct known_backup *b)
{
    struct snapshot s = {.time = {b->completed_ms / 1000, b->completed_ms % 1000 * 1000000}};
    const char **tags = arena_alloc(a, (8 + b->claim_tags_n) * sizeof *tags);
    char *target = arena_strdup(a, b->target);
    char *space = strchr(target, ' ');
    if (space)
        *space = '/';
    (void)store_id_parse(str_of(b->snapshot), &s.id);
    tags[s.tags_n++] = "gleaner";
    tags[s.tags_n++] = arena_printf(a, "backup:%s", b->full);
    tags[s.tags_n++] = arena_printf(a, "uid:%s", b->uid);
    tags[s.tags_n++] = arena_printf(a, "target:%s", target);
    tags[s.tags_n++] = streq(b->phase, "Completed") ? "phase:Completed" : "phase:PartiallyFailed";
    if (b->safety)
        tags[s.tags_n++] = arena_printf(a, "safety:%s", b->safety);
    if (b->schedule)
        tags[s.tags_n++] = arena_printf(a, "schedule:%s", b->schedule);
    if (b->ttl)
        tags[s.tags_n++] = arena_printf(a, "ttl:%s", b->ttl);
    for (size_t i = 0; i < b->claim_tags_n; i++)
        tags[s.tags_n++] = b->claim_tags[i];
    s.tags = tags;
    return s;
}

static int by_time(const void *x, const void *y)
{
    const struct preview_row *a = x, *b = y;
    if (a->backup->completed_ms != b->backup->completed_ms)
        return a->backup->completed_ms < b->backup->completed_ms ? -1 : 1;
    return strcmp(a->backup->full, b->backup->full);
}

static bool same_repository(const struct known_backup *x, const struct known_backup *y)
{
    return streq(x->store, y->store) && streq(x->content, y->content);
}

/* Of a store that is not there any more. */
static void stay_all(struct arena *a, struct preview_row *rows, size_t n,
                     const struct known_backup *of)
{
    for (size_t i = 0; i < n; i++)
        if (same_repository(rows[i].backup, of))
            rows[i].verdict = (struct guard_verdict){
                .why = arena_printf(a, "there is no BackupStore '%s'", of->store)};
}

/* Fills the verdicts of all rows of one repository. */
static int judge(struct context *cx, struct arena *a, const struct guard_input *common,
                 struct preview_row *rows, size_t n, const struct known_backup *of,
                 const char *const *asked, size_t asked_n, struct err *err)
{
    struct guard_input in = *common;
    struct snapshot *list = arena_alloc(a, (n + 1) * sizeof *list);
    struct store_id *ids = arena_alloc(a, (n + 1) * sizeof *ids);
    struct kube_object store;
    for (size_t i = 0; i < n; i++) {
        const struct known_backup *b = rows[i].backup;
        if (!same_repository(b, of))
            continue;
        list[in.snapshots_n++] = imagine(a, b);
        for (size_t k = 0; k < asked_n; k++)
            if (streq(b->ns, cx->ns) && streq(b->name, asked[k]))
                ids[in.asked_n++] = list[in.snapshots_n - 1].id;
    }
    in.snapshots = list;
    in.asked = ids;
    struct err why;
    if (kube_get(cx->kube, a, &KUBE_BACKUPSTORE, NULL, of->store, &store, &why) < 0) {
        if (why.kind != ERR_NOT_FOUND)
            return err_set(err, why.kind, "%s", why.msg);
        stay_all(a, rows, n, of);
        return 0;
    }
    if (retain_minimum(&store, a, &in.min_retention_ms, err) < 0)
        return -1;
    struct guard_verdict *verdicts = arena_alloc(a, (in.snapshots_n + 1) * sizeof *verdicts);
    guard_judge(&in, a, verdicts);
    for (size_t i = 0, v = 0; i < n; i++)
        if (same_repository(rows[i].backup, of))
            rows[i].verdict = verdicts[v++];
    return 0;
}

int preview_judge(struct context *cx, struct arena *a, const struct known *k,
                  const char *const *asked, size_t asked_n, struct preview_row **ret, size_t *ret_n,
                  struct err *err)
{
    struct guard_input in;
    struct preview_row *rows = arena_alloc(a, (k->backups.n + 1) * sizeof *rows);
    size_t n = 0;
    if (known_guard(cx, a, k, &in, err) < 0)
        return -1;
    for (size_t i = 0; i < k->backups.n; i++)
        if (k->backups.p[i].ended && *k->backups.p[i].snapshot)
            rows[n++].backup = &k->backups.p[i];
    if (n)
        qsort(rows, n, sizeof *rows, by_time);
    for (size_t i = 0; i < n; i++)
        if (!rows[i].verdict.why &&
            judge(cx, a, &in, rows, n, rows[i].backup, asked, asked_n, err) < 0)
            return -1;
    *ret = rows;
    *ret_n = n;
    return 0;
}
