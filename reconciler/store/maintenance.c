#include "reconciler/store/maintenance.h"

#include "core/clock.h"
#include "core/log.h"
#include "kube/event.h"
#include "reconciler/metrics.h"
#include "reconciler/schedule/cron.h"
#include "reconciler/store/known.h"
#include "reconciler/store/lock.h"
#include "reconciler/store/repositories.h"
#include "store/check.h"
#include "store/prune.h"

#include <stdio.h>

enum {
    BUSY_MS = 15000,
    BUSY_TRIES = 40, /* ten minutes; then the next time */
    RENEW_MS = 5 * 60 * 1000,
    DAMAGED_MAX = 50,
    MESSAGE_MAX = 500,
};

static const struct kind {
    const char *name; /* in spec.maintenance and status.maintenance */
} kinds[] = {{"prune"}, {"check"}};

struct turn {
    struct context *cx;
    struct arena *a;
    const char *store, *what;
    struct kube_object object;
    json_t *row;         /* status.maintenance.<what>, as it will be */
    struct opened *open; /* while a repository is worked on */
    struct lock *lock;   /* of a check */
    int64_t renewed_ms;
    char finding[MESSAGE_MAX]; /* the first damage of a repository */
};

/* ---- status ---- */

static void count(struct turn *t, const char *member, uint64_t n)
{
    json_int_t before = json_integer_value(json_object_get(t->row, member));
    json_object_set_new(t->row, member, json_integer(before + (json_int_t)n));
}

static void stamp(struct turn *t, const char *member)
{
    char now[CLOCK_RFC3339];
    clock_format(clock_wall_ms(), now);
    json_object_set_new(t->row, member, json_string(now));
}

/* Members that the new row lacks are taken away: a merge patch would leave them. */
static int save(struct turn *t, struct err *err)
{
    str before = raw_at(t->object.raw, "status", "maintenance", t->what, NULL), key, value;
    json_t *row CLEANUP_JSON = json_copy(t->row);
    for (struct raw_iter it = raw_iter(before); raw_next(&it, &key, &value);) {
        const char *name = raw_string(t->a, key).p;
        if (!json_object_get(row, name))
            json_object_set_new(row, name, json_null());
    }
    json_t *body CLEANUP_JSON = json_pack("{s:{s:{s:O}}}", "status", "maintenance", t->what, row);
    struct buf text CLEANUP(buf_free) = {0};
    struct kube_write opts = {.subresource = "status"};
    json_print(&text, body);
    return kube_patch(t->cx->kube, t->a, &KUBE_BACKUPSTORE, NULL, t->store, KUBE_PATCH_MERGE,
                      buf_view(&text), &opts, NULL, err);
}

static void tell(struct turn *t, bool warning, const char *reason, const char *text)
{
    struct err ignored;
    if (t->cx->events)
        (void)!kube_event_emit(t->cx->events, &t->object, warning, reason, "Maintain", text,
                               &ignored);
}

static void fail(struct turn *t, const char *ns, const struct err *why)
{
    count(t, "failures", 1);
    if (!json_object_get(t->row, "message"))
        json_object_set_new(t->row, "message",
                            json_string(arena_printf(t->a, "%s: %.400s", ns, why->msg)));
    log_err("a repository was passed over", why, "what", t->what);
}

/* ---- a repository ---- */

static int go_on(struct turn *t, struct err *err)
{
    if (t->cx->stopping && atomic_load(t->cx->stopping))
        return err_set(err, ERR_CANCELLED, "the controller is stopping");
    if (t->lock && store_keep_lock(t->cx, t->open, t->lock, err) < 0)
        return -1;
    if (clock_mono_ms() - t->renewed_ms < RENEW_MS)
        return 0;
    t->renewed_ms = clock_mono_ms();
    return store_renew(t->cx, t->open, err);
}

static int prune_progress(void *ctx, enum prune_phase phase, uint64_t done, uint64_t total,
                          struct err *err)
{
    (void)phase;
    (void)done;
    (void)total;
    return go_on(ctx, err);
}

/* What a Backup has stored so far is in no snapshot. After a restart of the controller its mover
 * works on, while the lock is one of an earlier process until the Backup goes on. BUSY until all
 * have ended; then their snapshots. */
static int wait_for_backups(struct turn *t, const char *ns, struct store_ids *snapshots,
                            struct err *err)
{
    struct store_id id;
    struct known k CLEANUP(known_free) = {0};
    if (known_read(t->cx, t->a, &k, err) < 0)
        return -1;
    for (size_t i = 0; i < k.backups.n; i++) {
        const struct known_backup *b = &k.backups.p[i];
        if (!streq(b->store, t->store) || !streq(b->content, ns))
            continue;
        if (!b->ended)
            return err_set(err, ERR_BUSY, "Backup %s is running", b->full);
        if (store_id_parse(str_of(b->snapshot), &id))
            *vec_add(snapshots) = id;
    }
    return 0;
}

static void ids_free(struct store_ids *ids)
{
    vec_free(ids);
}

static int prune(struct turn *t, const char *ns, struct opened *o, struct err *err)
{
    struct store_ids snapshots CLEANUP(ids_free) = {0};
    if (wait_for_backups(t, ns, &snapshots, err) < 0)
        return -1;
    struct prune_options options = {.lock = store_lock_options(t->cx, t->a),
                                    .known = snapshots.p,
                                    .known_n = snapshots.n,
                                    .progress = prune_progress,
                                    .ctx = t};
    struct prune_result r;
    if (store_may_write(o, err) < 0 || prune_run(o->repo, &options, &r, err) < 0)
        return -1;
    uint64_t bytes = r.removed.bytes + r.unindexed_bytes;
    count(t, "removedBytes", bytes);
    count(t, "removedPacks", r.packs_removed + r.packs_repacked + r.packs_unindexed);
    if (r.packs_refused)
        fail(t, o->path, &r.refusal);
    metrics_add("gleaner_prune_removed_bytes_total", metrics_label(t->a, "store", t->store),
                (double)bytes);
    return 0;
}

static void on_finding(void *ctx, const struct check_finding *f)
{
    struct turn *t = ctx;
    if (f->severity == CHECK_DAMAGE && !*t->finding)
        snprintf(t->finding, sizeof t->finding, "%.490s", f->text);
}

static int check_progress(void *ctx, const char *what, uint64_t done, uint64_t total,
                          struct err *err)
{
    (void)what;
    (void)done;
    (void)total;
    return go_on(ctx, err);
}

/* The Backups whose snapshots damage touches, by name. */
static int name_damaged(struct turn *t, const struct check_result *r, struct err *err)
{
    struct known k CLEANUP(known_free) = {0};
    json_t *list = json_object_get(t->row, "damaged");
    if (!list)
        json_object_set_new(t->row, "damaged", list = json_array());
    if (known_read(t->cx, t->a, &k, err) < 0)
        return -1;
    for (size_t i = 0; i < r->hurt_n; i++) {
        char hex[STORE_ID_HEX];
        const struct known_backup *b = NULL;
        store_id_hex(&r->hurt[i], hex);
        for (size_t n = 0; n < k.backups.n; n++)
            if (streq(k.backups.p[n].snapshot, hex) && streq(k.backups.p[n].store, t->store))
                b = &k.backups.p[n];
        if (json_array_size(list) < DAMAGED_MAX)
            json_array_append_new(
                list, json_string(b ? b->full : arena_printf(t->a, "snapshot %.8s", hex)));
        struct kube_object o;
        struct err ignored;
        if (b && t->cx->events &&
            kube_get(t->cx->kube, t->a, &KUBE_BACKUP, b->ns, b->name, &o, &ignored) == 0)
            (void)!kube_event_emit(
                t->cx->events, &o, true, "Damaged", "Maintain",
                arena_printf(t->a, "a check found that it cannot be read back whole: %s",
                             t->finding),
                &ignored);
    }
    return 0;
}

static int take_check(struct turn *t, const char *path, const struct check_result *r,
                      struct err *err)
{
    count(t, "snapshots", r->snapshots);
    count(t, "packs", r->packs);
    count(t, "packsRead", r->packs_read);
    count(t, "hints", r->hints);
    count(t, "damages", r->damages);
    if (!r->damages)
        return 0;
    const char *text = arena_printf(t->a, "%s: %s", path, t->finding);
    if (!json_object_get(t->row, "message"))
        json_object_set_new(t->row, "message", json_string(text));
    tell(t, true, "Damaged", text);
    return name_damaged(t, r, err);
}

static int check(struct turn *t, struct opened *o, struct err *err)
{
    struct check_options options = {.threads = 1, /* the controller's memory */
                                    .finding = on_finding,
                                    .progress = check_progress,
                                    .ctx = t};
    struct check_result r = {0};
    const char *subset = raw_text(t->a, t->object.raw, "spec", "maintenance", "readData", NULL);
    struct err ignored;
    t->finding[0] = '\0';
    if (subset && check_parse_subset(str_of(subset), &options.read, err) < 0)
        return -1;
    if (!o->read_only && store_lock(t->cx, t->a, o, false, &t->lock, err) < 0)
        return -1;
    int result = check_run(o->repo, &options, &r, err);
    if (result == 0)
        result = take_check(t, o->path, &r, err);
    (void)lock_release(t->lock, &ignored);
    t->lock = NULL;
    check_result_free(&r);
    return result;
}

/* 0: done, or given up for this time; 1: busy, again later; < 0: stopping. */
static int work_on(struct turn *t, const char *ns, struct err *err)
{
    struct opened o CLEANUP(store_close) = {0};
    struct err why;
    t->open = &o;
    t->renewed_ms = clock_mono_ms();
    int r = store_open_fresh(t->cx, t->a, t->store, ns, &o, &why);
    if (r == 0)
        r = streq(t->what, "prune") ? prune(t, ns, &o, &why) : check(t, &o, &why);
    t->open = NULL;
    if (r == 0) {
        count(t, "repositories", 1);
        return 0;
    }
    if (why.kind == ERR_CANCELLED)
        return err_set(err, why.kind, "%s", why.msg);
    json_int_t tries = json_integer_value(json_object_get(t->row, "tries"));
    if ((why.kind == ERR_BUSY || why.kind == ERR_CONFLICT) && tries < BUSY_TRIES) {
        json_object_set_new(t->row, "tries", json_integer(tries + 1));
        json_object_set_new(t->row, "waits", json_string(arena_printf(t->a, "%.400s", why.msg)));
        return 1;
    }
    if (why.kind != ERR_NOT_FOUND) /* a folder, and no repository */
        fail(t, ns, &why);
    return 0;
}

/* ---- one turn ---- */

static void finish(struct turn *t)
{
    const char *message = json_text_at(t->row, "message", NULL);
    json_int_t failures = json_integer_value(json_object_get(t->row, "failures"));
    json_int_t damages = json_integer_value(json_object_get(t->row, "damages"));
    stamp(t, "completionTime");
    json_object_del(t->row, "cursor");
    if (failures || damages)
        tell(t, true, streq(t->what, "prune") ? "PruneFailed" : "CheckFailed",
             message ? message : "see status.maintenance");
    else
        tell(t, false, streq(t->what, "prune") ? "Pruned" : "Checked",
             arena_printf(t->a, "%lld repositories",
                          (long long)json_integer_value(json_object_get(t->row, "repositories"))));
}

/* The first repository behind the cursor. *ret_again: when to go on. */
static int step(struct turn *t, int64_t *ret_again, struct err *err)
{
    const char *cursor = json_text_at(t->row, "cursor", NULL), **names;
    size_t n, i = 0;
    struct err why;
    *ret_again = 0;
    if (store_repositories(t->cx, t->a, t->store, &names, &n, &why) < 0) {
        if (why.kind == ERR_CANCELLED)
            return err_set(err, why.kind, "%s", why.msg);
        fail(t, "its repositories", &why);
        finish(t);
        return save(t, err);
    }
    while (i < n && cursor && strcmp(names[i], cursor) <= 0)
        i++;
    if (i == n) {
        finish(t);
        return save(t, err);
    }
    int r = work_on(t, names[i], err);
    if (r < 0)
        return -1;
    if (r == 0) {
        json_object_set_new(t->row, "cursor", json_string(names[i]));
        json_object_del(t->row, "tries");
        json_object_del(t->row, "waits");
    } else {
        *ret_again = BUSY_MS;
    }
    return save(t, err);
}

static bool is_under_way(const json_t *row)
{
    return json_object_get(row, "startTime") && !json_object_get(row, "completionTime");
}

/* ms until the job is due; 0: now; -1: never. */
static int64_t until_due(struct turn *t, struct err *err)
{
    const char *text = raw_text(t->a, t->object.raw, "spec", "maintenance", t->what, NULL);
    const char *since = json_text_at(t->row, "startTime", NULL);
    struct cron cron;
    int64_t from;
    if (!text)
        return -1;
    if (is_under_way(t->row))
        return 0;
    if (cron_parse(str_of(text), &cron, err) < 0) {
        if (!streq(json_text_at(t->row, "message", NULL), err->msg)) {
            json_object_set_new(t->row, "message", json_string(err->msg));
            tell(t, true, "InvalidMaintenance", err->msg);
            (void)!save(t, err);
        }
        return -1;
    }
    if (!since)
        since = raw_text(t->a, t->object.raw, "metadata", "creationTimestamp", NULL);
    if (!since || !clock_parse(str_of(since), &from))
        from = clock_wall_ms();
    int64_t next = cron_next(&cron, from);
    return next < 0 ? -1 : MAX(next - clock_wall_ms(), 0);
}

static int run_kind(struct turn *t, int64_t *ret_again, struct err *err)
{
    str raw = raw_at(t->object.raw, "status", "maintenance", t->what, NULL);
    json_t *row CLEANUP_JSON = NULL;
    struct err ignored;
    if (!raw.p || json_parse(raw, &row, &ignored) < 0 || !json_is_object(row)) {
        json_decref(row);
        row = json_object();
    }
    t->row = row;
    *ret_again = until_due(t, &ignored);
    if (*ret_again != 0)
        return 0;
    if (!is_under_way(row)) {
        json_object_clear(row);
        stamp(t, "startTime");
    }
    return step(t, ret_again, err) < 0 ? -1 : 1;
}

int maintenance_turn(struct context *cx, struct arena *a, const char *store, int64_t *ret_again,
                     struct err *err)
{
    int64_t soonest = -1;
    struct turn t = {.cx = cx, .a = a, .store = store};
    if (kube_get(cx->kube, a, &KUBE_BACKUPSTORE, NULL, store, &t.object, err) < 0) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        metrics_forget(metrics_label(a, "store", store)); /* a turn may have gone on without it */
        *ret_again = -1;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        int64_t again;
        t.what = kinds[i].name;
        int r = run_kind(&t, &again, err);
        if (r < 0)
            return -1;
        if (r > 0 && again == 0) {
            *ret_again = 0;
            return 0;
        }
        if (again >= 0 && (soonest < 0 || again < soonest))
            soonest = again;
    }
    *ret_again = soonest;
    return 0;
}

void maintenance_conditions(struct status *s)
{
    const json_t *row = json_value_at(s->now, "maintenance", "check", NULL);
    const char *message = json_text_at(row, "message", NULL);
    if (!row || !json_object_get(row, "completionTime"))
        return;
    json_int_t damages = json_integer_value(json_object_get(row, "damages"));
    json_int_t failures = json_integer_value(json_object_get(row, "failures"));
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    metrics_set("gleaner_check_damages", metrics_label(a, "store", s->object.name),
                (double)damages);
    if (damages)
        status_condition(s, "Checked", "False", "Damaged",
                         "%lld damages; status.maintenance.check.damaged names the Backups: %s",
                         (long long)damages, message ? message : "");
    else if (failures)
        status_condition(s, "Checked", "Unknown", "Failed", "not all could be checked: %s",
                         message ? message : "");
    else
        status_condition(s, "Checked", "True", "Whole", "the last check found no damage");
}
