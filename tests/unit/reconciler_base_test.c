/* The queue's promises, what makes work on stores due, and schedules in UTC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <stdlib.h>

#include "core/clock.h"
#include "kube/object.h"
#include "reconciler/background.h"
#include "reconciler/metrics.h"
#include "reconciler/queue.h"
#include "reconciler/schedule/cron.h"

static int64_t virtual_now;

static int64_t now(void)
{
    return virtual_now;
}

static char *take(struct queue *q)
{
    return queue_take(q, NULL);
}

static void test_queue_dedupes_and_serialises(void **state)
{
    (void)state;
    clock_override(now);
    struct queue *q = queue_new();
    queue_add(q, STR("a"), 0);
    queue_add(q, STR("a"), 5000);
    char *a = take(q);
    assert_string_equal(a, "a");
    assert_null(take(q)); /* once, and the later time did not survive */
    queue_add(q, STR("a"), 0);
    assert_null(take(q)); /* running: not beside itself */
    queue_done(q, a, -1);
    free(a);
    a = take(q);
    assert_string_equal(a, "a"); /* added while it ran: once more */
    queue_done(q, a, -1);
    free(a);
    assert_null(take(q));
    queue_free(q);
    clock_override(NULL);
}

static void test_queue_times(void **state)
{
    (void)state;
    clock_override(now);
    struct queue *q = queue_new();
    int64_t wait;
    queue_add(q, STR("late"), 1000);
    queue_add(q, STR("soon"), 10);
    assert_null(queue_take(q, &wait));
    assert_int_equal(wait, 10);
    virtual_now += 10;
    char *key = take(q);
    assert_string_equal(key, "soon");
    assert_int_equal(queue_failed(q, key, 0), 5);
    virtual_now += 5;
    free(key);
    key = take(q);
    assert_string_equal(key, "soon");
    assert_int_equal(queue_failed(q, key, 0), 10);
    free(key);
    virtual_now += 10;
    key = take(q);
    assert_int_equal(queue_failed(q, key, 700), 700); /* Retry-After */
    free(key);
    virtual_now += 700;
    key = take(q);
    queue_done(q, key, 50);
    free(key);
    virtual_now += 50;
    key = take(q);
    assert_string_equal(key, "soon");
    assert_int_equal(queue_failed(q, key, 0), 5); /* success forgets */
    free(key);
    queue_free(q);
    clock_override(NULL);
}

/* A repository that others work on is tried again after ten seconds, and after a minute once that
 * has gone on for minutes. */
static void test_queue_backs_off(void **state)
{
    (void)state;
    enum { BUSY_MS = 10000 };
    struct queue *q = queue_new();
    unsigned waited = 0, last = 0;
    clock_override(now);
    queue_add(q, STR("retain/one"), 0);
    for (int i = 0; i < 20; i++) {
        char *key = take(q);
        assert_non_null(key);
        unsigned ms = queue_failed(q, key, BUSY_MS);
        assert_true(ms >= BUSY_MS && ms >= last);
        if (ms == BUSY_MS)
            waited += ms;
        virtual_now += ms;
        last = ms;
        free(key);
    }
    assert_in_range(waited, 60 * 1000, 180 * 1000);
    assert_int_equal(last, 60 * 1000);
    queue_free(q);
    clock_override(NULL);
}

/* However often it failed, a person's change does not wait long. */
static void test_queue_waits_shortly(void **state)
{
    (void)state;
    struct queue *q = queue_new();
    char *key;
    clock_override(now);
    queue_add(q, STR("soon"), 0);
    for (int i = 0; i < 20; i++) {
        virtual_now += 60000;
        key = take(q);
        assert_string_equal(key, "soon");
        assert_true(queue_failed(q, key, 0) <= 60000);
        free(key);
    }
    queue_add(q, STR("soon"), 0); /* an event ends the wait */
    key = take(q);
    assert_string_equal(key, "soon");
    queue_add(q, STR("soon"), 0); /* one that comes while it runs shortens it */
    assert_int_equal(queue_failed(q, key, 0), 1000);
    free(key);
    queue_free(q);
    clock_override(NULL);
}

static bool hears(struct background *b, struct arena *a, const char *meta, const char *status)
{
    struct kube_object o;
    struct err err;
    const char *text = arena_printf(a,
                                    "{\"apiVersion\":\"gleaner.dev/v1alpha1\",\"kind\":"
                                    "\"BackupStore\",\"metadata\":{\"name\":\"one\",%s},"
                                    "\"status\":{%s}}",
                                    meta, status);
    assert_int_equal(kube_object_read(a, str_of(text), &o, &err), 0);
    return background_store(b, &o);
}

/* Prune writes into the status that a Backup runs and that it waits for fifteen seconds: the event
 * of this write ended the pause, and the tries were used up at once. */
static void what_we_wrote_is_no_news(void **state)
{
    (void)state;
    atomic_bool stopping = true;
    struct context cx = {.stopping = &stopping};
    struct background *b = background_start(&cx);
    struct arena *a = arena_new();
    static const char first[] = "\"uid\":\"u1\",\"generation\":1";
    assert_true(hears(b, a, first, ""));
    assert_false(hears(b, a, first, "\"maintenance\":{\"prune\":{\"tries\":1}}"));
    assert_false(hears(b, a, first, "\"maintenance\":{\"prune\":{\"tries\":2}}"));
    static const char asked[] = "\"uid\":\"u1\",\"generation\":1,\"annotations\":{"
                                "\"reconcile.fluxcd.io/requestedAt\":\"now\"}";
    assert_true(hears(b, a, asked, ""));
    assert_false(hears(b, a, asked, "\"sync\":{\"time\":\"later\"}"));
    assert_true(hears(b, a, "\"uid\":\"u1\",\"generation\":2", ""));
    assert_true(hears(b, a, "\"uid\":\"u2\",\"generation\":1", ""));
    assert_false(hears(NULL, a, "\"uid\":\"u3\"", ""));
    arena_free(a);
    background_stop(b);
}

static bool misses(struct background *b, struct arena *a, const char *uid, const char *status)
{
    struct kube_object o;
    struct err err;
    const char *text =
        arena_printf(a,
                     "{\"apiVersion\":\"gleaner.dev/v1alpha1\",\"kind\":\"Backup\","
                     "\"metadata\":{\"name\":\"one\",\"uid\":\"%s\"},\"status\":{%s}}",
                     uid, status);
    assert_int_equal(kube_object_read(a, str_of(text), &o, &err), 0);
    return background_deleted(b, &o);
}

/* Each Backup that retention took away was looked for in its whole store. */
static void what_retention_took_is_not_looked_for(void **state)
{
    (void)state;
    atomic_bool stopping = true;
    struct context cx = {.stopping = &stopping};
    struct background *b = background_start(&cx);
    struct arena *a = arena_new();
    static const char stored[] = "\"store\":\"s\",\"phase\":\"Completed\",\"snapshot\":\"1\"";
    background_forgot(b, "u1");
    assert_false(misses(b, a, "u1", stored));
    assert_true(misses(b, a, "u1", stored)); /* made again, and deleted by somebody */
    assert_true(misses(b, a, "u2", stored));
    assert_true(misses(b, a, "u3", "\"store\":\"s\",\"phase\":\"Volumes\""));
    assert_false(misses(b, a, "u4", "\"store\":\"s\",\"phase\":\"Failed\""));
    assert_true(misses(b, a, "u5", "\"store\":\"s\",\"phase\":\"Failed\",\"snapshot\":\"1\""));
    assert_false(misses(b, a, "u6", ""));
    assert_false(misses(NULL, a, "u7", stored));
    arena_free(a);
    background_stop(b);
}

/* The newest complete one stays though its ttl is over: it was judged anew every five minutes. */
static void an_expired_one_is_judged_once_an_hour(void **state)
{
    (void)state;
    enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };
    static const struct {
        int64_t ttl, over, ago;
        const char *schedule;
        bool due;
    } rows[] = {
        {5 * SECOND, -SECOND, INT64_MAX, NULL, false},
        {5 * SECOND, 0, 4 * SECOND, NULL, true}, /* judged when it was made */
        {5 * SECOND, 3 * SECOND, 7 * SECOND, NULL, true},
        {5 * SECOND, 3 * SECOND, 2 * SECOND, NULL, true},   /* its answer may be lost */
        {5 * SECOND, 11 * MINUTE, 2 * SECOND, NULL, false}, /* judged since, and stays */
        {5 * SECOND, 3 * MINUTE, INT64_MAX, NULL, true},    /* by no one that we know of */
        {5 * SECOND, 24 * HOUR, 59 * MINUTE, NULL, false},
        {5 * SECOND, 24 * HOUR, HOUR, NULL, true},
        {0, 24 * HOUR, INT64_MAX, NULL, false},
        {0, 24 * HOUR, INT64_MAX, "gleaner-system/nightly", true},
        {0, 24 * HOUR, 59 * MINUTE, "gleaner-system/nightly", false},
        {0, 24 * HOUR, HOUR, "gleaner-system/nightly", true},
        {72 * HOUR, -HOUR, 59 * MINUTE, "gleaner-system/nightly", false},
        {72 * HOUR, -HOUR, HOUR, "gleaner-system/nightly", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const int64_t completed = 1000 * (int64_t)HOUR;
        struct known_backup b = {
            .completed_ms = completed, .ttl_ms = rows[i].ttl, .schedule = rows[i].schedule};
        if (background_is_due(&b, completed + rows[i].ttl + rows[i].over, rows[i].ago) !=
            rows[i].due)
            fail_msg("row %zu", i);
    }
}

/* An alarm for "no backup since yesterday" is not put off by a Restore's safety backup. */
static void a_safety_backup_is_no_success(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct buf text CLEANUP(buf_free) = {0};
    struct known k = {.a = a};
    *vec_add(&k.backups) = (struct known_backup){.store = "s",
                                                 .phase = "Completed",
                                                 .target = "HelmRelease shop/shop",
                                                 .completed_ms = 1000};
    *vec_add(&k.backups) = (struct known_backup){.store = "s",
                                                 .phase = "Completed",
                                                 .target = "HelmRelease shop/shop",
                                                 .completed_ms = 2000,
                                                 .safety = "uid of a Restore"};
    background_measure(a, &k);
    metrics_print(&text);
    assert_non_null(strstr(text.p, "gleaner_backup_last_success_timestamp_seconds{kind="
                                   "\"HelmRelease\",namespace=\"shop\",name=\"shop\"} 1\n"));
    assert_non_null(strstr(text.p, "gleaner_backups{store=\"s\",phase=\"Completed\"} 2\n"));
    vec_free(&k.backups);
}

/* A process that ends waits for no pause of theirs. */
static void idle_threads_stop_at_once(void **state)
{
    (void)state;
    int64_t waited = 0;
    for (int i = 0; i < 8; i++) {
        atomic_bool stopping = false;
        struct context cx = {.stopping = &stopping};
        struct background *b = background_start(&cx);
        for (int64_t from = clock_mono_ms(); clock_mono_ms() - from < 20;)
            sched_yield(); /* they begin to wait */
        int64_t from = clock_mono_ms();
        atomic_store(&stopping, true);
        background_stop(b);
        waited += clock_mono_ms() - from;
    }
    assert_in_range(waited, 0, 3000);
}

static int64_t at(const char *time)
{
    int64_t ms;
    assert_true(clock_parse(str_of(time), &ms));
    return ms;
}

static void test_cron_next(void **state)
{
    (void)state;
    static const struct {
        const char *schedule, *after, *next;
    } rows[] = {
        {"* * * * *", "2026-01-02T03:04:05Z", "2026-01-02T03:05:00Z"},
        {"* * * * *", "2026-01-02T03:04:00Z", "2026-01-02T03:05:00Z"},
        {"*/15 * * * *", "2026-01-02T03:46:00Z", "2026-01-02T04:00:00Z"},
        {"0 3 * * *", "2026-01-02T03:00:00Z", "2026-01-03T03:00:00Z"},
        {"@daily", "2026-12-31T10:00:00Z", "2027-01-01T00:00:00Z"},
        {"30 4 1,15 * 5", "2026-01-02T05:00:00Z",
         "2026-01-09T04:30:00Z"}, /* a Friday before the 15th */
        {"0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"},
        {"0 12 * * 7", "2026-01-02T00:00:00Z", "2026-01-04T12:00:00Z"},
        {"0 12 * JAN mon-WED", "2026-01-01T00:00:00Z", "2026-01-05T12:00:00Z"},
        {"5/20 * * * *", "2026-01-01T00:06:00Z", "2026-01-01T00:25:00Z"},
        {"0 0 31 2 *", "2026-01-01T00:00:00Z", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cron c;
        struct err err;
        char text[CLOCK_RFC3339] = "never";
        if (cron_parse(str_of(rows[i].schedule), &c, &err) < 0)
            fail_msg("%s: %s", rows[i].schedule, err.msg);
        int64_t next = cron_next(&c, at(rows[i].after));
        if (next >= 0)
            clock_format(next, text);
        const char *want = rows[i].next ? rows[i].next : "never";
        if (!streq(text, want))
            fail_msg("%s after %s: %s, not %s", rows[i].schedule, rows[i].after, text, want);
    }
}

static void test_cron_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "* * * *",
                                      "* * * * * *",
                                      "60 * * * *",
                                      "* 24 * * *",
                                      "* * 0 * *",
                                      "* * * 13 *",
                                      "* * * * 8",
                                      "a * * * *",
                                      "*/0 * * * *",
                                      "5-1 * * * *",
                                      "@never",
                                      "1,,2 * * * *",
                                      "1- * * * *",
                                      "-1 * * * *"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct cron c;
        struct err err;
        if (cron_parse(str_of(bad[i]), &c, &err) == 0)
            fail_msg("'%s' was accepted", bad[i]);
        assert_int_equal(err.kind, ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue_dedupes_and_serialises),
        cmocka_unit_test(test_queue_times),
        cmocka_unit_test(test_queue_waits_shortly),
        cmocka_unit_test(test_queue_backs_off),
        cmocka_unit_test(what_we_wrote_is_no_news),
        cmocka_unit_test(what_retention_took_is_not_looked_for),
        cmocka_unit_test(an_expired_one_is_judged_once_an_hour),
        cmocka_unit_test(a_safety_backup_is_no_success),
        cmocka_unit_test(idle_threads_stop_at_once),
        cmocka_unit_test(test_cron_next),
        cmocka_unit_test(test_cron_refuses),
    };
    return cmocka_run_group_tests_name("reconciler_base", tests, NULL, NULL);
}
