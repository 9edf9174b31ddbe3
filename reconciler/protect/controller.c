/* Annotations on HelmReleases, Kustomizations and Applications to Schedules.
 *
 *   gleaner.dev/protect: "true"        makes one Schedule, in gleaner's namespace; "false": none
 *   gleaner.dev/schedule: "0 3 * * *"  its times (default @daily)
 *   gleaner.dev/store: NAME            its BackupStore
 *   gleaner.dev/retention: last=3      what is kept of them (reconciler/schedule/policy.h)
 *
 * The Schedule belongs to the annotation: it follows its changes and goes when the annotation or
 * the application goes. The Backups that it made stay. An annotation that is not understood changes
 * nothing. */
#include "core/codec.h"
#include "core/log.h"
#include "kube/types.h"
#include "reconciler/protect/protect.h"
#include "reconciler/schedule/cron.h"
#include "reconciler/schedule/policy.h"

#define SOURCE_ANNOTATION "gleaner.dev/source"
#define SOURCE_LABEL "gleaner.dev/protects"
#define DEFAULT_SCHEDULE "@daily"

enum { AGAIN_MS = 3600000 };

/* "helmrelease-shop-3f2a91cc": readable, and unlike any other application's. */
static const char *schedule_name(struct arena *a, const struct kube_type *t, const char *ns,
                                 const char *name)
{
    uint8_t hash[32];
    char hex[65], *kind = arena_strdup(a, t->kind);
    const char *id = arena_printf(a, "%s/%s/%s", t->kind, ns, name);
    sha256(id, strlen(id), hash);
    hex_encode(hash, sizeof hash, hex);
    for (char *c = kind; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
    size_t n = MIN(strlen(name), (size_t)30);
    while (n > 0 && name[n - 1] == '.') /* no part of a name begins with '-' */
        n--;
    return arena_printf(a, "%s-%.*s-%.8s", kind, (int)n, name, hex);
}

static void add_member(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, "\"%s\":", name);
    raw_add_string(b, str_of(value));
}

static str schedule_body(struct arena *a, const char *schedule, const struct kube_type *t,
                         const struct kube_object *app, const char *cron, const char *store,
                         str retention)
{
    struct buf b CLEANUP(buf_free) = {0};
    buf_puts(&b, "{\"apiVersion\":\"gleaner.dev/v1alpha1\",\"kind\":\"Schedule\",\"metadata\":{");
    add_member(&b, "name", schedule);
    buf_puts(&b, ",\"labels\":{\"" SOURCE_LABEL "\":\"application\"},\"annotations\":{");
    add_member(&b, SOURCE_ANNOTATION, arena_printf(a, "%s/%s/%s", t->kind, app->ns, app->name));
    buf_puts(&b, "}},\"spec\":{");
    add_member(&b, "schedule", cron);
    if (retention.p) {
        buf_puts(&b, ",\"retention\":");
        buf_str(&b, retention);
    }
    buf_puts(&b, ",\"template\":{\"target\":{");
    add_member(&b, "kind", t->kind);
    buf_putc(&b, ',');
    add_member(&b, "name", app->name);
    buf_putc(&b, ',');
    add_member(&b, "namespace", app->ns);
    buf_putc(&b, '}');
    if (store) {
        buf_puts(&b, ",\"storeRef\":{");
        add_member(&b, "name", store);
        buf_putc(&b, '}');
    }
    buf_puts(&b, "}}}");
    return arena_str(a, buf_view(&b));
}

/* Deletes the Schedule if an annotation made it. */
static int unprotect(struct context *cx, struct arena *a, const char *schedule, struct err *err)
{
    struct kube_object o;
    if (kube_get(cx->kube, a, &KUBE_SCHEDULE, cx->ns, schedule, &o, err) < 0)
        return err->kind == ERR_NOT_FOUND ? 0 : -1;
    if (!kube_label(a, &o, SOURCE_LABEL))
        return 0;
    struct kube_delete only = {.uid = o.uid, .grace_seconds = -1};
    if (kube_delete(cx->kube, &KUBE_SCHEDULE, cx->ns, schedule, &only, err) < 0)
        return err->kind == ERR_NOT_FOUND ? 0 : -1;
    return 0;
}

static int found(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)o;
    (void)err;
    *(bool *)ctx = true;
    return 0;
}

/* Whether the application is gone. A GET says NOT_FOUND also while its type is not served at all,
 * as in the middle of an engine's upgrade; a list does so only then. */
static int look_for(struct context *cx, struct arena *a, const struct kube_type *t, const char *ns,
                    const char *name, bool *ret_gone, struct err *err)
{
    bool there = false;
    struct kube_list only = {.ns = ns, .field_selector = arena_printf(a, "metadata.name=%s", name)};
    int r = kube_list(cx->kube, t, &only, found, &there, NULL, err);
    if (r < 0 && err->kind != ERR_NOT_FOUND)
        return -1;
    *ret_gone = r == 0 && !there;
    return 0;
}

int protect_look_at(struct context *cx, struct arena *a, const struct kube_object *schedule,
                    bool *ret_gone, struct err *err)
{
    bool gone;
    const char *source = kube_annotation(a, schedule, SOURCE_ANNOTATION);
    *ret_gone = false;
    if (!kube_label(a, schedule, SOURCE_LABEL) || !source)
        return 0;
    str name = str_of(source), kind = str_cut(&name, '/'), ns = str_cut(&name, '/');
    const struct kube_type *t = kube_type_by_kind(arena_str(a, kind).p);
    bool protectable = t == &KUBE_HELMRELEASE || t == &KUBE_KUSTOMIZATION || t == &KUBE_APPLICATION;
    if (!protectable || !name.n ||
        !streq(schedule_name(a, t, arena_str(a, ns).p, name.p), schedule->name))
        return 0;
    if (look_for(cx, a, t, arena_str(a, ns).p, name.p, &gone, err) < 0 ||
        (gone && unprotect(cx, a, schedule->name, err) < 0))
        return -1;
    *ret_gone = gone;
    return 0;
}

/* Tells people of an annotation that is not understood, and what that means. */
static int refuse(struct context *cx, struct arena *a, const struct kube_object *app,
                  const char *schedule, const char *reason, const char *what, struct err *err)
{
    struct kube_object o;
    bool there = kube_get(cx->kube, a, &KUBE_SCHEDULE, cx->ns, schedule, &o, err) == 0;
    if (!there && err->kind != ERR_NOT_FOUND)
        return -1;
    const char *note =
        there ? arena_printf(a, "annotation %s; Schedule %s/%s goes on as it was", what, cx->ns,
                             schedule)
              : arena_printf(a, "annotation %s; there is no Schedule: it is not protected", what);
    log_line(LOG_WARN, note, "kind", app->kind, "namespace", app->ns, "name", app->name, NULL);
    return cx->events ? kube_event_emit(cx->events, app, true, reason, "Protect", note, err) : 0;
}

/* Makes or changes the Schedule as the annotations say. */
static int protect(struct context *cx, struct arena *a, const struct kube_type *t,
                   const struct kube_object *app, const char *schedule, struct err *err)
{
    struct cron checked;
    struct err why;
    const char *cron = kube_annotation(a, app, "gleaner.dev/schedule");
    const char *store = kube_annotation(a, app, "gleaner.dev/store");
    const char *words = kube_annotation(a, app, "gleaner.dev/retention");
    str retention = {0};
    if (!cron)
        cron = DEFAULT_SCHEDULE;
    if (cron_parse(str_of(cron), &checked, &why) < 0)
        return refuse(cx, a, app, schedule, "InvalidSchedule",
                      arena_printf(a, "gleaner.dev/schedule: %s", why.msg), err);
    if (words && schedule_policy_parse(a, str_of(words), &retention, &why) < 0)
        return refuse(cx, a, app, schedule, "InvalidRetention",
                      arena_printf(a, "gleaner.dev/retention: %s", why.msg), err);
    struct kube_write force = {.force = true};
    if (kube_apply(cx->kube, a, &KUBE_SCHEDULE, cx->ns, schedule,
                   schedule_body(a, schedule, t, app, cron, store, retention), &force, NULL,
                   err) < 0)
        return err_wrap(err, "Schedule %s/%s for %s %s/%s", cx->ns, schedule, t->kind, app->ns,
                        app->name);
    return 0;
}

int protect_reconcile(struct context *cx, struct arena *a, const struct kube_type *t,
                      const char *ns, const char *name, struct outcome *ret, struct err *err)
{
    struct kube_object app;
    const char *schedule = schedule_name(a, t, ns, name);
    bool gone;
    ret->what = OUTCOME_DONE;
    if (kube_get(cx->kube, a, t, ns, name, &app, err) < 0) {
        if (err->kind != ERR_NOT_FOUND || look_for(cx, a, t, ns, name, &gone, err) < 0)
            return -1;
        return gone ? unprotect(cx, a, schedule, err) : 0;
    }
    const char *wanted = kube_annotation(a, &app, "gleaner.dev/protect");
    if (!wanted || streq(wanted, "false"))
        return unprotect(cx, a, schedule, err);
    /* Nothing tells for sure that its Schedule was deleted: it is made again by time. */
    *ret = (struct outcome){OUTCOME_AFTER, AGAIN_MS};
    if (!streq(wanted, "true"))
        return refuse(
            cx, a, &app, schedule, "InvalidProtect",
            arena_printf(a, "gleaner.dev/protect: '%.40s' is neither true nor false", wanted), err);
    return protect(cx, a, t, &app, schedule, err);
}
