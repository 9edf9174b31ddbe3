/* Plan and Volumes: what is to be kept, and one mover after the other for the claims. */
#include "reconciler/backup/backup.h"

#include "core/clock.h"
#include "kube/types.h"
#include "reconciler/mover_pod.h"
#include "reconciler/snapshot_layout.h"
#include "store/tree.h"

enum { WARNINGS_MAX = 20 };

/* ---- Plan ---- */

static json_t *texts(const char *const *p, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n && i < WARNINGS_MAX; i++)
        json_array_append_new(list, json_string(p[i]));
    if (n > WARNINGS_MAX)
        json_array_append_new(list, json_sprintf("and %zu more", n - WARNINGS_MAX));
    return list;
}

static json_t *counts(const struct plan *p)
{
    json_t *plan = plan_json(p), *summary = json_object_get(plan, "summary");
    json_t *c = json_pack(
        "{s:O, s:O, s:O, s:O, s:O}", "objects", json_object_get(summary, "objects"), "keptObjects",
        json_object_get(summary, "keptObjects"), "keptFields",
        json_object_get(summary, "keptFields"), "notKept", json_object_get(summary, "notKept"),
        "classes", json_object_get(summary, "classes"));
    json_decref(plan);
    return c;
}

/* A Restore that was given up after it began to write has left its mark on the application: what
 * stands there now is neither the old state nor the new one. */
static void add_abandoned(struct backup_run *b, const struct plan *p)
{
    for (size_t i = 0; i < p->app_count; i++) {
        const struct kube_object *o = &p->apps[i].object;
        struct hold h;
        if (!hold_read(b->a, o, &h) || !streq(h.state, "cleared") ||
            (b->safety_for && streq(h.uid, b->safety_for)))
            continue;
        json_t *list = json_object_get(b->st.now, "problems");
        if (!list)
            status_set(&b->st, "problems", list = json_array());
        if (json_array_size(list) > WARNINGS_MAX)
            json_array_remove(list, WARNINGS_MAX - 1);
        json_array_insert_new(
            list, 0,
            json_sprintf("%s %s/%s is still held by Restore %s, which was given up after it had "
                         "begun to write: what this backup holds may be half of it",
                         o->kind, o->ns, o->name, h.restore));
        return;
    }
}

void backup_set_plan(struct backup_run *b, const struct plan *p)
{
    const struct declaration *d = &p->declared;
    json_t *declared =
        json_pack("{s:s, s:s, s:s, s:s}", "engine", d->engine, "source", d->source, "revision",
                  d->revision, "reachable", reachable_name(d->reachable));
    if (d->reachable != REACHABLE_TRUE && d->why && *d->why)
        json_object_set_new(declared, "why", json_string(d->why));
    status_set(&b->st, "declared", declared);
    status_set(&b->st, "counts", counts(p));
    status_set(&b->st, "warnings", p->warning_count ? texts(p->warnings, p->warning_count) : NULL);
    status_set(&b->st, "problems", p->problem_count ? texts(p->problems, p->problem_count) : NULL);
    add_abandoned(b, p);
}

static json_t *row_new(const char *claim)
{
    return json_pack("{s:s, s:s}", "claim", claim, "phase", "Pending");
}

int backup_plan(struct backup_run *b, struct err *err)
{
    struct plan plan;
    const char *store;
    if (store_resolve(b->cx, b->a, b->store_ref, &store, err) < 0)
        return -1;
    if (plan_make(b->cx, b->a, b->kind, b->target_ns, b->target, b->keep, &plan, err) < 0) {
        if (err && err->kind == ERR_NOT_FOUND)
            return err_set(err, ERR_NOT_FOUND,
                           "there is no %s %s/%s: correct spec.target in a new Backup", b->kind,
                           b->target_ns, b->target);
        return -1;
    }
    if (plan.claim_count > SNAPSHOT_CLAIMS_MAX)
        return err_set(err, ERR_REFUSED,
                       "%s has %zu claims and one Backup takes %d: back up its parts one by one",
                       b->target, plan.claim_count, SNAPSHOT_CLAIMS_MAX);
    status_set(&b->st, "store", json_string(store));
    status_set(&b->st, "namespace", json_string(plan.ns));
    backup_set_plan(b, &plan);
    json_t *rows = json_array();
    for (size_t i = 0; i < plan.claim_count; i++)
        json_array_append_new(rows, row_new(plan.claims[i].name));
    status_set(&b->st, "volumes", rows);
    /* The password and the store are tried before any mover starts. */
    if (backup_session(b, err) < 0)
        return -1;
    char id[STORE_ID_HEX];
    store_id_hex(repository_id(b->session->opened.repo), id);
    status_set(&b->st, "repository", json_string(b->session->opened.path));
    status_set(&b->st, "repositoryID", json_string(id));
    return BACKUP_NEXT;
}

/* ---- rows ---- */

json_t *backup_rows(struct backup_run *b)
{
    return json_object_get(b->st.now, "volumes");
}

static bool row_is(json_t *row, const char *phase)
{
    return streq(json_text_at(row, "phase", NULL), phase);
}

size_t backup_rows_failed(struct backup_run *b)
{
    size_t i, n = 0;
    json_t *row;
    json_array_foreach(backup_rows(b), i, row) n += !row_is(row, "Completed");
    return n;
}

void backup_rows_again(struct backup_run *b)
{
    size_t i;
    json_t *row, *rows = json_array();
    json_array_foreach(backup_rows(b), i, row)
        json_array_append_new(rows, row_new(json_text_at(row, "claim", NULL)));
    status_set(&b->st, "volumes", rows);
}

static void row_set(json_t *row, const char *member, const char *text)
{
    if (text && *text)
        json_object_set_new(row, member, json_string(text));
    else
        json_object_del(row, member);
}

static void row_failed(json_t *row, const char *why)
{
    row_set(row, "phase", "Failed");
    row_set(row, "message", why);
}

static json_t *next_row(struct backup_run *b, size_t *ret_index)
{
    size_t i;
    json_t *row;
    json_array_foreach(backup_rows(b), i, row)
    {
        if (row_is(row, "Pending") || row_is(row, "Running")) {
            *ret_index = i;
            return row;
        }
    }
    return NULL;
}

/* ---- one claim ---- */

const char *backup_last_tree(struct backup_run *b, const char *claim)
{
    struct store_id tree;
    char hex[STORE_ID_HEX];
    const struct session *s = b->session;
    if (!s->has_last || tree_find_dir(s->opened.repo, &s->last,
                                      arena_printf(b->a, "volumes/%s", claim), &tree, NULL) < 0)
        return NULL;
    store_id_hex(&tree, hex);
    return arena_strdup(b->a, hex);
}

/* *ret: NULL if it is not there. */
static int claim_since(struct backup_run *b, const char *claim, const char **ret, struct err *err)
{
    struct kube_object o;
    struct err why;
    *ret = NULL;
    if (kube_get(b->cx->kube, b->a, &KUBE_PVC, status_text(&b->st, "namespace"), claim, &o, &why) ==
        0)
        *ret = raw_text(b->a, o.raw, "metadata", "creationTimestamp", NULL);
    else if (why.kind != ERR_NOT_FOUND) {
        if (err)
            *err = why;
        return -1;
    }
    return 0;
}

static int row_begin(struct backup_run *b, json_t *row, const char *claim, struct err *err)
{
    const char *pod, *node, *since;
    if (row_is(row, "Running"))
        return 0;
    if (claim_since(b, claim, &since, err) < 0 ||
        claim_consumer(b->cx, b->a, status_text(&b->st, "namespace"), claim, &pod, &node, err) < 0)
        return -1;
    row_set(row, "phase", "Running");
    row_set(row, "since", since);
    row_set(row, "consistency", pod ? "live" : "stopped");
    return backup_save(b, err);
}

static void row_done(json_t *row, const struct mover_report *r, const char *since)
{
    char tree[STORE_ID_HEX];
    store_id_hex(&r->tree, tree);
    row_set(row, "phase", r->problems ? "PartiallyFailed" : "Completed");
    row_set(row, "tree", tree);
    row_set(row, "root", r->root);
    json_object_set_new(row, "files", json_integer((json_int_t)r->files));
    json_object_set_new(row, "bytes", json_integer((json_int_t)r->bytes));
    json_object_set_new(row, "newBytes", json_integer((json_int_t)r->moved));
    row_set(row, "message", r->note[0] ? r->note : NULL);
    /* Before and after it was there: it was there meanwhile, and no other of its name. */
    if (json_object_get(row, "since") && !streq(json_text_at(row, "since", NULL), since)) {
        row_set(row, "phase", "PartiallyFailed");
        row_set(row, "message", "the claim was deleted or made anew while it was copied");
    }
    if (!r->problems)
        return;
    json_object_set_new(row, "problems", json_integer((json_int_t)r->problems));
    if (r->first_n)
        json_object_set_new(row, "message",
                            json_sprintf("%s %s%s", r->first[0].path, r->first[0].what,
                                         r->problems > 1 ? ", and others" : ""));
}

/* A failed mover is tried once more: nodes die, pods are evicted. One that lost its lock is no
 * fault of its own. */
static int row_again(struct backup_run *b, json_t *row, const struct mover_pod *m, struct err *err)
{
    /* One that was counted already is still on its way out: its name is not free for the next. */
    if (streq(json_text_at(row, "failedPod", NULL), m->uid)) {
        bool gone;
        if (m->leaving_ms <= MOVER_LOST_MS)
            return mover_pod_remove(b->cx, b->a, b->uid, status_text(&b->st, "namespace"),
                                    json_text_at(row, "claim", NULL), &gone, err) < 0
                       ? -1
                       : BACKUP_WAIT;
        row_failed(row,
                   arena_printf(b->a, "its mover does not end: node %s does not answer", m->node));
        return backup_save(b, err) < 0 ? -1 : BACKUP_WAIT;
    }
    const char *counter = m->cut ? "cuts" : "tries";
    json_int_t tries = json_integer_value(json_object_get(row, counter)) + 1;
    if (tries >= (m->cut ? BACKUP_CUTS : BACKUP_TRIES)) {
        row_failed(row, m->why);
        return backup_save(b, err) < 0 ? -1 : BACKUP_WAIT;
    }
    bool gone;
    const char *claim = json_text_at(row, "claim", NULL);
    /* Counted before it is removed: a controller that dies in between tries once less, not for
     * ever. */
    json_object_set_new(row, counter, json_integer(tries));
    row_set(row, "failedPod", m->uid);
    row_set(row, "message", m->why);
    if (backup_save(b, err) < 0 ||
        mover_pod_remove(b->cx, b->a, b->uid, status_text(&b->st, "namespace"), claim, &gone, err) <
            0)
        return -1;
    return BACKUP_WAIT;
}

static int row_step(struct backup_run *b, json_t *row, const char *claim, struct mover_pod *m,
                    struct err *err)
{
    struct mover_pod_spec spec = {.direction = MOVER_BACKUP,
                                  .owner_uid = b->uid,
                                  .owner = b->full,
                                  .ns = status_text(&b->st, "namespace"),
                                  .claim = claim,
                                  .store = &b->session->opened,
                                  .lock = lock_name(b->session->lock),
                                  .tree = backup_last_tree(b, claim)};
    struct err why;
    if (mover_pod_step(b->cx, b->a, &spec, m, &why) == 0)
        return 0;
    if (why.kind == ERR_REFUSED || why.kind == ERR_NOT_FOUND || why.kind == ERR_FORBIDDEN) {
        row_failed(row, why.msg);
        m->state = MOVER_WAITING;
        return backup_save(b, err) < 0 ? -1 : 1;
    }
    if (err)
        *err = why;
    return -1;
}

static int claim_step(struct backup_run *b, json_t *row, const char *claim, struct err *err)
{
    struct mover_pod m;
    const char *since;
    if (row_begin(b, row, claim, err) < 0)
        return -1;
    b->session->stored = true;
    int r = row_step(b, row, claim, &m, err);
    if (r != 0)
        return r < 0 ? -1 : BACKUP_WAIT;
    switch (m.state) {
    case MOVER_WAITING:
        row_set(row, "message", m.why);
        if (m.age_ms > BACKUP_MOVER_WAIT_MS) {
            row_failed(row, arena_printf(b->a, "its mover does not start: %s", m.why));
            return backup_save(b, err) < 0 ? -1 : BACKUP_WAIT;
        }
        break;
    case MOVER_RUNNING:
        row_set(row, "message", NULL);
        break;
    case MOVER_DONE:
        if (claim_since(b, claim, &since, err) < 0)
            return -1;
        row_done(row, &m.report, since);
        return backup_save(b, err) < 0 ? -1 : BACKUP_WAIT;
    case MOVER_FAILED:
        return row_again(b, row, &m, err);
    }
    return BACKUP_WAIT;
}

int backup_volumes(struct backup_run *b, struct err *err)
{
    size_t i;
    json_t *row = next_row(b, &i);
    if (row) {
        const char *claim = json_text_at(row, "claim", NULL);
        if (backup_session(b, err) < 0 || claim_step(b, row, claim, err) < 0)
            return -1;
        const char *message = json_text_at(row, "message", NULL);
        status_progress(&b->st, "Volumes", "copying the volume of claim %s (%zu of %zu)%s%s", claim,
                        i + 1, json_array_size(backup_rows(b)), message ? ": " : "",
                        message ? message : "");
        return BACKUP_WAIT;
    }
    bool gone;
    if (mover_pod_leave(b->cx, b->a, b->uid, status_text(&b->st, "namespace"), &gone, err) < 0)
        return -1;
    return gone ? BACKUP_NEXT : BACKUP_WAIT;
}
