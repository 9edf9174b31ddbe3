/* BackupStore: says in a condition whether the store can be used, and in words why not. */
#include "reconciler/status.h"
#include "reconciler/store/open.h"
#include "store/layout.h"

enum { CHECK_MS = 300000 };

static void judge(struct context *cx, struct arena *a, struct status *s)
{
    struct opened o CLEANUP(store_close) = {0};
    struct err why;
    if (store_open(cx, a, s->object.name, LAYOUT_CLUSTER, true, &o, &why) == 0)
        status_ready(s, "Opened", "the store can be written and its password opens it");
    else if (err_is_transient(&why))
        status_progress(s, "Unreachable", "%s", why.msg);
    else
        status_stalled(s, why.kind == ERR_REFUSED ? "Refused" : "Failed", "%s", why.msg);
}

int backupstore_reconcile(struct context *cx, struct arena *a, const char *ns, const char *name,
                          struct outcome *ret, struct err *err)
{
    struct status s CLEANUP(status_free) = {0};
    if (status_read(cx->kube, a, &KUBE_BACKUPSTORE, ns, name, &s, err) < 0)
        return err->kind == ERR_NOT_FOUND ? 0 : -1;
    char *before = arena_strdup(a, status_condition_is(&s, "Ready"));
    judge(cx, a, &s);
    const char *requested = kube_annotation(a, &s.object, "reconcile.fluxcd.io/requestedAt");
    if (requested)
        status_set(&s, "lastHandledReconcileAt", json_string(requested));
    if (status_write(cx->kube, a, &s, false, err) < 0)
        return -1;
    const char *now = status_condition_is(&s, "Ready");
    if (!streq(before, now) && streq(now, "False"))
        (void)!kube_event_emit(cx->events, &s.object, true, "StoreNotReady", "Check",
                               status_message(&s, "Ready"), err);
    *ret = (struct outcome){OUTCOME_AFTER, CHECK_MS};
    return 0;
}
