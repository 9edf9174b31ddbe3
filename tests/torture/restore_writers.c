/* Whoever may write to a volume that is going to be overwritten: what is refused before anything is
 * stopped, and what is noticed afterwards, so that no byte is lost that no backup has. */
#include "restore_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reconciler/holds.h"
#include "reconciler/mover_pod.h"
#include "reconciler/restore/workload.h"
#include "reconciler/restore/restore.h"

#define STOPPED "gleaner.dev/stopped"

static const char workload_key[] = "StatefulSet/shop/shop";

struct world {
    struct scenario s;
    struct fake_child *fake;
};

static void begin(struct world *w, const char *backup_ends, enum target target)
{
    *w = (struct world){.s = {.target = target, .backup_ends = backup_ends}};
    scenario_open(&w->s);
    w->fake = scenario_start(&w->s, NULL);
}

static void end(struct world *w)
{
    fake_stop(w->fake);
    scenario_close(&w->s);
}

static void drive(struct world *w, const char *until)
{
    assert_int_equal(driver_run(fake_kubeconfig(w->fake), w->s.root, until), 0);
}

/* A few reconciles: for what waits without end. */
static void some_steps(struct world *w, int n)
{
    struct kube *k CLEANUP(kube_free_p) = fake_client(w->fake);
    struct context cx = {.kube = k,
                         .ns = GLEANER_NS,
                         .local_root = w->s.root,
                         .lock_settle_ms = 1,
                         .mover_image = "none",
                         .cluster = "torture"};
    for (int i = 0; i < n; i++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        struct outcome out;
        struct err err = {0};
        if (restore_reconcile(&cx, a, GLEANER_NS, "r1", &out, &err) < 0 && err.kind != ERR_CONFLICT)
            fail_msg("%s", err.msg);
    }
    stored_drop();
}

/* ---- what people do ---- */

static void patch(struct world *w, const struct kube_type *t, const char *ns, const char *name,
                  const char *body)
{
    struct kube *k CLEANUP(kube_free_p) = fake_client(w->fake);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_write how = {.manager = "person"};
    struct err err = {0};
    if (kube_patch(k, a, t, ns, name, KUBE_PATCH_MERGE, str_of(body), &how, NULL, &err) < 0)
        fail_msg("%s", err.msg);
}

static void scale(struct world *w, int replicas)
{
    char *body CLEANUP(free_p) = xasprintf("{\"spec\":{\"replicas\":%d}}", replicas);
    patch(w, &KUBE_STATEFULSET, "shop", "shop", body);
}

static void ask(struct world *w, const char *request)
{
    char *body CLEANUP(free_p) =
        xasprintf("{\"metadata\":{\"annotations\":{\"gleaner.dev/request\":\"%s\"}}}", request);
    patch(w, &KUBE_RESTORE, GLEANER_NS, "r1", body);
}

static void delete (struct world *w, const struct kube_type *t, const char *ns, const char *name)
{
    struct kube *k CLEANUP(kube_free_p) = fake_client(w->fake);
    struct err err = {0};
    if (kube_delete(k, t, ns, name, NULL, &err) < 0)
        fail_msg("%s", err.msg);
}

#define MOUNTS                                                                                     \
    "\"volumes\":[{\"name\":\"d\",\"persistentVolumeClaim\":{\"claimName\":\"data-shop-0\"}}]"

static void add_intruder(struct world *w)
{
    fake_post(w->fake, "objects",
              "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"intruder\","
              "\"namespace\":\"shop\"},\"spec\":{\"nodeName\":\"n\",\"containers\":[]," MOUNTS "},"
              "\"status\":{\"phase\":\"Running\"}}");
}

static int free_one(void *ctx, const struct held *h, struct err *err)
{
    struct kube *k = ctx;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    return holds_free(k, a, h, false, err);
}

/* gleaner holds --free */
static void free_everything(struct world *w)
{
    struct kube *k CLEANUP(kube_free_p) = fake_client(w->fake);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct err err = {0};
    if (holds_each(k, a, free_one, k, &err) < 0)
        fail_msg("%s", err.msg);
}

/* ---- what is there ---- */

static void assert_replicas(struct world *w, const char *key, int want)
{
    json_t *state CLEANUP_JSON = scenario_state(w->fake);
    json_t *o = json_object_get(state, key);
    assert_non_null(o);
    assert_int_equal(json_integer_value(json_value_at(o, "spec", "replicas", NULL)), want);
}

static json_t *restore_of(struct world *w)
{
    json_t *list CLEANUP_JSON = fake_get(w->fake, "objects"), *o;
    size_t i;
    json_array_foreach(list, i, o)
    {
        if (streq(json_text_at(o, "kind", NULL), "Restore"))
            return json_incref(o);
    }
    return NULL;
}

/* In this phase, and the condition Ready says both words. */
static void assert_says(struct world *w, const char *phase, const char *one, const char *two)
{
    json_t *o CLEANUP_JSON = restore_of(w), *c;
    assert_non_null(o);
    const char *message = "";
    size_t i;
    json_array_foreach(json_value_at(o, "status", "conditions", NULL), i, c)
    {
        if (streq(json_text_at(c, "type", NULL), "Ready"))
            message = json_text_at(c, "message", NULL);
    }
    const char *in = json_text_at(o, "status", "phase", NULL);
    if (!streq(in, phase) || !strstr(message, one) || !strstr(message, two))
        fail_msg("in %s, not %s, or it lacks \"%s\" or \"%s\": %s", in, phase, one, two, message);
}

/* Nothing was overwritten, and everything is given back. */
static void assert_untouched(struct world *w)
{
    json_t *state CLEANUP_JSON = scenario_state(w->fake);
    assert_string_equal(json_text_at(state, "ConfigMap/shop/tuned", "data", "a", NULL), "changed");
    assert_null(json_value_at(state, "Kustomization/flux-system/shop", "spec", "suspend", NULL));
    assert_null(json_value_at(state, workload_key, "metadata", "annotations", STOPPED, NULL));
    assert_clean_hands(state);
}

/* ---- claims that go with the pods ---- */

static const char deletes_claims[] =
    "{\"spec\":{\"persistentVolumeClaimRetentionPolicy\":{\"whenScaled\":\"Delete\"}}}";

static void a_set_that_deletes_its_claims_is_not_scaled(void **state)
{
    (void)state;
    static const char *const when[] = {NULL, "Stop"};
    for (size_t i = 0; i < ARRAY_LEN(when); i++) {
        struct world w;
        begin(&w, "Completed", TARGET_KUSTOMIZATION);
        if (when[i])
            drive(&w, when[i]);
        patch(&w, &KUBE_STATEFULSET, "shop", "shop", deletes_claims);
        drive(&w, NULL);
        assert_says(&w, "Failed", when[i] ? "Stop: StatefulSet shop" : "Plan: StatefulSet shop",
                    "whenScaled to Retain");
        assert_replicas(&w, workload_key, 2);
        assert_untouched(&w);
        end(&w);
    }
}

/* The claim has a finalizer, as every claim that a pod mounts. */
static void delete_claim(struct world *w, bool at_once)
{
    if (!at_once)
        patch(w, &KUBE_PVC, "shop", "data-shop-0",
              "{\"metadata\":{\"finalizers\":[\"kubernetes.io/pvc-protection\"]}}");
    delete (w, &KUBE_PVC, "shop", "data-shop-0");
}

static void a_claim_that_goes_is_not_cleared(void **state)
{
    (void)state;
    static const struct {
        const char *until;
        bool at_once;
        const char *says;
    } rows[] = {
        {NULL, false, "Plan: claim data-shop-0"},
        {"SafetyBackup", false, "SafetyBackup: claim data-shop-0"},
        {"SafetyBackup", true, "SafetyBackup: claim data-shop-0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;
        begin(&w, "Completed", TARGET_KUSTOMIZATION);
        if (rows[i].until)
            drive(&w, rows[i].until);
        delete_claim(&w, rows[i].at_once);
        drive(&w, NULL);
        assert_says(&w, "Failed", rows[i].says, rows[i].at_once ? "is gone" : "is being deleted");
        assert_untouched(&w);
        end(&w);
    }
}

/* A claim that is not there at Plan is made, as always. */
static void a_claim_that_was_gone_before_is_made(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "Completed", TARGET_KUSTOMIZATION);
    delete (&w, &KUBE_PVC, "shop", "data-shop-0");
    drive(&w, NULL);
    assert_says(&w, "Done", "", "");
    end(&w);
}

/* ---- what starts pods by itself ---- */

static void makes_pods(const char *object, const char *says)
{
    struct world w;
    begin(&w, "Completed", TARGET_KUSTOMIZATION);
    fake_post(w.fake, "objects", object);
    drive(&w, NULL);
    if (says) {
        assert_says(&w, "Failed", "Plan: ", says);
        assert_untouched(&w);
    } else {
        assert_says(&w, "Done", "", "");
    }
    end(&w);
}

#define OBJECT(api, kind, spec, rest)                                                              \
    "{\"apiVersion\":\"" api "\",\"kind\":\"" kind "\",\"metadata\":{\"name\":\"other\","          \
    "\"namespace\":\"shop\"},\"spec\":{" spec "}" rest "}"
#define TEMPLATE "\"template\":{\"spec\":{\"containers\":[]," MOUNTS "}}"

static void what_makes_pods_is_refused_unless_it_rests(void **state)
{
    (void)state;
    makes_pods(OBJECT("batch/v1", "CronJob", "\"jobTemplate\":{\"spec\":{" TEMPLATE "}}", ""),
               "CronJob other mounts the claim data-shop-0");
    makes_pods(OBJECT("batch/v1", "CronJob",
                      "\"suspend\":true,\"jobTemplate\":{\"spec\":{" TEMPLATE "}}", ""),
               NULL);
    makes_pods(OBJECT("batch/v1", "CronJob",
                      "\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{}}}}", ""),
               NULL);
    makes_pods(OBJECT("batch/v1", "Job", TEMPLATE, ""), "Job other mounts the claim data-shop-0");
    makes_pods(
        OBJECT("apps/v1", "DaemonSet", TEMPLATE, ",\"status\":{\"desiredNumberScheduled\":0}"),
        NULL);
}

/* ---- who would start it again ---- */

/* Argo CD has put the workload there, for this application. */
static void tracked_by(const char *app, const char *phase, const char *says)
{
    struct world w;
    begin(&w, "Completed", TARGET_APPLICATION);
    struct kube *k CLEANUP(kube_free_p) = fake_client(w.fake);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_write how = {.manager = "argocd-controller"};
    struct err err = {0};
    char *body CLEANUP(free_p) =
        xasprintf("{\"metadata\":{\"annotations\":{\"argocd.argoproj.io/tracking-id\":"
                  "\"%s:apps/StatefulSet:shop/shop\"}},\"spec\":{\"replicas\":3}}",
                  app);
    if (kube_patch(k, a, &KUBE_STATEFULSET, "shop", "shop", KUBE_PATCH_MERGE, str_of(body), &how,
                   NULL, &err) < 0)
        fail_msg("%s", err.msg);
    drive(&w, NULL);
    assert_says(&w, phase, says, "");
    assert_replicas(&w, workload_key, 3);
    end(&w);
}

static void another_application_of_argocd_is_named(void **state)
{
    (void)state;
    tracked_by("other", "Failed", "declared by Application other, which is not held");
    tracked_by("elsewhere_shop", "Failed", "declared by Application elsewhere/shop");
    tracked_by("shop", "Done", "");
    tracked_by("argocd_shop", "Done", "");
}

/* ---- who writes after Stop ---- */

static void a_pod_while_the_safety_backup_runs_ends_it(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "Volumes" /* it never ends */, TARGET_KUSTOMIZATION);
    drive(&w, "SafetyBackup");
    some_steps(&w, 2);
    add_intruder(&w);
    some_steps(&w, 1);
    delete (&w, &KUBE_POD, "shop", "intruder");
    drive(&w, NULL);
    assert_says(&w, "Failed", "SafetyBackup: pod intruder", "Nothing was changed");
    assert_replicas(&w, workload_key, 2);
    assert_untouched(&w);
    end(&w);
}

/* Up and down again while nobody looked: the safety backup is not the last state. */
static void scaled_while_the_safety_backup_runs(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "Completed", TARGET_KUSTOMIZATION);
    drive(&w, "SafetyBackup");
    scale(&w, 1);
    scale(&w, 0);
    drive(&w, NULL);
    assert_says(&w, "Failed", "SafetyBackup: somebody has changed", "StatefulSet shop");
    assert_replicas(&w, workload_key, 2);
    assert_untouched(&w);
    end(&w);
}

static void nobody_goes_on_after_a_pod_in_clear(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "Completed", TARGET_KUSTOMIZATION);
    drive(&w, "Clear");
    add_intruder(&w);
    drive(&w, NULL);
    assert_says(&w, "Held", "Clear: pod intruder", "make a new one");
    delete (&w, &KUBE_POD, "shop", "intruder");
    ask(&w, "resume:1");
    drive(&w, NULL);
    assert_says(&w, "Held", "Clear: pod intruder", "make a new one");
    ask(&w, "abandon");
    drive(&w, NULL);
    assert_replicas(&w, workload_key, 2);
    assert_untouched(&w);
    end(&w);
}

/* Held in Volumes, over a pod that has gone since. */
static void hold_in_volumes(struct world *w)
{
    begin(w, "Completed", TARGET_KUSTOMIZATION);
    drive(w, "Volumes");
    add_intruder(w);
    drive(w, NULL);
    assert_says(w, "Held", "Volumes: pod intruder", "request=resume");
    delete (w, &KUBE_POD, "shop", "intruder");
}

static void freed_while_held_it_does_not_go_on(void **state)
{
    (void)state;
    struct world w;
    hold_in_volumes(&w);
    free_everything(&w);
    assert_replicas(&w, workload_key, 2);
    ask(&w, "resume:1");
    drive(&w, NULL);
    assert_says(&w, "Held", "StatefulSet shop is not stopped", "is not held any more");
    assert_replicas(&w, workload_key, 2);
    assert_untouched(&w);
    end(&w);
}

static void scaled_while_held_it_does_not_go_on(void **state)
{
    (void)state;
    struct world w;
    hold_in_volumes(&w);
    scale(&w, 1);
    ask(&w, "resume:1");
    drive(&w, NULL);
    assert_says(&w, "Held", "somebody has changed the spec of StatefulSet shop", "make a new one");
    assert_replicas(&w, workload_key, 1);
    end(&w);
}

/* ---- stopping again ---- */

static void scaled_up_during_stop_it_is_stopped_again(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "Completed", TARGET_KUSTOMIZATION);
    drive(&w, "Stop");
    fake_post(w.fake, "reactors", "[]"); /* the pod stays until it is stopped again */
    some_steps(&w, 1);
    assert_replicas(&w, workload_key, 0);
    scale(&w, 1);
    some_steps(&w, 1);
    assert_replicas(&w, workload_key, 0);
    scale(&w, 1);
    scale(&w, 0); /* what happens before the safety backup is in it */
    scenario_reactors(w.fake, &w.s, NULL);
    drive(&w, NULL);
    assert_says(&w, "Done", "", "");
    assert_replicas(&w, workload_key, 2);
    end(&w);
}

static void add_left(struct world *w, const char *name, const char *target)
{
    char *text CLEANUP(free_p) = xasprintf(
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"%s\","
        "\"namespace\":\"shop\",\"generation\":2,\"annotations\":{\"" STOPPED
        "\":\"{\\\"restore\\\":\\\"" GLEANER_NS
        "/gone\\\",\\\"uid\\\":\\\"9f9f9f9f-0000-4000-8000-000000000009\\\",\\\"target\\\":\\\"%s"
        "\\\",\\\"replicas\\\":3,\\\"managedFields\\\":[],\\\"state\\\":\\\"cleared\\\"}\"}},"
        "\"spec\":{\"replicas\":0,\"template\":{}},\"status\":{\"replicas\":0}}",
        name, target);
    fake_post(w->fake, "objects", text);
}

static void what_a_deleted_restore_left_stopped_is_started(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "Completed", TARGET_KUSTOMIZATION);
    add_left(&w, "left", "Kustomization flux-system/shop");
    add_left(&w, "other", "Kustomization flux-system/other");
    drive(&w, NULL);
    assert_says(&w, "Done", "", "");
    assert_replicas(&w, "Deployment/shop/left", 3);
    assert_replicas(&w, "Deployment/shop/other", 0);
    end(&w);
}

static void read_again(struct kube *k, struct arena *a, const struct kube_type *t,
                       struct kube_object *o, struct stopped *s)
{
    struct err err = {0};
    if (kube_get(k, a, t, "shop", "web", o, &err) < 0 || stopped_read(a, o, s, &err) < 0)
        fail_msg("%s", err.msg);
}

static void stop_and_look(struct world *w, const struct kube_type *t, int replicas)
{
    struct kube *k CLEANUP(kube_free_p) = fake_client(w->fake);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    const struct stopper by = {GLEANER_NS "/r1", RESTORE_UID, "Kustomization flux-system/shop"};
    char *text CLEANUP(free_p) =
        xasprintf("{\"apiVersion\":\"apps/v1\",\"kind\":\"%s\",\"metadata\":{\"name\":\"web\","
                  "\"namespace\":\"shop\",\"generation\":7},\"spec\":{\"replicas\":%d}}",
                  t->kind, replicas);
    struct kube_object o;
    struct stopped s;
    struct err err = {0};
    fake_post(w->fake, "objects", text);
    read_again(k, a, t, &o, &s);
    assert_int_equal(workload_stop(k, a, t, &o, &by, &err), 0);
    read_again(k, a, t, &o, &s);
    assert_true(workload_is_still(&o, &s));
    assert_int_equal(workload_mark_cleared(k, a, t, &o, by.uid, &err), 0);
    read_again(k, a, t, &o, &s);
    assert_true(s.cleared && workload_is_still(&o, &s));
    patch(w, t, "shop", "web", "{\"spec\":{\"replicas\":1}}");
    patch(w, t, "shop", "web", "{\"spec\":{\"replicas\":0}}");
    read_again(k, a, t, &o, &s);
    assert_false(workload_is_still(&o, &s));
}

/* A Deployment counts its annotations, and so our own notes, as generations; a StatefulSet does
 * not. That it was scaled up and down again is seen on both. */
static void what_we_note_lets_nobody_run(void **state)
{
    (void)state;
    static const struct kube_type *const types[] = {&KUBE_DEPLOYMENT, &KUBE_STATEFULSET};
    struct world w;
    begin(&w, "Completed", TARGET_KUSTOMIZATION);
    fake_post(w.fake, "reactors", "[]");
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        stop_and_look(&w, types[i], 2);
        stop_and_look(&w, types[i], 0);
    }
    end(&w);
}

/* ---- a mover that does not go ---- */

static void hold_with_a_stuck_mover(struct world *w)
{
    hold_in_volumes(w);
    fake_post(w->fake, "objects",
              "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"stuck\","
              "\"namespace\":\"shop\",\"labels\":{\"" MOVER_LABEL "\":\"" RESTORE_UID "\"},"
              "\"finalizers\":[\"test/node-is-gone\"]},\"spec\":{\"nodeName\":\"node-7\","
              "\"containers\":[]},\"status\":{\"phase\":\"Running\"}}");
}

static void a_mover_on_a_dead_node_is_named(void **state)
{
    (void)state;
    for (int deleted = 0; deleted < 2; deleted++) {
        struct world w;
        hold_with_a_stuck_mover(&w);
        if (deleted)
            delete (&w, &KUBE_RESTORE, GLEANER_NS, "r1");
        else
            ask(&w, "abandon");
        some_steps(&w, 3);
        assert_says(&w, deleted ? "Held" : "Stop", "pod stuck on node node-7",
                    "kubectl delete node node-7");
        patch(&w, &KUBE_POD, "shop", "stuck", "{\"metadata\":{\"finalizers\":null}}");
        drive(&w, NULL);
        json_t *o CLEANUP_JSON = restore_of(&w);
        assert_true(deleted ? o == NULL
                            : streq(json_text_at(o, "status", "phase", NULL), "Failed"));
        end(&w);
    }
}

int writers_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_that_deletes_its_claims_is_not_scaled),
        cmocka_unit_test(a_claim_that_goes_is_not_cleared),
        cmocka_unit_test(a_claim_that_was_gone_before_is_made),
        cmocka_unit_test(what_makes_pods_is_refused_unless_it_rests),
        cmocka_unit_test(another_application_of_argocd_is_named),
        cmocka_unit_test(a_pod_while_the_safety_backup_runs_ends_it),
        cmocka_unit_test(scaled_while_the_safety_backup_runs),
        cmocka_unit_test(nobody_goes_on_after_a_pod_in_clear),
        cmocka_unit_test(freed_while_held_it_does_not_go_on),
        cmocka_unit_test(scaled_while_held_it_does_not_go_on),
        cmocka_unit_test(scaled_up_during_stop_it_is_stopped_again),
        cmocka_unit_test(what_a_deleted_restore_left_stopped_is_started),
        cmocka_unit_test(what_we_note_lets_nobody_run),
        cmocka_unit_test(a_mover_on_a_dead_node_is_named),
    };
    return cmocka_run_group_tests_name("writers", tests, NULL, NULL);
}
