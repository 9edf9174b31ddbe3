/* Schedules against the fake API server, on a clock that the test sets. */
#ifndef SCHEDULE_BENCH_H
#define SCHEDULE_BENCH_H

#include "store_bench.h"

#define GLEANER_NS "gleaner-system"

static int64_t now_ms;

__attribute__((unused)) static int64_t virtual_now(void)
{
    return now_ms;
}

__attribute__((unused)) static void set_clock(struct bench *b, const char *text)
{
    assert_true(clock_parse(str_of(text), &now_ms));
    clock_override_wall(virtual_now);
    fake_post(b->fake, "clock", arena_printf(b->a, "{\"now\":%lld}", (long long)now_ms));
}

__attribute__((unused)) static void up(struct bench *b)
{
    bench_up(b, NULL);
    b->cx.events = kube_events_new(b->kube, "gleaner", "pod");
    post(b, application);
    set_clock(b, "2026-03-01T12:00:00Z");
}

__attribute__((unused)) static void down(struct bench *b)
{
    kube_events_free(b->cx.events);
    clock_override_wall(NULL);
    bench_down(b, true);
}

/* A Schedule each hour of the Kustomization; `status` is a member more, or "". */
__attribute__((unused)) static void schedule(struct bench *b, const char *name, const char *status)
{
    post(b, arena_printf(b->a,
                         "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Schedule','metadata':{"
                         "'name':'%s','namespace':'" GLEANER_NS "','uid':'uid-%s',"
                         "'creationTimestamp':'2026-03-01T00:30:00Z'},'spec':{'schedule':"
                         "'@hourly','template':{'target':{'kind':'Kustomization','namespace':"
                         "'flux-system','name':'app'}}}%s}]",
                         name, name, status));
}

__attribute__((unused)) static int turn(struct bench *b, const char *name, struct outcome *ret)
{
    struct err err;
    *ret = (struct outcome){0};
    int r = schedule_reconcile(&b->cx, b->a, GLEANER_NS, name, ret, &err);
    if (r < 0)
        fprintf(stderr, "turn: %s\n", err.msg);
    return r;
}

__attribute__((unused)) static struct outcome turn_well(struct bench *b, const char *name)
{
    struct outcome o;
    assert_int_equal(turn(b, name, &o), 0);
    return o;
}

__attribute__((unused)) static bool schedule_there(struct bench *b, const char *name,
                                                   struct kube_object *ret)
{
    struct err err;
    if (kube_get(b->kube, b->a, &KUBE_SCHEDULE, GLEANER_NS, name, ret, &err) == 0)
        return true;
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    return false;
}

struct noted {
    struct bench *b;
    const char *reason, *note;
    int n;
};

__attribute__((unused)) static int see_event(void *ctx, const struct kube_object *o,
                                             struct err *err)
{
    (void)err;
    struct noted *e = ctx;
    const char *note = raw_text(e->b->a, o->raw, "note", NULL);
    e->n += streq(raw_text(e->b->a, o->raw, "reason", NULL), e->reason) && strstr(note, e->note);
    return 0;
}

/* How many say so. */
__attribute__((unused)) static int events(struct bench *b, const char *reason, const char *note)
{
    struct noted e = {.b = b, .reason = reason, .note = note};
    struct err err;
    assert_int_equal(kube_list(b->kube, &KUBE_EVENT, NULL, see_event, &e, NULL, &err), 0);
    return e.n;
}

#endif
