/* What people do to a running Restore, and what happens then. */
#include "restore_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reconciler/holds.h"
#include "reconciler/target_lease.h"

static const char restore_key[] = "Restore/" GLEANER_NS "/r1";
static const char engine_key[] = "Kustomization/flux-system/shop";
static const char workload_key[] = "StatefulSet/shop/shop";

static struct scenario flux(const char *backup_ends)
{
    struct scenario s = {.target = TARGET_KUSTOMIZATION, .backup_ends = backup_ends};
    scenario_open(&s);
    return s;
}

static void drive(const struct fake_child *fake, const struct scenario *s, const char *until)
{
    assert_int_equal(driver_run(fake_kubeconfig(fake), s->root, until), 0);
}

/* ---- changes by people ---- */

static void patch(const struct fake_child *fake, const struct kube_type *t, const char *ns,
                  const char *name, const char *body, bool status)
{
    struct kube *k CLEANUP(kube_free_p) = fake_client(fake);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_write how = {.manager = "person", .subresource = status ? "status" : NULL};
    struct err err = {0};
    if (kube_patch(k, a, t, ns, name, KUBE_PATCH_MERGE, str_of(body), &how, NULL, &err) < 0)
        fail_msg("%s", err.msg);
}

static void delete (const struct fake_child *fake, const struct kube_type *t, const char *ns,
                    const char *name)
{
    struct kube *k CLEANUP(kube_free_p) = fake_client(fake);
    struct err err = {0};
    if (kube_delete(k, t, ns, name, NULL, &err) < 0)
        fail_msg("%s", err.msg);
}

static void ask(const struct fake_child *fake, const char *request)
{
    char *body CLEANUP(free_p) =
        xasprintf("{\"metadata\":{\"annotations\":{\"gleaner.dev/request\":\"%s\"}}}", request);
    patch(fake, &KUBE_RESTORE, GLEANER_NS, "r1", body, false);
}

/* ---- what is there ---- */

static char *text_at(const struct fake_child *fake, const char *key, const char *a, const char *b,
                     const char *c)
{
    json_t *state CLEANUP_JSON = scenario_state(fake);
    json_t *v = json_object_get(state, key);
    const char *const path[] = {a, b, c};
    for (size_t i = 0; i < ARRAY_LEN(path) && path[i]; i++)
        v = json_object_get(v, path[i]);
    return json_is_string(v) ? xstrdup(json_string_value(v))
           : v               ? json_dumps(v, JSON_ENCODE_ANY)
                             : NULL;
}

static void assert_at(const struct fake_child *fake, const char *key, const char *a, const char *b,
                      const char *c, const char *want)
{
    char *have CLEANUP(free_p) = text_at(fake, key, a, b, c);
    if (!streq(have, want))
        fail_msg("%s: %s.%s.%s is %s, not %s", key, a, b ? b : "", c ? c : "",
                 have ? have : "absent", want ? want : "absent");
}

static void assert_in(const struct fake_child *fake, const char *phase)
{
    assert_at(fake, restore_key, "status", "phase", NULL, phase);
}

static void assert_marker(const struct fake_child *fake, const char *state)
{
    char *marker CLEANUP(free_p) =
        text_at(fake, engine_key, "metadata", "annotations", "gleaner.dev/hold");
    char *want CLEANUP(free_p) = xasprintf("\"state\":\"%s\"", state);
    assert_true(marker && strstr(marker, want));
    assert_at(fake, engine_key, "spec", "suspend", NULL, "true");
}

static void assert_free(const struct fake_child *fake)
{
    assert_at(fake, engine_key, "spec", "suspend", NULL, NULL);
    assert_at(fake, engine_key, "metadata", "annotations", "gleaner.dev/hold", NULL);
    assert_at(fake, workload_key, "spec", "replicas", NULL, "2");
    assert_at(fake, workload_key, "metadata", "annotations", "gleaner.dev/stopped", NULL);
}

/* A reactor: as soon as a mover is there, a pod of somebody else mounts the claim. */
static json_t *intruder(void)
{
    json_error_t why;
    json_t *list = json_loads(
        "[{\"name\":\"somebody\",\"group\":\"\",\"kind\":\"Pod\",\"when\":[{\"path\":[\"metadata\","
        "\"labels\",\"gleaner.dev/mover\"],\"exists\":true}],\"after\":0,\"do\":[{\"create\":{"
        "\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"intruder\",\"namespace\":"
        "\"${namespace}\"},\"spec\":{\"nodeName\":\"n\",\"containers\":[],\"volumes\":[{\"name\":"
        "\"d\","
        "\"persistentVolumeClaim\":{\"claimName\":\"data-shop-0\"}}]},\"status\":{\"phase\":"
        "\"Running\"}}}]}]",
        0, &why);
    assert_non_null(list);
    return list;
}

/* Held in Volumes; the pod that was in the way is gone, and no other comes. */
static struct fake_child *held(struct scenario *s)
{
    json_t *more CLEANUP_JSON = intruder();
    struct fake_child *fake = scenario_start(s, more);
    drive(fake, s, NULL);
    assert_in(fake, "Held");
    assert_marker(fake, "cleared");
    assert_at(fake, workload_key, "spec", "replicas", NULL, "0");
    json_t *state CLEANUP_JSON = scenario_state(fake);
    const char *key;
    json_t *o;
    json_object_foreach(state, key, o)
        assert_false(str_starts(str_of(key), "Pod/shop/gleaner-mover"));
    scenario_reactors(fake, s, NULL);
    delete (fake, &KUBE_POD, "shop", "intruder");
    return fake;
}

static void a_foreign_pod_stops_it_and_resume_goes_on(void **state)
{
    (void)state;
    struct scenario s = flux("Completed");
    struct fake_child *fake = held(&s);
    /* Meanwhile somebody frees the engine: it has to be held again before anything is written. */
    patch(fake, &KUBE_KUSTOMIZATION, "flux-system", "shop", "{\"spec\":{\"suspend\":false}}",
          false);
    ask(fake, "resume:1");
    drive(fake, &s, NULL);
    assert_in(fake, "Done");
    assert_free(fake);
    json_t *end CLEANUP_JSON = scenario_state(fake);
    assert_restored(end);
    fake_stop(fake);
    scenario_close(&s);
}

static void abandon_gives_everything_back(void **state)
{
    (void)state;
    struct scenario s = flux("Completed");
    struct fake_child *fake = held(&s);
    ask(fake, "abandon");
    drive(fake, &s, NULL);
    assert_in(fake, "Failed");
    assert_free(fake);
    json_t *end CLEANUP_JSON = scenario_state(fake);
    assert_clean_hands(end);
    fake_stop(fake);
    scenario_close(&s);
}

struct freeing {
    struct kube *k;
    struct arena *a;
    unsigned n;
};

static int free_one(void *ctx, const struct held *h, struct err *err)
{
    struct freeing *f = ctx;
    f->n++;
    assert_true(h->orphan);
    assert_string_equal(h->state, "cleared");
    return holds_free(f->k, f->a, h, false, err);
}

/* The engine stays held, also over a sweep, until somebody frees it by hand. */
static void deleted_after_clear_it_stays_held(void **state)
{
    (void)state;
    struct scenario s = flux("Completed");
    struct fake_child *fake = held(&s);
    delete (fake, &KUBE_RESTORE, GLEANER_NS, "r1");
    drive(fake, &s, NULL);
    assert_at(fake, restore_key, "kind", NULL, NULL, NULL);
    drive(fake, &s, NULL); /* a controller that starts sweeps */
    assert_marker(fake, "cleared");
    assert_at(fake, workload_key, "spec", "replicas", NULL, "0");

    struct kube *k CLEANUP(kube_free_p) = fake_client(fake);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct freeing f = {k, a, 0};
    struct err err = {0};
    if (holds_each(k, a, free_one, &f, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(f.n, 2);
    assert_free(fake);
    fake_stop(fake);
    scenario_close(&s);
}

static void ended_before_clear(const char *how, const char *phase)
{
    struct scenario s = flux("Volumes" /* it never ends */);
    struct fake_child *fake = scenario_start(&s, NULL);
    drive(fake, &s, "SafetyBackup");
    assert_in(fake, "SafetyBackup");
    assert_marker(fake, "held");
    if (how)
        ask(fake, how);
    else
        delete (fake, &KUBE_RESTORE, GLEANER_NS, "r1");
    drive(fake, &s, NULL);
    assert_at(fake, restore_key, "status", "phase", NULL, phase);
    assert_free(fake);
    json_t *end CLEANUP_JSON = scenario_state(fake);
    assert_clean_hands(end);
    fake_stop(fake);
    scenario_close(&s);
}

static void cancelled_before_clear_nothing_is_changed(void **state)
{
    (void)state;
    ended_before_clear("cancel", "Cancelled");
}

static void deleted_before_clear_nothing_is_changed(void **state)
{
    (void)state;
    ended_before_clear(NULL, NULL);
}

static void verify_turns_red(const struct kube_type *t, const char *name, const char *change,
                             const char *names)
{
    struct scenario s = flux("Completed");
    struct fake_child *fake = scenario_start(&s, NULL);
    drive(fake, &s, "Verify");
    patch(fake, t, "shop", name, change, false);
    drive(fake, &s, NULL);
    assert_in(fake, "Held");
    json_t *list CLEANUP_JSON = fake_get(fake, "objects"), *o;
    size_t i;
    bool named = false;
    json_array_foreach(list, i, o)
    {
        if (!streq(json_text_at(o, "kind", NULL), "Restore"))
            continue;
        char *status CLEANUP(free_p) = json_dumps(json_object_get(o, "status"), 0);
        named = strstr(status, names) != NULL;
        assert_null(strstr(status, "YWRkZWQ=")); /* the field is named, its value is not */
    }
    assert_true(named);
    fake_stop(fake);
    scenario_close(&s);
}

static void verify_misses_a_key(void **state)
{
    (void)state;
    verify_turns_red(&KUBE_SECRET, "app", "{\"data\":{\"added\":null}}", "data.added");
    verify_turns_red(&KUBE_CONFIGMAP, "tuned", "{\"data\":{\"b\":null}}", "data.b");
}

static bool leased(const struct fake_child *fake)
{
    json_t *state CLEANUP_JSON = scenario_state(fake);
    return json_object_get(state, "Lease/" GLEANER_NS "/gleaner-restores") != NULL;
}

/* ---- Git has dropped it ---- */

#define RESOURCE(group, kind, name, more)                                                          \
    "{\"group\":\"" group "\",\"version\":\"v1\",\"kind\":\"" kind                                 \
    "\",\"namespace\":\"shop\",\"name\":\"" name "\"," more "}"
#define SYNCED "\"status\":\"Synced\""
#define DROPPED "\"status\":\"OutOfSync\",\"requiresPruning\":true"

static struct fake_child *dropped(struct scenario *s, const char *resource, const char *automated)
{
    *s = (struct scenario){.target = TARGET_APPLICATION, .backup_ends = "Completed"};
    scenario_open(s);
    struct fake_child *fake = scenario_start(s, NULL);
    char *policy CLEANUP(free_p) =
        xasprintf("{\"spec\":{\"syncPolicy\":{\"automated\":%s}}}", automated);
    patch(fake, &KUBE_APPLICATION, "argocd", "shop", policy, false);
    drive(fake, s, "Preflight");
    char *body CLEANUP(free_p) = xasprintf(
        "{\"status\":{\"resources\":[" RESOURCE("apps", "StatefulSet", "shop", SYNCED) ",%s]}}",
        resource);
    patch(fake, &KUBE_APPLICATION, "argocd", "shop", body, false);
    drive(fake, s, NULL);
    return fake;
}

static void what_argocd_would_prune_is_not_given_back(void **state)
{
    (void)state;
    static const char claim[] = RESOURCE("", "PersistentVolumeClaim", "data-shop-0", DROPPED);
    struct scenario s;
    struct fake_child *fake = dropped(&s, claim, "{\"prune\":true}");
    assert_in(fake, "Held");
    assert_at(fake, "Application/argocd/shop", "spec", "syncPolicy", "automated",
              "{\"prune\": true, \"selfHeal\": true, \"enabled\": false}");
    patch(fake, &KUBE_PVC, "shop", "data-shop-0",
          "{\"metadata\":{\"annotations\":{\"argocd.argoproj.io/sync-options\":\"PruneLast=true, "
          "Prune=false\"}}}",
          false);
    ask(fake, "resume");
    drive(fake, &s, NULL);
    assert_in(fake, "Done");
    fake_stop(fake);
    scenario_close(&s);
}

/* A reactor: the Restore r2 ends after a second in this phase, and bears a mark from then on. */
static json_t *another_ends(const char *phase)
{
    json_t *list = json_pack("[{s:s, s:s, s:s, s:[{s:[s, s], s:s}, {s:[s, s], s:s}], s:i, "
                             "s:[{s:[s, s], s:s}, {s:[s, s], "
                             "s:{s:s}}]}]",
                             "name", "somebody", "group", "gleaner.dev", "kind", "Restore", "when",
                             "path", "status", "phase", "equals", phase, "path", "metadata", "name",
                             "equals", "r2", "after", 200, "do", "set", "status", "phase", "value",
                             "Failed", "set", "metadata", "annotations", "value", "ended", "yes");
    assert_non_null(list);
    return list;
}

/* The Restore r2 in that phase, of a backup of that namespace; it has the Lease (NULL: none). */
static void post_another(const struct fake_child *fake, const char *phase, const char *ns,
                         const char *lease)
{
    char *restore CLEANUP(free_p) =
        xasprintf("{\"apiVersion\":\"gleaner.dev/"
                  "v1alpha1\",\"kind\":\"Restore\",\"metadata\":{\"name\":\"r2\","
                  "\"namespace\":\"" GLEANER_NS
                  "\",\"uid\":\"u-r2\"},\"spec\":{\"backupRef\":{\"name\":\"b2\"}},"
                  "\"status\":{\"phase\":\"%s\",\"source\":{\"namespace\":\"%s\"}}}",
                  phase, ns);
    fake_post(fake, "objects", restore);
    char *held CLEANUP(free_p) =
        xasprintf("{\"apiVersion\":\"coordination.k8s.io/"
                  "v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"%s\","
                  "\"namespace\":\"" GLEANER_NS
                  "\"},\"spec\":{\"holderIdentity\":\"Restore/" GLEANER_NS "/r2/u-r2\"}}",
                  lease ? lease : "");
    if (lease)
        fake_post(fake, "objects", held);
}

static void assert_another_has_ended(const struct fake_child *fake)
{
    assert_at(fake, "Restore/" GLEANER_NS "/r2", "metadata", "annotations", "ended", "yes");
}

/* One that is Held is in nobody's way, and has the Lease again when it goes on. */
static void held_it_gives_the_lease_of_all_back(void **state)
{
    (void)state;
    static const char claim[] = RESOURCE("", "PersistentVolumeClaim", "data-shop-0", DROPPED);
    struct scenario s;
    struct fake_child *fake = dropped(&s, claim, "{\"prune\":true}");
    assert_in(fake, "Held");
    assert_false(leased(fake));
    patch(fake, &KUBE_PVC, "shop", "data-shop-0",
          "{\"metadata\":{\"annotations\":{\"argocd.argoproj.io/sync-options\":\"Prune=false\"}}}",
          false);
    post_another(fake, "Volumes", "another", LEASE_RESTORES);
    json_t *ends CLEANUP_JSON = another_ends("Volumes");
    scenario_reactors(fake, &s, ends);
    ask(fake, "resume");
    drive(fake, &s, "Preflight");
    assert_another_has_ended(fake);
    drive(fake, &s, "Resume");
    assert_true(leased(fake));
    drive(fake, &s, NULL);
    assert_in(fake, "Done");
    assert_false(leased(fake));
    fake_stop(fake);
    scenario_close(&s);
}

/* Held, and its volumes half written: a second one in the namespace waits, and lets others work. */
static void in_the_namespace_of_one_that_is_held_another_waits(void **state)
{
    (void)state;
    json_t *ends CLEANUP_JSON = another_ends("Held");
    struct scenario s = {.target = TARGET_APPLICATION, .backup_ends = "Completed"};
    scenario_open(&s);
    struct fake_child *fake = scenario_start(&s, ends);
    post_another(fake, "Held", "shop", NULL);
    drive(fake, &s, "Hold"); /* not before r2 has ended */
    assert_another_has_ended(fake);
    drive(fake, &s, NULL);
    assert_in(fake, "Done");
    fake_stop(fake);
    scenario_close(&s);
}

/* The target is somebody else's, who may need the Lease of all to end. */
static void who_waits_for_a_target_keeps_nobody_waiting(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct scenario s = flux("Completed");
    struct fake_child *fake = scenario_start(&s, NULL);
    post_another(fake, "Held", "another",
                 lease_of_target(a, "Kustomization", "flux-system", "shop"));
    assert_int_equal(driver_turns(fake_kubeconfig(fake), s.root, 20), 0);
    assert_in(fake, "Lock");
    assert_false(leased(fake));
    patch(fake, &KUBE_RESTORE, GLEANER_NS, "r2", "{\"status\":{\"phase\":\"Done\"}}", true);
    drive(fake, &s, NULL);
    assert_in(fake, "Done");
    fake_stop(fake);
    scenario_close(&s);
}

/* It waits in Resume for a person, for days: Git may drop something meanwhile. */
static void a_manual_resume_looks_again(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {RESOURCE("", "PersistentVolumeClaim", "data-shop-0", DROPPED), "Held"},
        {RESOURCE("", "PersistentVolumeClaim", "data-shop-0", SYNCED), "Done"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scenario s = {.target = TARGET_APPLICATION, .backup_ends = "Completed"};
        scenario_open(&s);
        struct fake_child *fake = scenario_start(&s, NULL);
        patch(fake, &KUBE_RESTORE, GLEANER_NS, "r1", "{\"spec\":{\"resume\":\"Manual\"}}", false);
        drive(fake, &s, "Resume");
        assert_int_equal(driver_turns(fake_kubeconfig(fake), s.root, 5), 0);
        assert_in(fake, "Resume");
        assert_false(leased(fake));
        char *body CLEANUP(free_p) = xasprintf("{\"status\":{\"resources\":[%s]}}", rows[i][0]);
        patch(fake, &KUBE_APPLICATION, "argocd", "shop", body, false);
        ask(fake, "resume");
        drive(fake, &s, NULL);
        assert_in(fake, rows[i][1]);
        fake_stop(fake);
        scenario_close(&s);
    }
}

/* Without Git all is listed as if Git held nothing. */
static void what_cannot_be_compared_is_waited_for(void **state)
{
    (void)state;
    json_error_t why;
    json_t *comes_back CLEANUP_JSON = json_loads(
        "[{\"name\":\"repo-server\",\"group\":\"argoproj.io\",\"kind\":\"Application\",\"when\":[{"
        "\"path\":[\"status\",\"sync\",\"status\"],\"equals\":\"Unknown\"}],\"after\":200,\"do\":[{"
        "\"set\":[\"status\",\"sync\",\"status\"],\"value\":\"Synced\"},{\"set\":[\"status\","
        "\"resources\"],\"value\":[]}]}]",
        0, &why);
    assert_non_null(comes_back);
    struct scenario s = {.target = TARGET_APPLICATION, .backup_ends = "Completed"};
    scenario_open(&s);
    struct fake_child *fake = scenario_start(&s, comes_back);
    drive(fake, &s, "Preflight");
    patch(fake, &KUBE_APPLICATION, "argocd", "shop",
          "{\"status\":{\"sync\":{\"status\":\"Unknown\"},\"resources\":[" RESOURCE(
              "", "PersistentVolumeClaim", "data-shop-0", DROPPED) "]}}",
          false);
    drive(fake, &s, NULL);
    assert_in(fake, "Done");
    fake_stop(fake);
    scenario_close(&s);
}

static void what_else_it_would_prune_is_its_own_business(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {RESOURCE("", "ConfigMap", "another", DROPPED), "{\"prune\":true}"},
        {RESOURCE("", "PersistentVolumeClaim", "data-shop-0", DROPPED), "{\"prune\":false}"},
        {RESOURCE("", "PersistentVolumeClaim", "data-shop-0", DROPPED),
         "{\"prune\":true,\"enabled\":false}"},
        {RESOURCE("", "PersistentVolumeClaim", "data-shop-0", SYNCED), "{\"prune\":true}"},
        {RESOURCE("", "Secret", "handmade", DROPPED ",\"hook\":true"), "{\"prune\":true}"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scenario s;
        struct fake_child *fake = dropped(&s, rows[i][0], rows[i][1]);
        assert_in(fake, "Done");
        fake_stop(fake);
        scenario_close(&s);
    }
}

int people_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_argocd_would_prune_is_not_given_back),
        cmocka_unit_test(what_else_it_would_prune_is_its_own_business),
        cmocka_unit_test(what_cannot_be_compared_is_waited_for),
        cmocka_unit_test(a_manual_resume_looks_again),
        cmocka_unit_test(who_waits_for_a_target_keeps_nobody_waiting),
        cmocka_unit_test(held_it_gives_the_lease_of_all_back),
        cmocka_unit_test(in_the_namespace_of_one_that_is_held_another_waits),
        cmocka_unit_test(a_foreign_pod_stops_it_and_resume_goes_on),
        cmocka_unit_test(abandon_gives_everything_back),
        cmocka_unit_test(deleted_after_clear_it_stays_held),
        cmocka_unit_test(cancelled_before_clear_nothing_is_changed),
        cmocka_unit_test(deleted_before_clear_nothing_is_changed),
        cmocka_unit_test(verify_misses_a_key),
    };
    return cmocka_run_group_tests_name("people", tests, NULL, NULL);
}
