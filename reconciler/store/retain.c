#include "reconciler/store/retain.h"

#include "core/clock.h"
#include "core/log.h"
#include "kube/event.h"
#include "reconciler/background.h"
#include "reconciler/status.h"
#include "reconciler/store/lock.h"
#include "store/prune.h"

#include <stdio.h>

struct pass {
    struct context *cx;
    struct arena *a;
    const char *store, *content;
    struct opened opened;
    struct known known;
    struct guard_input in;
    struct guard_verdict *verdicts;
    struct store_ids asked, going;
};

bool retain_is_asked(const char *request, const char *handled)
{
    str word = str_of(request);
    return request && str_is(str_cut(&word, ':'), FORGET_REQUEST) && !streq(request, handled);
}

int retain_minimum(const struct kube_object *store, struct arena *a, int64_t *ret_ms,
                   struct err *err)
{
    const char *text = raw_text(a, store->raw, "spec", "minRetention", NULL);
    *ret_ms = 0;
    if (text && (!clock_parse_duration(str_of(text), ret_ms) || *ret_ms < 0))
        return err_set(err, ERR_INVALID, "BackupStore %s: spec.minRetention '%.40s' is no time",
                       store->name, text);
    return 0;
}

/* ---- what there is ---- */

static const struct known_backup *backup_of(const struct pass *p, const struct snapshot *s)
{
    struct recorded r;
    if (!recorded_read(p->a, s, &r))
        return NULL;
    return known_by_uid(&p->known, p->store, r.uid);
}

static bool is_asked(const struct known_backup *b)
{
    return b && retain_is_asked(b->request, b->handled);
}

static int look(struct pass *p, struct err *err)
{
    struct snapshot_list list;
    struct kube_object store;
    size_t unreadable = 0;
    int64_t minimum;
    /* Snapshots first: the Backup of one that is in the list is there, running or ended. */
    if (kube_get(p->cx->kube, p->a, &KUBE_BACKUPSTORE, NULL, p->store, &store, err) < 0 ||
        retain_minimum(&store, p->a, &minimum, err) < 0 ||
        snapshot_list_all(p->opened.repo, NULL, p->a, &list, &unreadable, err) < 0 ||
        known_read(p->cx, p->a, &p->known, err) < 0 ||
        known_guard(p->cx, p->a, &p->known, &p->in, err) < 0)
        return -1;
    p->in.snapshots = list.p;
    p->in.snapshots_n = list.n;
    p->in.unreadable = unreadable;
    p->in.min_retention_ms = minimum;
    for (size_t i = 0; i < list.n; i++)
        if (is_asked(backup_of(p, &list.p[i])))
            *vec_add(&p->asked) = list.p[i].id;
    p->in.asked = p->asked.p;
    p->in.asked_n = p->asked.n;
    p->verdicts = arena_alloc(p->a, (list.n + 1) * sizeof *p->verdicts);
    guard_judge(&p->in, p->a, p->verdicts);
    for (size_t i = 0; i < list.n; i++)
        if (p->verdicts[i].forget)
            *vec_add(&p->going) = list.p[i].id;
    return 0;
}

static int forget(struct pass *p, struct err *err)
{
    struct lock_options lock = store_lock_options(p->cx, p->a);
    if (p->going.n == 0)
        return 0;
    if (store_may_write(&p->opened, err) < 0 ||
        forget_snapshots(p->opened.repo, &lock, p->going.p, p->going.n, NULL, err) < 0)
        return err_wrap(err, "forgetting %zu snapshots in %s", p->going.n, p->opened.path);
    return 0;
}

/* ---- what people see ---- */

/* A condition of a Backup that has ended, and the answer to its request. */
static int answer(struct pass *p, const struct known_backup *b, const char *type,
                  const char *reason, const char *why, bool handled, struct err *err)
{
    struct status st CLEANUP(status_free) = {0};
    if (status_read(p->cx->kube, p->a, &KUBE_BACKUP, b->ns, b->name, &st, err) < 0)
        return err->kind == ERR_NOT_FOUND ? 0 : -1;
    bool news = !streq(status_message(&st, type), why);
    status_condition(&st, type, "False", reason, "%s", why);
    if (handled)
        status_set(&st, "lastHandledRequest", json_string(b->request));
    if (status_write(p->cx->kube, p->a, &st, false, err) < 0)
        return err->kind == ERR_CONFLICT ? 0 : -1;
    if (news && p->cx->events)
        (void)!kube_event_emit(p->cx->events, &st.object, true, reason, "Forget", why, err);
    return 0;
}

static bool is_expired(const struct pass *p, const struct snapshot *s)
{
    struct recorded r;
    return recorded_read(p->a, s, &r) && r.ttl_ms && p->in.now_ms - r.time_ms >= r.ttl_ms;
}

/* Those that were to go and stay. */
static int tell_kept(struct pass *p, struct err *err)
{
    for (size_t i = 0; i < p->in.snapshots_n; i++) {
        const struct snapshot *s = &p->in.snapshots[i];
        const struct known_backup *b = backup_of(p, s);
        if (!b || p->verdicts[i].forget)
            continue;
        const char *why = arena_printf(p->a, "it stays: %s", p->verdicts[i].why);
        if (is_asked(b) && answer(p, b, "Forgotten", "Kept", why, true, err) < 0)
            return -1;
        if (is_expired(p, s) && answer(p, b, "Expired", "Kept", why, false, err) < 0)
            return -1;
    }
    return 0;
}

static int tell_asked(struct pass *p, const char *reason, const char *why, bool handled)
{
    struct err ignored;
    for (size_t i = 0; i < p->known.backups.n; i++) {
        const struct known_backup *b = &p->known.backups.p[i];
        if (is_asked(b) && streq(b->store, p->store) && streq(b->content, p->content))
            (void)!answer(p, b, "Forgotten", reason, why, handled, &ignored);
    }
    return 0;
}

static int remove_backup(struct pass *p, const struct known_backup *b, const char *why,
                         struct err *err)
{
    struct kube_delete only = {.uid = b->object_uid, .grace_seconds = -1};
    struct kube_object o = {.raw = {0},
                            .api_version = "gleaner.dev/v1alpha1",
                            .kind = "Backup",
                            .ns = b->ns,
                            .name = b->name,
                            .uid = b->object_uid,
                            .resource_version = b->resource_version};
    struct err ignored;
    if (p->cx->events)
        (void)!kube_event_emit(
            p->cx->events, &o, false, "Forgotten", "Forget",
            arena_printf(p->a, "its snapshot %.8s was forgotten: %s", b->snapshot, why), &ignored);
    background_forgot(p->cx->background, b->object_uid);
    if (kube_delete(p->cx->kube, &KUBE_BACKUP, b->ns, b->name, &only, err) < 0 &&
        err->kind != ERR_NOT_FOUND && err->kind != ERR_CONFLICT)
        return err_wrap(err, "removing Backup %s", b->full);
    return 0;
}

static int remove_backups(struct pass *p, struct err *err)
{
    for (size_t i = 0; i < p->in.snapshots_n; i++) {
        const struct known_backup *b = backup_of(p, &p->in.snapshots[i]);
        if (!p->verdicts[i].forget)
            continue;
        log_line(LOG_INFO, "snapshot forgotten", "store", p->store, "namespace", p->content,
                 "backup", b ? b->full : "", "why", p->verdicts[i].why, NULL);
        if (b && remove_backup(p, b, p->verdicts[i].why, err) < 0)
            return -1;
    }
    return 0;
}

/* Counts of each Schedule with retention in this repository. */
static int tell_schedule(struct pass *p, const struct guard_schedule *g, const char *waits,
                         struct err *err)
{
    size_t kept = 0, going = 0;
    char now[CLOCK_RFC3339];
    struct recorded r;
    for (size_t i = 0; i < p->in.snapshots_n; i++) {
        const struct snapshot *s = &p->in.snapshots[i];
        if (!streq(snapshot_tag_value(s, "schedule"), g->name) || !recorded_read(p->a, s, &r))
            continue;
        kept += !p->verdicts[i].forget;
        going += p->verdicts[i].forget;
    }
    if (kept + going == 0)
        return 0;
    clock_format(p->in.now_ms, now);
    json_t *body CLEANUP_JSON =
        json_pack("{s:{s:{s:s, s:I, s:I}}}", "status", "retention", "time", now, "kept",
                  (json_int_t)kept, "forgotten", (json_int_t)(waits ? 0 : going));
    json_object_set_new(json_object_get(json_object_get(body, "status"), "retention"), "waits",
                        waits ? json_string(waits) : json_null());
    struct buf text CLEANUP(buf_free) = {0};
    struct kube_write opts = {.subresource = "status"};
    json_print(&text, body);
    str name = str_of(g->name);
    const char *ns = arena_str(p->a, str_cut(&name, '/')).p;
    if (kube_patch(p->cx->kube, p->a, &KUBE_SCHEDULE, ns, name.p, KUBE_PATCH_MERGE, buf_view(&text),
                   &opts, NULL, err) < 0)
        return err->kind == ERR_NOT_FOUND ? 0 : err_wrap(err, "Schedule %s", g->name);
    return 0;
}

static int tell_schedules(struct pass *p, const char *waits, struct err *err)
{
    for (size_t i = 0; i < p->in.schedules_n; i++)
        if (!retention_policy_is_empty(&p->in.schedules[i].policy) &&
            tell_schedule(p, &p->in.schedules[i], waits, err) < 0)
            return -1;
    return 0;
}

/* ---- the pass ---- */

/* A Restore that begins in between holds a lock by the time it has found its snapshot, so that none
 * is forgotten; or it finds none. */
static int decide_and_forget(struct pass *p, struct err *err)
{
    return look(p, err) < 0 || forget(p, err) < 0 ? -1 : 0;
}

static int run(struct pass *p, struct retain_result *ret, struct err *err)
{
    struct err why, ignored;
    if (store_open_again(p->cx, p->a, p->store, p->content, &p->opened, err) < 0)
        return err->kind == ERR_NOT_FOUND ? 0 : -1;
    if (decide_and_forget(p, &why) < 0) {
        if (why.kind == ERR_BUSY) {
            /* Always the same words: new ones would wake the Backup by its own status. */
            const char *busy = "it waits until nobody else works on the repository";
            (void)!tell_schedules(p, busy, &ignored);
            tell_asked(p, "Waiting", busy, false);
        } else if (why.kind == ERR_REFUSED) {
            tell_asked(p, "Refused", why.msg, true);
            return 0;
        }
        return err_set(err, why.kind, "%s", why.msg);
    }
    *ret = (struct retain_result){p->in.snapshots_n - p->going.n, p->going.n};
    return remove_backups(p, err) < 0 || tell_kept(p, err) < 0 || tell_schedules(p, NULL, err) < 0
               ? -1
               : 0;
}

int store_retain(struct context *cx, struct arena *a, const char *store, const char *content_ns,
                 struct retain_result *ret, struct err *err)
{
    struct pass p = {.cx = cx, .a = a, .store = store, .content = content_ns};
    *ret = (struct retain_result){0};
    int r = run(&p, ret, err);
    vec_free(&p.asked);
    vec_free(&p.going);
    known_free(&p.known);
    store_close(&p.opened);
    return r;
}
