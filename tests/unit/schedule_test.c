/* Schedules: when a Backup is made, which one is waited for, and what the status says. */
#include "schedule_bench.h"

#define LONG_NAME "s23456789-123456789-123456789-123456789-123456789-123456789-1--456789"

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

static bool backup_there(struct bench *b, const char *name)
{
    struct kube_object o;
    struct err err;
    return kube_get(b->kube, b->a, &KUBE_BACKUP, GLEANER_NS, name, &o, &err) == 0;
}

static void failed(struct bench *b, const char *name, const char *made, const char *more,
                   const char *status)
{
    post(b,
         arena_printf(b->a,
                      "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Backup','metadata':{'name':"
                      "'%s','namespace':'" GLEANER_NS "','creationTimestamp':'2026-03-01T%s:00Z',"
                      "'labels':{'gleaner.dev/schedule':'s'},'annotations':{%s}},'status':%s}]",
                      name, made, more, status));
}

static void old_failures_are_taken_away(void **state)
{
    (void)state;
    static const char refused[] =
        "{'conditions':[{'type':'Stalled','status':'True','reason':'InvalidTTL'}]}";
    struct bench b;
    up(&b);
    schedule(&b, "s", "");
    failed(&b, "f5", "05:00", "", "{'phase':'Failed'}");
    failed(&b, "f3", "03:00", "", refused);
    failed(&b, "f4", "04:00", "", "{'phase':'Failed'}");
    failed(&b, "f2", "02:00", "", "{'phase':'Failed'}");
    failed(&b, "stored", "01:00", "", "{'phase':'Failed','snapshot':'abc'}");
    failed(&b, "partial", "01:00", "", "{'phase':'PartiallyFailed'}");
    failed(&b, "completed", "01:00", "", "{'phase':'Completed'}");
    failed(&b, "another", "01:00", "'gleaner.dev/schedule':'another'", "{'phase':'Failed'}");
    turn_well(&b, "s");
    static const char *const stay[] = {"f5",      "f4",        "f3",     "stored",
                                       "partial", "completed", "another"};
    for (size_t i = 0; i < ARRAY_LEN(stay); i++)
        if (!backup_there(&b, stay[i]))
            fail_msg("%s is gone", stay[i]);
    assert_false(backup_there(&b, "f2"));
    assert_int_equal(backups(&b), ARRAY_LEN(stay) + 1);
    down(&b);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_that_was_ahead),
        cmocka_unit_test(a_name_that_was_used_early),
        cmocka_unit_test(what_does_not_run_does_not_block),
        cmocka_unit_test(old_failures_are_taken_away),
        cmocka_unit_test(what_runs_is_waited_for),
        cmocka_unit_test(a_refused_create_is_told),
        cmocka_unit_test(trouble_that_may_pass),
        cmocka_unit_test(a_long_name),
        cmocka_unit_test(how_the_last_one_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
