/* Store to cluster, against the fake API server and a store in a folder: Backups come back whatever
 * deletes them, and go only when their snapshot surely has. */
#include "store_bench.h"

/* ---- they come back ---- */

static void a_deleted_backup_comes_back_as_it_was(void **state)
{
    (void)state;
    struct bench b;
    struct kube_object before, after;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", ",'ttl':'72h'");
    assert_int_equal(sync_now(&b, 0).made, 0);
    assert_int_equal(backups(&b), 1);
    assert_true(get(&b, "one", &before));
    delete (&b, "one");
    struct sync_result r = sync_now(&b, 0);
    if (r.failures)
        fail_msg("%s", r.failure);
    assert_int_equal(r.made, 1);
    assert_true(get(&b, "one", &after));
    assert_string_not_equal(before.uid, after.uid);
    static const char *const same[] = {"phase",     "snapshot",   "store",
                                       "namespace", "repository", "repositoryID"};
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        assert_string_equal(raw_text(b.a, before.raw, "status", same[i], NULL),
                            raw_text(b.a, after.raw, "status", same[i], NULL));
    static const char *const equal[] = {"declared", "counts", "volumes"};
    for (size_t i = 0; i < ARRAY_LEN(equal); i++) {
        json_t *x CLEANUP_JSON = NULL, *y CLEANUP_JSON = NULL;
        assert_int_equal(json_parse(raw_at(before.raw, "status", equal[i], NULL), &x, NULL), 0);
        assert_int_equal(json_parse(raw_at(after.raw, "status", equal[i], NULL), &y, NULL), 0);
        if (!json_equal(x, y))
            fail_msg("%s: %s", equal[i], after.raw.p);
    }
    assert_string_equal(raw_text(b.a, after.raw, "spec", "target", "name", NULL), "app");
    assert_string_equal(raw_text(b.a, after.raw, "spec", "ttl", NULL), "72h");
    assert_string_equal(raw_text(b.a, after.raw, "spec", "storeRef", "name", NULL), "local");
    assert_string_equal(kube_label(b.a, &after, "gleaner.dev/schedule"), "nightly");
    /* Neither a pass nor its own reconcile does anything more. */
    assert_int_equal(sync_now(&b, 0).made, 0);
    struct outcome o;
    struct err err;
    assert_int_equal(backup_reconcile(&b.cx, b.a, "gleaner-system", "one", &o, &err), 0);
    assert_int_equal(o.what, OUTCOME_DONE);
    assert_true(get(&b, "one", &before));
    assert_string_equal(before.resource_version, after.resource_version);
    bench_down(&b, true);
}

/* Killed between making the resource and its status: the Backup is not run, and gets its status. */
static void a_half_made_one_is_filled_in(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");
    delete (&b, "one");
    post(&b, "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Backup','metadata':{'name':'one',"
             "'namespace':'gleaner-system','annotations':{'gleaner.dev/backup-uid':'uid-one'}},"
             "'spec':{'target':{'kind':'Kustomization','namespace':'flux-system','name':'app'},"
             "'storeRef':{'name':'local'}}}]");
    struct outcome o;
    struct err err;
    assert_int_equal(backup_reconcile(&b.cx, b.a, "gleaner-system", "one", &o, &err), 0);
    assert_string_equal(status_at(&b, "one", "phase"), "");
    assert_int_equal(sync_now(&b, 0).made, 1);
    assert_string_equal(status_at(&b, "one", "phase"), "Completed");
    assert_int_equal(backups(&b), 1);
    bench_down(&b, true);
}

/* Its snapshot is there, and its status does not say so yet. */
static void a_running_one_is_not_doubled(void **state)
{
    (void)state;
    struct bench b;
    struct err err;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");
    assert_int_equal(kube_patch(b.kube, b.a, &KUBE_BACKUP, "gleaner-system", "one",
                                KUBE_PATCH_MERGE,
                                STR("{\"status\":{\"phase\":\"Write\",\"snapshot\":null}}"),
                                &(struct kube_write){.subresource = "status"}, NULL, &err),
                     0);
    assert_int_equal(sync_now(&b, 0).made, 0);
    assert_int_equal(backups(&b), 1);
    assert_string_equal(status_at(&b, "one", "phase"), "Write");
    bench_down(&b, true);
}

/* The name belongs to another Backup now. */
static void a_taken_name_gets_an_ending(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");
    const char *snapshot = status_at(&b, "one", "snapshot");
    delete (&b, "one");
    post(&b, "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Backup','metadata':{'name':'one',"
             "'namespace':'gleaner-system','uid':'other'},'spec':{'target':{'kind':"
             "'Kustomization','namespace':'flux-system','name':'other'}}}]");
    assert_int_equal(sync_now(&b, 0).made, 1);
    assert_string_equal(status_at(&b, arena_printf(b.a, "one-%.8s", snapshot), "snapshot"),
                        snapshot);
    assert_int_equal(sync_now(&b, 0).made, 0);
    bench_down(&b, true);
}

/* Another cluster that knows the password alone: the same Backups, and nothing written. */
static void a_fresh_cluster_reads_them(void **state)
{
    (void)state;
    struct bench old, new;
    bench_up(&old, NULL);
    post(&old, application);
    back_up(&old, "one", "");
    back_up(&old, "two", "");
    bench_up(&new, &old);
    char before[4096], after[4096], command[256];
    snprintf(command, sizeof command, "cd %s && find . -type f | sort | sha256sum", old.folder);
    FILE *p = popen(command, "r");
    assert_non_null(fgets(before, sizeof before, p));
    pclose(p);
    struct sync_result r = sync_now(&new, 1);
    if (r.failures)
        fail_msg("%s", r.failure);
    assert_int_equal(r.made, 2);
    assert_string_equal(status_at(&new, "one", "snapshot"), status_at(&old, "one", "snapshot"));
    assert_string_equal(status_at(&new, "two", "phase"), "Completed");
    p = popen(command, "r");
    assert_non_null(fgets(after, sizeof after, p));
    pclose(p);
    assert_string_equal(before, after);
    bench_down(&new, false);
    bench_down(&old, true);
}

/* ---- they go ---- */

static void one_goes_after_two_listings_apart(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");
    back_up(&b, "two", "");
    remove_snapshot(&b, status_at(&b, "one", "snapshot"));
    assert_int_equal(sync_now(&b, 3600000).removed, 0);
    assert_string_not_equal(status_at(&b, "one", "missingSince"), "");
    assert_int_equal(sync_now(&b, 3600000).removed, 0);
    assert_true(there(&b, "one"));
    pass(1100); /* a status has whole seconds */
    assert_int_equal(sync_now(&b, 1).removed, 1);
    assert_false(there(&b, "one"));
    assert_true(there(&b, "two"));
    bench_down(&b, true);
}

/* What was missing once and is there again is not suspected any more. */
static void one_that_is_found_again_stays(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");
    back_up(&b, "two", "");
    const char *at = arena_printf(b.a, SNAPSHOTS "/%s", status_at(&b, "one", "snapshot"));
    move(&b, at, "aside");
    sync_now(&b, 1);
    assert_string_not_equal(status_at(&b, "one", "missingSince"), "");
    move(&b, "aside", at);
    sync_now(&b, 1);
    assert_string_equal(status_at(&b, "one", "missingSince"), "");
    move(&b, at, "aside");
    assert_int_equal(sync_now(&b, 1).removed, 0);
    assert_true(there(&b, "one"));
    bench_down(&b, true);
}

static void stays_whatever_is_listed(struct bench *b, const char *why)
{
    for (int i = 0; i < 3; i++) {
        struct sync_result r = {0};
        struct err err;
        struct sync_options options = {.apart_ms = 1};
        (void)!sync_store(&b->cx, b->a, "local", &options, &r, &err);
        if (r.removed || !there(b, "one") || *status_at(b, "one", "missingSince"))
            fail_msg("%s: %s", why, "the Backup was removed or is suspected");
        pass(2);
    }
}

static void a_bad_listing_removes_nothing(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");

    move(&b, SNAPSHOTS, "aside");
    stays_whatever_is_listed(&b, "no folder of snapshots: an empty list");
    assert_int_equal(mkdir(arena_printf(b.a, "%s/" SNAPSHOTS, repository(&b)), 0700), 0);
    stays_whatever_is_listed(&b, "an empty folder of snapshots");
    assert_int_equal(rmdir(arena_printf(b.a, "%s/" SNAPSHOTS, repository(&b))), 0);
    FILE *f = fopen(arena_printf(b.a, "%s/" SNAPSHOTS, repository(&b)), "w");
    fclose(f);
    stays_whatever_is_listed(&b, "a list that fails");
    assert_int_equal(unlink(arena_printf(b.a, "%s/" SNAPSHOTS, repository(&b))), 0);
    move(&b, "aside", SNAPSHOTS);

    move(&b, "config", "aside");
    stays_whatever_is_listed(&b, "a repository without its config");
    move(&b, "aside", "config");

    const char *first = arena_printf(b.a, "%s/b/first", b.folder);
    const char *other = arena_printf(b.a, "%s/b/other", b.folder);
    assert_int_equal(rename(first, other), 0);
    stays_whatever_is_listed(&b, "a store without the folder of the cluster");

    /* Another repository in its place, with a snapshot of its own. */
    back_up(&b, "two", "");
    assert_string_not_equal(status_at(&b, "one", "repositoryID"),
                            status_at(&b, "two", "repositoryID"));
    stays_whatever_is_listed(&b, "a repository with another id");
    bench_down(&b, true);
}

/* ---- the rule alone ---- */

static void the_rule_is_strict(void **state)
{
    (void)state;
    const struct known_backup b = {
        .ended = true, .snapshot = "aa", .repository_id = "id", .missing_since_ms = 1000};
    const struct sync_listing l = {
        .repository_id = "id", .count = 3, .has = false, .now_ms = 5000, .apart_ms = 4000};
    assert_int_equal(sync_judge(&b, &l), SYNC_REMOVE);
    struct known_backup c = b;
    struct sync_listing m = l;
    m.now_ms = 4999;
    assert_int_equal(sync_judge(&b, &m), SYNC_NOTHING);
    m = l;
    m.count = 0;
    assert_int_equal(sync_judge(&b, &m), SYNC_NOTHING);
    m = l;
    m.repository_id = "other";
    assert_int_equal(sync_judge(&b, &m), SYNC_NOTHING);
    m = l;
    m.has = true;
    assert_int_equal(sync_judge(&b, &m), SYNC_FOUND);
    c.repository_id = "";
    assert_int_equal(sync_judge(&c, &l), SYNC_NOTHING);
    c = b;
    c.missing_since_ms = 0;
    assert_int_equal(sync_judge(&c, &l), SYNC_SUSPECT);
    c = b;
    c.missing_since_ms = 9000; /* a clock that went back */
    assert_int_equal(sync_judge(&c, &l), SYNC_SUSPECT);
    c = b;
    c.ended = false;
    assert_int_equal(sync_judge(&c, &l), SYNC_NOTHING);
    c = b;
    c.snapshot = "";
    assert_int_equal(sync_judge(&c, &l), SYNC_NOTHING);
}

/* ---- what retention says ---- */

static struct retain_result retain(struct bench *b)
{
    struct retain_result r = {0};
    struct err err;
    if (store_retain(&b->cx, b->a, "local", "app", &r, &err) < 0)
        fail_msg("retain: %s", err.msg);
    return r;
}

static void make_schedule(struct bench *b, const char *retention)
{
    post(b,
         arena_printf(b->a,
                      "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Schedule','metadata':{"
                      "'name':'nightly','namespace':'gleaner-system'},'spec':{'schedule':'@daily',"
                      "'retention':%s,'template':{'target':{'kind':'Kustomization','namespace':"
                      "'flux-system','name':'app'}}}}]",
                      retention));
}

static const char *message(struct bench *b, const char *name, const char *type)
{
    struct status st CLEANUP(status_free) = {0};
    struct err err;
    assert_int_equal(status_read(b->kube, b->a, &KUBE_BACKUP, "gleaner-system", name, &st, &err),
                     0);
    return arena_strdup(b->a, status_message(&st, type));
}

static void retention_forgets_and_sync_agrees(void **state)
{
    (void)state;
    struct bench b;
    struct kube_object o;
    bench_up(&b, NULL);
    post(&b, application);
    static const char *const names[] = {"one", "two", "three", "four"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        back_up(&b, names[i], "");
    /* No Schedule, whatever the labels say: nothing goes. */
    assert_int_equal(retain(&b).forgotten, 0);
    make_schedule(&b, "{'last':2}");
    struct retain_result r = retain(&b);
    assert_int_equal(r.forgotten, 2);
    assert_int_equal(r.kept, 2);
    assert_false(there(&b, "one"));
    assert_false(there(&b, "two"));
    assert_true(there(&b, "three") && there(&b, "four"));
    assert_int_equal(sync_now(&b, 1).made, 0);
    assert_int_equal(retain(&b).forgotten, 0);
    struct err err;
    assert_int_equal(kube_get(b.kube, b.a, &KUBE_SCHEDULE, "gleaner-system", "nightly", &o, &err),
                     0);
    assert_true(str_is(raw_at(o.raw, "status", "retention", "kept", NULL), "2"));
    bench_down(&b, true);
}

/* Deleting Backups, Schedules and the namespace of the content deletes no data, and what comes back
 * is under the same rules as before. */
static void nothing_that_is_deleted_deletes_data(void **state)
{
    (void)state;
    struct bench b;
    struct err err;
    bench_up(&b, NULL);
    post(&b, application);
    make_schedule(&b, "{'last':1}");
    back_up(&b, "one", "");
    back_up(&b, "two", "");
    back_up(&b, "three", "");
    assert_int_equal(kube_delete(b.kube, &KUBE_SCHEDULE, "gleaner-system", "nightly", NULL, &err),
                     0);
    assert_int_equal(retain(&b).forgotten, 0);
    delete (&b, "one");
    delete (&b, "two");
    delete (&b, "three");
    assert_int_equal(kube_delete(b.kube, &KUBE_KUSTOMIZATION, "flux-system", "app", NULL, &err), 0);
    assert_int_equal(kube_delete(b.kube, &KUBE_CONFIGMAP, "app", "conf", NULL, &err), 0);
    assert_int_equal(retain(&b).forgotten, 0);
    assert_int_equal(sync_now(&b, 1).made, 3);
    assert_int_equal(retain(&b).forgotten, 0);
    make_schedule(&b, "{'last':1}");
    assert_int_equal(retain(&b).forgotten, 2);
    assert_true(there(&b, "three"));
    bench_down(&b, true);
}

static void ask(struct bench *b, const char *name, const char *request)
{
    struct err err;
    assert_int_equal(
        kube_patch(b->kube, b->a, &KUBE_BACKUP, "gleaner-system", name, KUBE_PATCH_MERGE,
                   str_of(arena_printf(
                       b->a, "{\"metadata\":{\"annotations\":{\"gleaner.dev/request\":\"%s\"}}}",
                       request)),
                   NULL, NULL, &err),
        0);
}

static void people_ask_and_are_answered(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");
    back_up(&b, "two", ",'ttl':'1s'");
    ask(&b, "two", "forget:1");
    assert_int_equal(retain(&b).forgotten, 0);
    assert_non_null(strstr(message(&b, "two", "Forgotten"), "newest complete"));
    assert_string_equal(status_at(&b, "two", "lastHandledRequest"), "forget:1");
    pass(1100);
    assert_int_equal(retain(&b).forgotten, 0);
    assert_non_null(strstr(message(&b, "two", "Expired"), "newest complete"));
    ask(&b, "one", "forget:2");
    assert_int_equal(retain(&b).forgotten, 1);
    assert_false(there(&b, "one"));
    back_up(&b, "three", "");
    assert_int_equal(retain(&b).forgotten, 1); /* its ttl is over */
    assert_false(there(&b, "two"));
    bench_down(&b, true);
}

/* A Backup at work keeps the exclusive lock away: later, and who asked is told why. */
/* Whoever may edit a namespace may make Backups there. Such a one says nothing of what gleaner has
 * stored, whatever it calls itself. */
static void a_backup_elsewhere_speaks_for_nobody(void **state)
{
    (void)state;
    struct bench b;
    struct kube_object o;
    struct err err;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");
    back_up(&b, "two", "");
    assert_int_equal(kube_get(b.kube, b.a, &KUBE_BACKUP, "gleaner-system", "one", &o, &err), 0);
    post(&b, arena_printf(b.a,
                          "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Backup','metadata':{"
                          "'name':'one','namespace':'app','annotations':{"
                          "'gleaner.dev/backup-uid':'%s','gleaner.dev/request':'forget:1'}},"
                          "'spec':{'storeRef':{'name':'local'},'target':{'kind':'Kustomization',"
                          "'namespace':'flux-system','name':'app'}}}]",
                          o.uid));
    assert_int_equal(retain(&b).forgotten, 0);
    delete (&b, "one");
    assert_int_equal(sync_now(&b, 1).made, 1);
    assert_true(there(&b, "one"));
    bench_down(&b, true);
}

static void a_busy_repository_is_tried_again(void **state)
{
    (void)state;
    struct bench b;
    struct err err;
    struct retain_result r;
    bench_up(&b, NULL);
    post(&b, application);
    back_up(&b, "one", "");
    back_up(&b, "two", "");
    ask(&b, "one", "forget");
    struct opened o CLEANUP(store_close) = {0};
    struct lock *lock;
    assert_int_equal(store_open(&b.cx, b.a, "local", "app", false, &o, &err), 0);
    assert_int_equal(store_lock(&b.cx, b.a, &o, false, &lock, &err), 0);
    assert_int_equal(store_retain(&b.cx, b.a, "local", "app", &r, &err), -1);
    assert_int_equal(err.kind, ERR_BUSY);
    assert_true(there(&b, "one"));
    assert_string_not_equal(message(&b, "one", "Forgotten"), "");
    assert_string_equal(status_at(&b, "one", "lastHandledRequest"), "");
    assert_int_equal(lock_release(lock, &err), 0);
    assert_int_equal(retain(&b).forgotten, 1);
    bench_down(&b, true);
}

/* A cluster that only reads forgets nothing, and says so. */
static void a_reader_forgets_nothing(void **state)
{
    (void)state;
    struct bench old, new;
    bench_up(&old, NULL);
    post(&old, application);
    back_up(&old, "one", ",'ttl':'1s'");
    back_up(&old, "two", "");
    bench_up(&new, &old);
    sync_now(&new, 1);
    pass(1100);
    ask(&new, "one", "forget");
    struct retain_result r;
    struct err err;
    assert_int_equal(store_retain(&new.cx, new.a, "local", "app", &r, &err), 0);
    assert_int_equal(r.forgotten, 0);
    assert_true(there(&new, "one"));
    assert_non_null(strstr(message(&new, "one", "Forgotten"), "another cluster"));
    bench_down(&new, false);
    bench_down(&old, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deleted_backup_comes_back_as_it_was),
        cmocka_unit_test(a_half_made_one_is_filled_in),
        cmocka_unit_test(a_running_one_is_not_doubled),
        cmocka_unit_test(a_taken_name_gets_an_ending),
        cmocka_unit_test(a_fresh_cluster_reads_them),
        cmocka_unit_test(one_goes_after_two_listings_apart),
        cmocka_unit_test(one_that_is_found_again_stays),
        cmocka_unit_test(a_bad_listing_removes_nothing),
        cmocka_unit_test(the_rule_is_strict),
        cmocka_unit_test(retention_forgets_and_sync_agrees),
        cmocka_unit_test(nothing_that_is_deleted_deletes_data),
        cmocka_unit_test(people_ask_and_are_answered),
        cmocka_unit_test(a_backup_elsewhere_speaks_for_nobody),
        cmocka_unit_test(a_busy_repository_is_tried_again),
        cmocka_unit_test(a_reader_forgets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
