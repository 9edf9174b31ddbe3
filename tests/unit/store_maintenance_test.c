/* Prune and check by the clock, against the fake API server and a store in a folder. */
#include "store_bench.h"

#include "reconciler/metrics.h"
#include "reconciler/store/maintenance.h"

/* Both were done long ago, and are due once more. */
static void make_due(struct bench *b, const char *more)
{
    struct err err;
    assert_int_equal(
        kube_patch(b->kube, b->a, &KUBE_BACKUPSTORE, NULL, "local", KUBE_PATCH_MERGE,
                   str_of(arena_printf(b->a,
                                       "{\"spec\":{\"maintenance\":{\"prune\":\"@yearly\","
                                       "\"check\":\"@yearly\",\"readData\":\"100%%\"}%s}}",
                                       more)),
                   NULL, NULL, &err),
        0);
    static const char done[] =
        "{\"status\":{\"maintenance\":{\"prune\":{\"startTime\":\"2020-01-01T00:00:00Z\","
        "\"completionTime\":\"2020-01-01T00:00:00Z\"},\"check\":{\"startTime\":"
        "\"2020-01-01T00:00:00Z\",\"completionTime\":\"2020-01-01T00:00:00Z\"}}}}";
    assert_int_equal(kube_patch(b->kube, b->a, &KUBE_BACKUPSTORE, NULL, "local", KUBE_PATCH_MERGE,
                                str_of(done), &(struct kube_write){.subresource = "status"}, NULL,
                                &err),
                     0);
}

static json_t *row(struct bench *b, const char *what)
{
    struct kube_object o;
    struct err err;
    json_t *j = NULL;
    assert_int_equal(kube_get(b->kube, b->a, &KUBE_BACKUPSTORE, NULL, "local", &o, &err), 0);
    assert_int_equal(json_parse(raw_at(o.raw, "status", "maintenance", what, NULL), &j, &err), 0);
    return j;
}

static json_int_t number(struct bench *b, const char *what, const char *member)
{
    json_t *j CLEANUP_JSON = row(b, what);
    return json_integer_value(json_object_get(j, member));
}

static bool is_done(struct bench *b, const char *what)
{
    json_t *j CLEANUP_JSON = row(b, what);
    return json_object_get(j, "completionTime") != NULL;
}

/* Turns until nothing is due; how many. */
static int maintain(struct bench *b)
{
    for (int i = 1; i < 50; i++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        struct err err;
        int64_t again = -2;
        if (maintenance_turn(&b->cx, a, "local", &again, &err) < 0)
            fail_msg("%s", err.msg);
        if (again != 0)
            return i;
    }
    fail_msg("maintenance does not end");
    return 0;
}

static size_t files(struct bench *b, const char *kind)
{
    char command[256];
    size_t n = 0;
    snprintf(command, sizeof command, "find %s/b/first/app/%s -type f | wc -l", b->folder, kind);
    FILE *p = popen(command, "r");
    assert_int_equal(fscanf(p, "%zu", &n), 1);
    pclose(p);
    return n;
}

static void prune_and_check_leave_a_whole_store(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", ",'ttl':'1s'");
    post(&b, "[{'apiVersion':'v1','kind':'Secret','metadata':{'name':'more','namespace':'app'},"
             "'data':{'a':'Yg=='}}]");
    back_up(&b, "two", "");
    pass(1100);
    struct retain_result r;
    struct err err;
    assert_int_equal(store_retain(&b.cx, b.a, "local", "app", &r, &err), 0);
    assert_int_equal(r.forgotten, 1);
    make_due(&b, "");
    size_t before = files(&b, "data");
    maintain(&b);
    assert_true(is_done(&b, "prune") && is_done(&b, "check"));
    assert_int_equal(number(&b, "prune", "failures"), 0);
    assert_int_equal(number(&b, "check", "failures"), 0);
    assert_int_equal(number(&b, "check", "damages"), 0);
    assert_int_equal(number(&b, "check", "snapshots"), 1);
    assert_true(number(&b, "check", "packsRead") > 0);
    assert_true(number(&b, "prune", "repositories") >= 1);
    assert_true(files(&b, "data") <= before);
    assert_int_equal(files(&b, "locks"), 0);
    /* Not due any more, and the one that is left can still be listed. */
    assert_int_equal(maintain(&b), 1);
    assert_int_equal(sync_now(&b, 1).failures, 0);
    assert_true(there(&b, "two"));
    bench_down(&b, true);
}

/* A check names the Backups that damage touches, and says so everywhere. */
static void damage_names_its_backups(void **state)
{
    (void)state;
    struct bench b;
    char command[256];
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");
    snprintf(command, sizeof command,
             "find %s/b/first/app/data -type f | head -1 | while read f; do chmod u+w $f; "
             "printf x | dd of=$f bs=1 seek=40 conv=notrunc 2>/dev/null; done",
             b.folder);
    assert_int_equal(system(command), 0);
    make_due(&b, "");
    maintain(&b);
    assert_true(number(&b, "check", "damages") > 0);
    json_t *j CLEANUP_JSON = row(&b, "check");
    assert_string_equal(json_string_value(json_array_get(json_object_get(j, "damaged"), 0)),
                        "gleaner-system/one");
    struct status st CLEANUP(status_free) = {0};
    struct err err;
    assert_int_equal(status_read(b.kube, b.a, &KUBE_BACKUPSTORE, NULL, "local", &st, &err), 0);
    maintenance_conditions(&st);
    assert_string_equal(status_condition_is(&st, "Checked"), "False");
    struct buf text CLEANUP(buf_free) = {0};
    metrics_print(&text);
    assert_non_null(strstr(text.p, "gleaner_check_damages{store=\"local\"} "));
    assert_null(strstr(text.p, "gleaner_check_damages{store=\"local\"} 0\n"));
    buf_reset(&text);
    assert_int_equal(kube_delete(b.kube, &KUBE_BACKUPSTORE, NULL, "local", NULL, &err), 0);
    struct outcome ignored;
    assert_int_equal(backupstore_reconcile(&b.cx, b.a, NULL, "local", &ignored, &err), 0);
    metrics_print(&text);
    assert_null(strstr(text.p, "store=\"local\"}"));
    bench_down(&b, true);
}

/* Killed in the middle, it goes on behind the cursor. */
static void a_killed_controller_goes_on(void **state)
{
    (void)state;
    struct bench b;
    struct err err;
    char now[CLOCK_RFC3339];
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");
    make_due(&b, "");
    clock_format(clock_wall_ms(), now);
    assert_int_equal(
        kube_patch(b.kube, b.a, &KUBE_BACKUPSTORE, NULL, "local", KUBE_PATCH_MERGE,
                   str_of(arena_printf(b.a,
                                       "{\"status\":{\"maintenance\":{\"check\":{\"cursor\":"
                                       "\"app\",\"repositories\":7,\"startTime\":\"%s\","
                                       "\"completionTime\":null}}}}",
                                       now)),
                   &(struct kube_write){.subresource = "status"}, NULL, &err),
        0);
    maintain(&b);
    assert_true(is_done(&b, "check"));
    assert_int_equal(number(&b, "check", "repositories"), 7);
    bench_down(&b, true);
}

/* Somebody else's lock: later, and the status says why. */
static void a_busy_repository_waits(void **state)
{
    (void)state;
    struct bench b;
    struct err err;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", ",'ttl':'1s'");
    back_up(&b, "two", "");
    struct opened o CLEANUP(store_close) = {0};
    struct lock *lock;
    assert_int_equal(store_open(&b.cx, b.a, "local", "app", false, &o, &err), 0);
    assert_int_equal(store_lock(&b.cx, b.a, &o, true, &lock, &err), 0);
    make_due(&b, "");
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    int64_t again = 0;
    assert_int_equal(maintenance_turn(&b.cx, a, "local", &again, &err), 0);
    assert_true(again > 1000);
    assert_false(is_done(&b, "prune"));
    assert_int_equal(number(&b, "prune", "tries"), 1);
    assert_int_equal(lock_release(lock, &err), 0);
    maintain(&b);
    assert_true(is_done(&b, "prune"));
    assert_int_equal(number(&b, "prune", "failures"), 0);
    bench_down(&b, true);
}

/* A Backup whose lock went with an earlier process of the controller, and whose mover works on. */
static void set_phase(struct bench *b, const char *phase)
{
    struct err err;
    assert_int_equal(
        kube_patch(b->kube, b->a, &KUBE_BACKUP, "gleaner-system", "two", KUBE_PATCH_MERGE,
                   str_of(arena_printf(b->a, "{\"status\":{\"phase\":\"%s\"}}", phase)),
                   &(struct kube_write){.subresource = "status"}, NULL, &err),
        0);
}

static void a_running_backup_without_a_lock_is_waited_for(void **state)
{
    (void)state;
    struct bench b;
    struct err err;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");
    back_up(&b, "two", "");
    set_phase(&b, "Uploading");
    make_due(&b, "");
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    int64_t again = 0;
    for (int i = 0; i < 10 && again == 0; i++)
        assert_int_equal(maintenance_turn(&b.cx, a, "local", &again, &err), 0);
    assert_true(again > 1000);
    assert_false(is_done(&b, "prune"));
    set_phase(&b, "Completed");
    maintain(&b);
    assert_true(is_done(&b, "prune"));
    assert_int_equal(number(&b, "prune", "failures"), 0);
    bench_down(&b, true);
}

/* A store that is only read is checked, and never pruned. */
static void a_reader_prunes_nothing(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");
    make_due(&b, ",\"readOnly\":true");
    maintain(&b);
    assert_true(number(&b, "prune", "failures") >= 1);
    assert_int_equal(number(&b, "check", "failures"), 0);
    assert_int_equal(number(&b, "check", "snapshots"), 1);
    assert_int_equal(files(&b, "locks"), 0);
    bench_down(&b, true);
}

static void metrics_are_printed_as_prometheus_reads_them(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct buf text CLEANUP(buf_free) = {0};
    metrics_set("gleaner_held_applications", "", 2);
    metrics_clear("gleaner_backups");
    metrics_add("gleaner_backups",
                metrics_labels(a, "store", "a\"b\\c\nd", "phase", "Failed", NULL), 1);
    metrics_add("gleaner_backups",
                metrics_labels(a, "store", "a\"b\\c\nd", "phase", "Failed", NULL), 1);
    metrics_set("no_such_metric", "", 1);
    metrics_print(&text);
    assert_non_null(strstr(text.p, "# TYPE gleaner_held_applications gauge\n"
                                   "gleaner_held_applications 2\n"));
    assert_non_null(
        strstr(text.p, "gleaner_backups{store=\"a\\\"b\\\\c\\nd\",phase=\"Failed\"} 2\n"));
    assert_null(strstr(text.p, "no_such_metric"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_are_printed_as_prometheus_reads_them),
        cmocka_unit_test(prune_and_check_leave_a_whole_store),
        cmocka_unit_test(damage_names_its_backups),
        cmocka_unit_test(a_killed_controller_goes_on),
        cmocka_unit_test(a_busy_repository_waits),
        cmocka_unit_test(a_running_backup_without_a_lock_is_waited_for),
        cmocka_unit_test(a_reader_prunes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
