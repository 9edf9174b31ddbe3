/* The annotations that make Schedules, and when such a Schedule goes. */
#include "schedule_bench.h"

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

/* 30 characters of its name end in '.': behind one no part of a name may begin with '-'. */
static void a_name_with_dots(void **state)
{
    (void)state;
    struct bench b;
    struct outcome o;
    struct err err;
    up(&b);
    post(&b, "[{'apiVersion':'kustomize.toolkit.fluxcd.io/v1','kind':'Kustomization','metadata':{"
             "'name':'a2345678901234567890123456789.example.org','namespace':'flux-system',"
             "'annotations':{'gleaner.dev/protect':'true'}},'spec':{}}]");
    assert_int_equal(protect_reconcile(&b.cx, b.a, &KUBE_KUSTOMIZATION, "flux-system",
                                       "a2345678901234567890123456789.example.org", &o, &err),
                     0);
    const char *head = "kustomization-a2345678901234567890123456789-";
    assert_memory_equal(the_schedule(&b), head, strlen(head));
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
        cmocka_unit_test(an_application_that_went_unseen),
        cmocka_unit_test(a_type_that_is_not_served),
        cmocka_unit_test(a_look_that_fails),
        cmocka_unit_test(a_copy_stays),
        cmocka_unit_test(words_that_are_not_understood),
        cmocka_unit_test(a_name_with_dots),
        cmocka_unit_test(protection_outlives_its_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
