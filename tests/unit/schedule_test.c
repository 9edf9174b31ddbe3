/* Schedules, and the annotations that make them, against the fake API server on a clock that the
 * test sets. */
#include "store_bench.h"

#define GLEANER_NS "gleaner-system"
#define LONG_NAME "s23456789-123456789-123456789-123456789-123456789-123456789-1--456789"

static int64_t now_ms;

static int64_t virtual_now(void)
{
    return now_ms;
}

static void set_clock(struct bench *b, const char *text)
{
    assert_true(clock_parse(str_of(text), &now_ms));
    clock_override_wall(virtual_now);
    fake_post(b->fake, "clock", arena_printf(b->a, "{\"now\":%lld}", (long long)now_ms));
}

static void up(struct bench *b)
{
    bench_up(b, NULL);
    b->cx.events = kube_events_new(b->kube, "gleaner", "pod");
    post(b, application);
    set_clock(b, "2026-03-01T12:00:00Z");
}

static void down(struct bench *b)
{
    kube_events_free(b->cx.events);
    clock_override_wall(NULL);
    bench_down(b, true);
}

/* A Schedule each hour of the Kustomization; `status` is a member more, or "". */
static void schedule(struct bench *b, const char *name, const char *status)
{
    post(b, arena_printf(b->a,
                         "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Schedule','metadata':{"
                         "'name':'%s','namespace':'" GLEANER_NS "','uid':'uid-%s',"
                         "'creationTimestamp':'2026-03-01T00:30:00Z'},'spec':{'schedule':"
                         "'@hourly','template':{'target':{'kind':'Kustomization','namespace':"
                         "'flux-system','name':'app'}}}%s}]",
                         name, name, status));
}

/* A Backup of the Schedule "s"; notes: its annotations. */
static void backup(struct bench *b, const char *name, const char *notes, const char *status)
{
    post(b, arena_printf(b->a,
                         "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Backup','metadata':{'name':"
                         "'%s','namespace':'" GLEANER_NS "','labels':{'gleaner.dev/schedule':'s'},"
                         "'annotations':{%s}},'spec':{'target':{'kind':'Kustomization',"
                         "'namespace':'flux-system','name':'app'}},'status':%s}]",
                         name, notes, status));
}

static int turn(struct bench *b, const char *name, struct outcome *ret)
{
    struct err err;
    *ret = (struct outcome){0};
    int r = schedule_reconcile(&b->cx, b->a, GLEANER_NS, name, ret, &err);
    if (r < 0)
        fprintf(stderr, "turn: %s\n", err.msg);
    return r;
}

static struct outcome turn_well(struct bench *b, const char *name)
{
    struct outcome o;
    assert_int_equal(turn(b, name, &o), 0);
    return o;
}

static bool schedule_there(struct bench *b, const char *name, struct kube_object *ret)
{
    struct err err;
    if (kube_get(b->kube, b->a, &KUBE_SCHEDULE, GLEANER_NS, name, ret, &err) == 0)
        return true;
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    return false;
}

static const char *status_of(struct bench *b, const char *name, const char *member)
{
    struct kube_object o;
    assert_true(schedule_there(b, name, &o));
    const char *text = raw_text(b->a, o.raw, "status", member, NULL);
    return text ? text : "";
}

/* "status reason: message" of the condition Ready. */
static const char *ready_of(struct bench *b, const char *name)
{
    struct kube_object o;
    assert_true(schedule_there(b, name, &o));
    struct raw_iter it = raw_iter(raw_at(o.raw, "status", "conditions", NULL));
    str key, c;
    while (raw_next(&it, &key, &c))
        if (raw_is(raw_get(c, "type"), "Ready"))
            return arena_printf(b->a, "%s %s: %s", raw_text(b->a, c, "status", NULL),
                                raw_text(b->a, c, "reason", NULL),
                                raw_text(b->a, c, "message", NULL));
    return "";
}

#define SAYS(text, part)                                                                           \
    do {                                                                                           \
        if (!strstr(text, part))                                                                   \
            fail_msg("'%s' does not say '%s'", text, part);                                        \
    } while (0)

struct noted {
    struct bench *b;
    const char *reason, *note;
    int n;
};

static int see_event(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct noted *e = ctx;
    const char *note = raw_text(e->b->a, o->raw, "note", NULL);
    e->n += streq(raw_text(e->b->a, o->raw, "reason", NULL), e->reason) && strstr(note, e->note);
    return 0;
}

/* How many say so. */
static int events(struct bench *b, const char *reason, const char *note)
{
    struct noted e = {.b = b, .reason = reason, .note = note};
    struct err err;
    assert_int_equal(kube_list(b->kube, &KUBE_EVENT, NULL, see_event, &e, NULL, &err), 0);
    return e.n;
}

static void a_clock_that_was_ahead(void **state)
{
    (void)state;
    struct bench b;
    up(&b);
    schedule(&b, "s", ",'status':{'lastScheduleTime':'2027-01-01T00:00:00Z'}");
    turn_well(&b, "s");
    assert_string_equal(status_of(&b, "s", "lastScheduleTime"), "2026-03-01T12:00:00Z");
    assert_string_equal(status_of(&b, "s", "nextScheduleTime"), "2026-03-01T13:00:00Z");
    assert_int_equal(backups(&b), 0);
    /* Each turn from now would never come to the next hour. */
    set_clock(&b, "2026-03-01T12:59:00Z");
    turn_well(&b, "s");
    set_clock(&b, "2026-03-01T13:00:01Z");
    turn_well(&b, "s");
    assert_int_equal(backups(&b), 1);
    down(&b);
}

/* It has used a name before its time. */
static void a_name_that_was_used_early(void **state)
{
    (void)state;
    static const struct {
        const char *made;
        size_t backups;
    } rows[] = {{"2026-02-28T09:00:00Z", 2}, {"2026-03-01T12:00:01Z", 1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        up(&b);
        schedule(&b, "s", "");
        post(&b, arena_printf(b.a,
                              "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Backup','metadata':{"
                              "'name':'s-202603011200','namespace':'" GLEANER_NS "',"
                              "'creationTimestamp':'%s'},'status':{'phase':'Completed'}}]",
                              rows[i].made));
        turn_well(&b, "s");
        assert_int_equal(backups(&b), rows[i].backups);
        assert_string_equal(status_of(&b, "s", "lastBackup"),
                            i == 0 ? "s-202603011200-again" : "s-202603011200");
        down(&b);
    }
}

static void what_does_not_run_does_not_block(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"'gleaner.dev/backup-uid':'x'", "{}"},
        {"", "{'conditions':[{'type':'Stalled','status':'True','reason':'InvalidTTL'}]}"},
        {"'gleaner.dev/schedule':'another'", "{'phase':'Volumes'}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        up(&b);
        schedule(&b, "s", "");
        backup(&b, "there", rows[i][0], rows[i][1]);
        turn_well(&b, "s");
        if (backups(&b) != 2)
            fail_msg("row %zu: %s", i, ready_of(&b, "s"));
        down(&b);
    }
}

static void what_runs_is_waited_for(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "{}", "{'phase':'Volumes'}",
        "{'phase':'Plan','conditions':[{'type':'Stalled','status':'False'}]}"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench b;
        up(&b);
        schedule(&b, "s", "");
        backup(&b, "there", "'gleaner.dev/schedule':'s'", rows[i]);
        turn_well(&b, "s");
        assert_int_equal(backups(&b), 1);
        SAYS(ready_of(&b, "s"), "True Waiting: Backup there is still running");
        down(&b);
    }
}

static void a_refused_create_is_told(void **state)
{
    (void)state;
    struct bench b;
    struct outcome o;
    up(&b);
    schedule(&b, "s", "");
    fake_post(
        b.fake, "faults",
        "{\"match\":{\"method\":\"POST\",\"path\":\"/backups\"},\"times\":0,\"do\":\"status\","
        "\"code\":403,\"message\":\"exceeded quota: few\"}");
    assert_int_equal(turn(&b, "s", &o), -1);
    SAYS(ready_of(&b, "s"), "False BackupNotMade: ");
    SAYS(ready_of(&b, "s"), "exceeded quota: few");
    assert_string_equal(status_of(&b, "s", "nextScheduleTime"), "2026-03-01T13:00:00Z");
    assert_int_equal(turn(&b, "s", &o), -1);
    assert_int_equal(events(&b, "BackupNotMade", ""), 1);
    fake_clear_faults(b.fake);
    turn_well(&b, "s");
    SAYS(ready_of(&b, "s"), "True Scheduled");
    assert_int_equal(backups(&b), 1);
    down(&b);
}

/* A webhook that does not answer is a 500, and may answer soon. */
static void trouble_that_may_pass(void **state)
{
    (void)state;
    struct bench b;
    struct outcome o;
    up(&b);
    schedule(&b, "s", "");
    fake_post(
        b.fake, "faults",
        "{\"match\":{\"method\":\"POST\",\"path\":\"/backups\"},\"times\":0,\"do\":\"status\","
        "\"code\":500,\"message\":\"failed calling webhook\"}");
    assert_int_equal(turn(&b, "s", &o), -1);
    SAYS(ready_of(&b, "s"), "Unknown BackupNotMade: ");
    SAYS(ready_of(&b, "s"), "failed calling webhook");
    assert_int_equal(events(&b, "BackupNotMade", ""), 0);
    fake_clear_faults(b.fake);
    turn_well(&b, "s");
    SAYS(ready_of(&b, "s"), "True Scheduled");
    down(&b);
}

/* 63 characters of its name end in '-': no label may. */
static void a_long_name(void **state)
{
    (void)state;
    struct bench b;
    struct kube_object o;
    up(&b);
    schedule(&b, LONG_NAME, "");
    turn_well(&b, LONG_NAME);
    assert_true(get(&b, LONG_NAME "-202603011200", &o));
    const char *label = kube_label(b.a, &o, "gleaner.dev/schedule");
    assert_int_equal(strlen(label), 61);
    assert_memory_equal(label, LONG_NAME, 61);
    assert_string_equal(kube_annotation(b.a, &o, "gleaner.dev/schedule"), LONG_NAME);
    set_clock(&b, "2026-03-01T13:00:01Z");
    turn_well(&b, LONG_NAME);
    SAYS(ready_of(&b, LONG_NAME), "True Waiting");
    down(&b);
}

static void end_backup(struct bench *b, const char *name, const char *status)
{
    struct err err;
    struct kube_write how = {.subresource = "status"};
    if (kube_patch(b->kube, b->a, &KUBE_BACKUP, GLEANER_NS, name, KUBE_PATCH_MERGE, str_of(status),
                   &how, NULL, &err) < 0)
        fail_msg("%s", err.msg);
}

static void how_the_last_one_ended(void **state)
{
    (void)state;
    struct bench b;
    up(&b);
    schedule(&b, "s", "");
    /* It looks again soon, so that the end is not told an hour late. */
    assert_true(turn_well(&b, "s").ms <= 60000);
    end_backup(
        &b, "s-202603011200",
        "{\"status\":{\"phase\":\"Completed\",\"completionTime\":\"2026-03-01T12:03:00Z\"}}");
    set_clock(&b, "2026-03-01T12:05:00Z");
    assert_true(turn_well(&b, "s").ms > 60000);
    assert_string_equal(status_of(&b, "s", "lastSuccessfulTime"), "2026-03-01T12:03:00Z");
    SAYS(ready_of(&b, "s"), "True Scheduled");

    set_clock(&b, "2026-03-01T13:00:01Z");
    turn_well(&b, "s");
    end_backup(&b, "s-202603011300",
               "{\"status\":{\"phase\":\"Failed\",\"conditions\":[{\"type\":\"Ready\",\"status\":"
               "\"False\",\"reason\":\"Refused\",\"message\":\"the password is short\"}]}}");
    turn_well(&b, "s");
    SAYS(ready_of(&b, "s"), "True LastBackupFailed");
    SAYS(ready_of(&b, "s"), "Backup s-202603011300 failed: the password is short");
    assert_string_equal(status_of(&b, "s", "lastSuccessfulTime"), "2026-03-01T12:03:00Z");
    /* It stays until another one has ended. */
    set_clock(&b, "2026-03-01T14:00:01Z");
    turn_well(&b, "s");
    turn_well(&b, "s");
    SAYS(ready_of(&b, "s"), "Backup s-202603011300 failed");
    end_backup(
        &b, "s-202603011400",
        "{\"status\":{\"phase\":\"Completed\",\"completionTime\":\"2026-03-01T14:03:00Z\"}}");
    turn_well(&b, "s");
    SAYS(ready_of(&b, "s"), "True Scheduled");
    assert_string_equal(status_of(&b, "s", "lastSuccessfulTime"), "2026-03-01T14:03:00Z");
    down(&b);
}

/* ---- annotations ---- */

/* The Kustomization with other annotations. */
static void annotate(struct bench *b, const char *notes)
{
    struct err err;
    const char *patch = arena_printf(b->a, "{'metadata':{'annotations':{%s}}}", notes);
    char *json = arena_strdup(b->a, patch);
    for (char *p = json; *p; p++)
        if (*p == '\'')
            *p = '"';
    if (kube_patch(b->kube, b->a, &KUBE_KUSTOMIZATION, "flux-system", "app", KUBE_PATCH_MERGE,
                   str_of(json), NULL, NULL, &err) < 0)
        fail_msg("%s", err.msg);
}

static struct outcome protect(struct bench *b)
{
    struct err err;
    struct outcome o = {0};
    if (protect_reconcile(&b->cx, b->a, &KUBE_KUSTOMIZATION, "flux-system", "app", &o, &err) < 0)
        fail_msg("%s", err.msg);
    return o;
}

static int take_name(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct noted *e = ctx;
    e->note = arena_strdup(e->b->a, o->name);
    e->n++;
    return 0;
}

/* The name of the only Schedule, or NULL. */
static const char *the_schedule(struct bench *b)
{
    struct noted e = {.b = b};
    struct err err;
    assert_int_equal(kube_list(b->kube, &KUBE_SCHEDULE, NULL, take_name, &e, NULL, &err), 0);
    assert_true(e.n < 2);
    return e.note;
}

static void remove_application(struct bench *b)
{
    struct err err;
    assert_int_equal(kube_delete(b->kube, &KUBE_KUSTOMIZATION, "flux-system", "app", NULL, &err),
                     0);
}

static void an_application_that_went_unseen(void **state)
{
    (void)state;
    struct bench b;
    up(&b);
    annotate(&b, "'gleaner.dev/protect':'true'");
    protect(&b);
    const char *name = the_schedule(&b);
    turn_well(&b, name);
    assert_string_equal(the_schedule(&b), name);
    remove_application(&b);
    turn_well(&b, name);
    assert_null(the_schedule(&b));
    /* One that people made stays. */
    schedule(&b, "s", "");
    turn_well(&b, "s");
    assert_string_equal(the_schedule(&b), "s");
    down(&b);
}

/* An engine whose types are not served for a while (an upgrade) has not lost its applications. */
static void a_type_that_is_not_served(void **state)
{
    (void)state;
    struct bench b;
    up(&b);
    annotate(&b, "'gleaner.dev/protect':'true'");
    protect(&b);
    const char *name = the_schedule(&b);
    fake_post(b.fake, "faults",
              "{\"match\":{\"method\":\"GET\",\"path\":\"/kustomizations\"},\"times\":0,\"do\":"
              "\"status\",\"code\":404,\"message\":\"404 page not found\"}");
    turn_well(&b, name);
    protect(&b);
    assert_string_equal(the_schedule(&b), name);
    fake_clear_faults(b.fake);
    down(&b);
}

/* Not to know whether it is there is no reason to make no Backup. */
static void a_look_that_fails(void **state)
{
    (void)state;
    struct bench b;
    up(&b);
    annotate(&b, "'gleaner.dev/protect':'true'");
    protect(&b);
    const char *name = the_schedule(&b);
    fake_post(b.fake, "faults",
              "{\"match\":{\"method\":\"GET\",\"path\":\"/kustomizations\"},\"times\":0,\"do\":"
              "\"status\",\"code\":403,\"message\":\"not allowed\"}");
    turn_well(&b, name);
    set_clock(&b, "2026-03-02T12:00:00Z");
    turn_well(&b, name);
    assert_string_equal(the_schedule(&b), name);
    assert_int_equal(backups(&b), 1);
    fake_clear_faults(b.fake);
    down(&b);
}

/* Somebody's copy of such a Schedule, under another name, is theirs. */
static void a_copy_stays(void **state)
{
    (void)state;
    struct bench b;
    up(&b);
    post(&b, "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Schedule','metadata':{'name':'copy',"
             "'namespace':'" GLEANER_NS "','labels':{'gleaner.dev/protects':'application'},"
             "'annotations':{'gleaner.dev/source':'Kustomization/flux-system/none'}},'spec':{"
             "'schedule':'@daily','template':{'target':{'kind':'Kustomization','namespace':"
             "'flux-system','name':'none'}}}}]");
    turn_well(&b, "copy");
    assert_string_equal(the_schedule(&b), "copy");
    down(&b);
}

static void words_that_are_not_understood(void **state)
{
    (void)state;
    struct bench b;
    up(&b);
    annotate(&b, "'gleaner.dev/protect':'True'");
    protect(&b);
    assert_null(the_schedule(&b));
    assert_int_equal(events(&b, "InvalidProtect", "'True' is neither true nor false"), 1);
    assert_int_equal(events(&b, "InvalidProtect", "not protected"), 1);

    annotate(&b, "'gleaner.dev/protect':'true'");
    protect(&b);
    const char *name = the_schedule(&b);
    assert_non_null(name);
    annotate(&b, "'gleaner.dev/protect':'yes'");
    protect(&b);
    assert_non_null(the_schedule(&b));
    annotate(&b, "'gleaner.dev/protect':'true','gleaner.dev/schedule':'whenever'");
    protect(&b);
    assert_int_equal(
        events(&b, "InvalidSchedule",
               arena_printf(b.a, "Schedule " GLEANER_NS "/%s goes on as it was", name)),
        1);
    annotate(&b, "'gleaner.dev/schedule':null,'gleaner.dev/retention':'none'");
    protect(&b);
    assert_int_equal(events(&b, "InvalidRetention", "goes on as it was"), 1);

    annotate(&b, "'gleaner.dev/protect':'false'");
    protect(&b);
    assert_null(the_schedule(&b));
    annotate(&b, "'gleaner.dev/protect':'true'");
    protect(&b);
    assert_int_equal(events(&b, "InvalidRetention", "not protected"), 1);
    down(&b);
}

/* Nothing tells of a Schedule's deletion for sure: it is made again in time. */
static void protection_outlives_its_schedule(void **state)
{
    (void)state;
    struct bench b;
    struct err err;
    up(&b);
    annotate(&b, "'gleaner.dev/protect':'true'");
    struct outcome o = protect(&b);
    assert_int_equal(o.what, OUTCOME_AFTER);
    assert_true(o.ms <= 3600000);
    const char *name = the_schedule(&b);
    assert_int_equal(kube_delete(b.kube, &KUBE_SCHEDULE, GLEANER_NS, name, NULL, &err), 0);
    protect(&b);
    assert_string_equal(the_schedule(&b), name);
    annotate(&b, "'gleaner.dev/protect':null");
    assert_int_equal(protect(&b).what, OUTCOME_DONE);
    down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_that_was_ahead),
        cmocka_unit_test(a_name_that_was_used_early),
        cmocka_unit_test(what_does_not_run_does_not_block),
        cmocka_unit_test(what_runs_is_waited_for),
        cmocka_unit_test(a_refused_create_is_told),
        cmocka_unit_test(trouble_that_may_pass),
        cmocka_unit_test(a_long_name),
        cmocka_unit_test(how_the_last_one_ended),
        cmocka_unit_test(an_application_that_went_unseen),
        cmocka_unit_test(a_type_that_is_not_served),
        cmocka_unit_test(a_look_that_fails),
        cmocka_unit_test(a_copy_stays),
        cmocka_unit_test(words_that_are_not_understood),
        cmocka_unit_test(protection_outlives_its_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
