/* Preflight: what the engine will do next, asked and tried while it is still held. */
#include "core/clock.h"
#include "gitops/marks.h"
#include "reconciler/restore/restore.h"
#include "reconciler/restore/write.h"

enum { SOON_MS = 300, ASK_AGAIN_S = 60 };

struct rehearsal {
    struct restore *r;
    const struct application *app;
    struct restore_area back; /* the objects of the backup */
};

/* The engine's next write of a claim, tried without effect: a claim that it would refuse (or, with
 * `force`, delete) is found here and not by the engine. */
static int try_claim(struct rehearsal *h, const struct book_entry *e, struct err *err)
{
    struct restore *r = h->r;
    struct kube_write how = {.dry_run = true, .force = true};
    struct err why;
    const char *ns = *e->ns ? e->ns : h->app->content_ns;
    if (kube_apply(r->cx->kube, r->a, &KUBE_PVC, ns, e->name, e->manifest, &how, NULL, &why) < 0)
        return err_set(err, why.kind == ERR_INVALID ? ERR_REFUSED : why.kind,
                       "the engine's next write of claim %s would fail: %s", e->name, why.msg);
    return 0;
}

static const struct item *item_of(struct rehearsal *h, const struct book_entry *e,
                                  const struct kube_type **ret_type)
{
    for (size_t i = 0; i < h->back.n; i++) {
        const struct item *it = &h->back.items[i];
        const struct kube_type *t = restore_type_of(h->back.types, it);
        const char *ns = *e->ns || !*it->ns ? e->ns : h->app->content_ns;
        *ret_type = t;
        if (t && streq(it->group, e->group) && streq(t->kind, e->kind) &&
            streq(it->name, e->name) && streq(it->ns, ns) && !restore_skips(it))
            return it;
    }
    return NULL;
}

/* What the engine would delete is none of our business, unless we have just brought it back. */
static int refuse_prune(struct rehearsal *h, const struct book_entry *e, struct err *err)
{
    struct restore *r = h->r;
    const struct kube_type *t;
    const struct item *it = item_of(h, e, &t);
    struct kube_object live;
    bool there;
    if (!it)
        return 0;
    if (write_get(r, t, it->ns, it->name, &live, &there, err) < 0)
        return -1;
    if (!there || argocd_keeps(r->a, &live))
        return 0;
    return err_set(err, ERR_REFUSED,
                   "Git does not hold %s %s%s%s (any more), and the engine would delete it at its "
                   "next sync, with what was just restored. Bring it back in Git, or annotate it "
                   "with argocd.argoproj.io/sync-options=Prune=false",
                   t->kind, it->ns, *it->ns ? "/" : "", it->name);
}

static int on_rehearsal(void *ctx, const struct book_entry *e, struct err *err)
{
    if (e->prunes)
        return refuse_prune(ctx, e, err);
    if (e->seed || !e->manifest.p || !streq(e->kind, "PersistentVolumeClaim"))
        return 0;
    return try_claim(ctx, e, err);
}

static int note_asked(struct restore *r)
{
    status_set(&r->st, "cursor", json_integer(clock_wall_ms() / 1000));
    r->wait_ms = SOON_MS;
    return restore_wait(r, "asking the engine to compare with Git");
}

/* Its books are of the time before it was held. The cursor says when all were asked, or one of them
 * again. */
static int ask_to_look_again(struct restore *r, struct err *err)
{
    struct application app;
    bool asked = false;
    int more;
    for (size_t at = 0; (more = restore_hold_next(r, &at, &app, err)) > 0;) {
        if (!app.engine->look_again)
            continue;
        if (app.engine->look_again(r->cx->kube, r->a, &app, false, err) < 0)
            return err_wrap(err, "%s", restore_hold_name(r, at - 1));
        asked = true;
    }
    if (more < 0)
        return -1;
    return asked ? note_asked(r) : STEP_NEXT;
}

/* STEP_NEXT: the books of this one are of now. */
static int look_at(struct restore *r, const struct application *app, const char *name, bool may_ask,
                   struct err *err)
{
    enum looked looked;
    char why[400] = "";
    if (!app->engine->looked)
        return STEP_NEXT;
    if (app->engine->looked(r->cx->kube, r->a, app, &looked, why, sizeof why, err) < 0)
        return err_wrap(err, "%s", name);
    if (looked == LOOK_FAILED && may_ask)
        return app->engine->look_again(r->cx->kube, r->a, app, true, err) < 0 ? -1 : note_asked(r);
    return looked == LOOKED ? STEP_NEXT : restore_wait(r, "%s: %s", name, why);
}

static int look_again(struct restore *r, struct err *err)
{
    json_int_t asked_s = json_integer_value(json_object_get(r->st.now, "cursor"));
    json_int_t ago_s = clock_wall_ms() / 1000 - asked_s;
    struct application app;
    int more;
    if (!asked_s)
        return ask_to_look_again(r, err);
    for (size_t at = 0; (more = restore_hold_next(r, &at, &app, err)) > 0;) {
        int rc =
            look_at(r, &app, restore_hold_name(r, at - 1), ago_s < 0 || ago_s >= ASK_AGAIN_S, err);
        if (rc != STEP_NEXT)
            return rc;
    }
    return more < 0 ? -1 : STEP_NEXT;
}

int restore_preflight(struct restore *r, struct err *err)
{
    struct application app;
    struct rehearsal h = {.r = r, .app = &app};
    int rc = look_again(r, err), more;
    if (rc != STEP_NEXT)
        return rc;
    if (restore_open_area(r, SNAPSHOT_RESOURCES, &h.back, err) < 0)
        return -1;
    for (size_t at = 0; (more = restore_hold_next(r, &at, &app, err)) > 0;)
        if (app.engine->books(r->cx->kube, r->a, &app, on_rehearsal, &h, err) < 0)
            return err_wrap(err, "%s", restore_hold_name(r, at - 1));
    return more < 0 ? -1 : STEP_NEXT;
}
