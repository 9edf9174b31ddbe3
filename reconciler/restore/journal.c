#include "reconciler/restore/journal.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/clock.h"
#include "core/log.h"

struct lease_holder restore_holder(const struct restore *r)
{
    return (struct lease_holder){
        .type = &KUBE_RESTORE, .ns = r->ns, .name = r->name, .uid = r->uid};
}

int restore_save(struct restore *r, struct err *err)
{
    return status_write(r->cx->kube, r->a, &r->st, false, err);
}

void restore_event(struct restore *r, bool warning, bool everywhere, const char *reason,
                   const char *fmt, ...)
{
    char note[1000];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(note, sizeof note, fmt, ap);
    va_end(ap);
    text_mend(note);
    log_line(warning ? LOG_WARN : LOG_INFO, note, "restore", r->name, "reason", reason, NULL);
    if (!r->cx->events)
        return;
    struct err why;
    if (kube_event_emit(r->cx->events, &r->st.object, warning, reason, "Restore", note, &why) < 0)
        log_err("event not written", &why, "restore", r->name);
    for (size_t i = 0; everywhere && i < restore_hold_count(r); i++) {
        struct application app;
        bool gone = false;
        if (restore_hold_read(r, i, &app, &gone, &why) < 0 || gone)
            continue;
        if (kube_event_emit(r->cx->events, &app.object, warning, reason, "Restore", note, &why) < 0)
            log_err("event not written", &why, "restore", r->name);
    }
}

int restore_wait(struct restore *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->why, sizeof r->why, fmt, ap);
    va_end(ap);
    text_mend(r->why);
    return STEP_WAIT;
}

void journal_stamp(struct restore *r, const char *member)
{
    char now[CLOCK_RFC3339];
    clock_format(clock_wall_ms(), now);
    status_set(&r->st, member, json_string(now));
}

int journal_finalizer(struct restore *r, bool wanted, struct err *err)
{
    json_t *list CLEANUP_JSON = NULL;
    str raw = raw_at(r->st.object.raw, "metadata", "finalizers", NULL);
    if (!raw.p)
        list = json_array();
    else if (json_parse(raw, &list, err) < 0)
        return -1;
    size_t at = json_array_size(list), i;
    json_t *v;
    json_array_foreach(list, i, v) if (streq(json_string_value(v), RESTORE_FINALIZER)) at = i;
    if ((at < json_array_size(list)) == wanted)
        return 0;
    if (wanted)
        json_array_append_new(list, json_string(RESTORE_FINALIZER));
    else
        json_array_remove(list, at);
    json_t *body CLEANUP_JSON =
        json_pack("{s:{s:s, s:s, s:O}}", "metadata", "uid", r->uid, "resourceVersion",
                  r->st.object.resource_version, "finalizers", list);
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    struct err why;
    struct kube_object now;
    if (kube_patch(r->cx->kube, r->a, &KUBE_RESTORE, r->ns, r->name, KUBE_PATCH_MERGE,
                   buf_view(&text), NULL, &now, &why) < 0) {
        if (why.kind == ERR_NOT_FOUND && !wanted)
            return 0;
        return err_set(err, why.kind, "finalizer of Restore %s: %s", r->name, why.msg);
    }
    r->st.object = now;
    return 0;
}

int journal_enter(struct restore *r, enum restore_phase p, struct err *err)
{
    const struct phase *ph = &restore_phases[p];
    status_set(&r->st, "phase", json_string(ph->name));
    status_set(&r->st, "cursor", NULL);
    status_set(&r->st, "message", NULL);
    journal_stamp(r, "phaseStartedAt");
    if (!(ph->flags & PHASE_ENDS) && p != PHASE_HELD) {
        const char *ending = json_text_at(r->st.now, "ending", "message", NULL);
        if (ending)
            status_progress(&r->st, "GoingBack", "%s; undoing %s", ending, ph->name);
        else
            status_progress(&r->st, ph->reason, "%s: %s", ph->name, ph->doing);
        status_condition(&r->st, "Held", NULL, "", "%s", "");
        status_set(&r->st, "heldIn", NULL);
    }
    if (status_write(r->cx->kube, r->a, &r->st, true, err) < 0)
        return -1;
    log_line(LOG_INFO, "restore enters a phase", "restore", r->name, "phase", ph->name, NULL);
    r->phase = p;
    return 0;
}

const char *journal_text(struct arena *a, const char *text)
{
    struct buf raw CLEANUP(buf_free) = {0};
    raw_add_string(&raw, str_of(text));
    return raw_string(a, buf_view(&raw)).p;
}

int64_t restore_phase_age_s(struct restore *r)
{
    int64_t since;
    if (!clock_parse(str_of(status_text(&r->st, "phaseStartedAt")), &since))
        return 0;
    return (clock_wall_ms() - since) / 1000;
}
