/* Annotations on HelmReleases, Kustomizations and Applications to Schedules.
 *
 *   gleaner.dev/protect: "true"        makes one Schedule, in gleaner's namespace
 *   gleaner.dev/schedule: "0 3 * * *"  its times (default @daily)
 *   gleaner.dev/store: NAME            its BackupStore
 *   gleaner.dev/retention: last=3      what is kept of them (reconciler/schedule/policy.h)
 *
 * The Schedule belongs to the annotation: it follows its changes and goes when the annotation or
 * the application goes. The Backups that it made stay. */
#include "core/codec.h"
#include "reconciler/manager.h"
#include "reconciler/schedule/cron.h"
#include "reconciler/schedule/policy.h"

#define SOURCE_ANNOTATION "gleaner.dev/source"
#define SOURCE_LABEL "gleaner.dev/protects"
#define DEFAULT_SCHEDULE "@daily"

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
    return arena_printf(a, "%s-%.30s-%.8s", kind, name, hex);
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

int protect_reconcile(struct context *cx, struct arena *a, const struct kube_type *t,
                      const char *ns, const char *name, struct outcome *ret, struct err *err)
{
    struct kube_object app;
    const char *schedule = schedule_name(a, t, ns, name);
    struct cron checked;
    struct err why;
    ret->what = OUTCOME_DONE;
    if (kube_get(cx->kube, a, t, ns, name, &app, err) < 0)
        return err->kind == ERR_NOT_FOUND ? unprotect(cx, a, schedule, err) : -1;
    if (!streq(kube_annotation(a, &app, "gleaner.dev/protect"), "true"))
        return unprotect(cx, a, schedule, err);
    const char *cron = kube_annotation(a, &app, "gleaner.dev/schedule");
    const char *store = kube_annotation(a, &app, "gleaner.dev/store");
    if (!cron)
        cron = DEFAULT_SCHEDULE;
    if (cron_parse(str_of(cron), &checked, &why) < 0)
        return kube_event_emit(
            cx->events, &app, true, "InvalidSchedule", "Protect",
            arena_printf(a, "annotation gleaner.dev/schedule: %s; not protected", why.msg), err);
    const char *words = kube_annotation(a, &app, "gleaner.dev/retention");
    str retention = {0};
    if (words && schedule_policy_parse(a, str_of(words), &retention, &why) < 0)
        return kube_event_emit(
            cx->events, &app, true, "InvalidRetention", "Protect",
            arena_printf(a, "annotation gleaner.dev/retention: %s; nothing of it is changed",
                         why.msg),
            err);
    struct kube_write force = {.force = true};
    if (kube_apply(cx->kube, a, &KUBE_SCHEDULE, cx->ns, schedule,
                   schedule_body(a, schedule, t, &app, cron, store, retention), &force, NULL,
                   err) < 0)
        return err_wrap(err, "Schedule %s/%s for %s %s/%s", cx->ns, schedule, t->kind, ns, name);
    return 0;
}
