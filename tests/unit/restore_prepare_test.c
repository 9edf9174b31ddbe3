/* Objects on their way back: what they lose, who owns their fields, when two are the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "kube/client.h"
#include "reconciler/restore/fields.h"
#include "reconciler/restore/prepare.h"

static struct arena *a;

static int setup(void **state)
{
    (void)state;
    a = arena_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(a);
    return 0;
}

static struct kube_object object(const char *text)
{
    struct kube_object o;
    struct err err = {0};
    if (kube_object_read(a, str_of(text), &o, &err) < 0)
        fail_msg("%s", err.msg);
    return o;
}

static const char secret[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\",\"namespace\":"
    "\"shop\","
    "\"uid\":\"u-old\",\"resourceVersion\":\"17\",\"creationTimestamp\":\"2026-01-01T00:00:00Z\","
    "\"labels\":{\"app\":\"shop\"},\"annotations\":{\"argocd.argoproj.io/"
    "tracking-id\":\"x\",\"k\":\"v\"},"
    "\"finalizers\":[\"example.com/f\"],\"ownerReferences\":["
    "{\"apiVersion\":\"apps/"
    "v1\",\"kind\":\"StatefulSet\",\"name\":\"shop\",\"uid\":\"u-sts\",\"controller\":true},"
    "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"gone\",\"uid\":\"u-gone\"}],"
    "\"managedFields\":[{\"manager\":\"kustomize-controller\",\"operation\":\"Apply\","
    "\"apiVersion\":\"v1\","
    "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{\"f:a\":{}}}},"
    "{\"manager\":\"kubectl-edit\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"fieldsType\":"
    "\"FieldsV1\","
    "\"fieldsV1\":{\"f:data\":{\"f:added\":{}}}}]},"
    "\"data\":{\"a\":\"MQ==\",\"added\":\"Mg==\"},\"type\":\"Opaque\"}";

static int owners(void *ctx, const struct kube_owner *o, const char **ret_uid, struct err *err)
{
    (void)ctx;
    (void)err;
    *ret_uid = streq(o->name, "shop") ? "u-new" : NULL;
    return 0;
}

static void strips_and_remaps(void **state)
{
    (void)state;
    struct err err;
    struct prepared p;
    struct kube_object o = object(secret);
    assert_int_equal(prepare_object(a, &o, owners, NULL, &p, &err), 0);
    assert_int_equal(p.owners_lost, 1);
    static const char *const gone[] = {"uid", "resourceVersion", "creationTimestamp", "finalizers",
                                       "managedFields"};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        assert_null(raw_at(p.body, "metadata", gone[i], NULL).p);
    str refs = raw_at(p.body, "metadata", "ownerReferences", NULL);
    assert_non_null(memmem(refs.p, refs.n, "u-new", 5));
    assert_null(memmem(refs.p, refs.n, "u-gone", 6));
    assert_null(memmem(refs.p, refs.n, "u-sts", 5));
    /* An owner was lost: what an engine would prune it by is lost as well; the rest stays. */
    assert_null(
        raw_at(p.body, "metadata", "annotations", "argocd.argoproj.io/tracking-id", NULL).p);
    assert_true(raw_is(raw_at(p.body, "metadata", "annotations", "k", NULL), "v"));
    assert_true(raw_is(raw_at(p.body, "data", "added", NULL), "Mg=="));
    assert_true(fields_has_manager(p.managed, "kubectl-edit"));
}

static void strips_by_kind(void **state)
{
    (void)state;
    struct err err;
    struct prepared p;
    struct kube_object claim = object(
        "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":\"d\","
        "\"namespace\":\"n\",\"annotations\":{\"pv.kubernetes.io/bind-completed\":\"yes\","
        "\"volume.kubernetes.io/selected-node\":\"node1\"}},\"spec\":{\"volumeName\":\"pv-1\","
        "\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}},\"status\":{\"phase\":\"Bound\"}}");
    assert_int_equal(prepare_object(a, &claim, NULL, NULL, &p, &err), 0);
    assert_null(raw_at(p.body, "spec", "volumeName", NULL).p);
    assert_null(raw_at(p.body, "metadata", "annotations", NULL).p);
    assert_null(raw_at(p.body, "status", NULL).p);
    assert_true(raw_is(raw_at(p.body, "spec", "resources", "requests", "storage", NULL), "1Gi"));

    struct kube_object service = object("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{"
                                        "\"name\":\"d\",\"namespace\":\"n\"},"
                                        "\"spec\":{\"clusterIP\":\"10.0.0.7\",\"clusterIPs\":[\"10."
                                        "0.0.7\"],\"ports\":[{\"port\":80,"
                                        "\"nodePort\":30080}]}}");
    assert_int_equal(prepare_object(a, &service, NULL, NULL, &p, &err), 0);
    assert_null(raw_at(p.body, "spec", "clusterIP", NULL).p);
    assert_null(memmem(p.body.p, p.body.n, "nodePort", 8));
    assert_non_null(memmem(p.body.p, p.body.n, "\"port\":80", 9));

    struct kube_object headless =
        object("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"d\","
               "\"namespace\":\"n\"},"
               "\"spec\":{\"clusterIP\":\"None\",\"clusterIPs\":[\"None\"]}}");
    assert_int_equal(prepare_object(a, &headless, NULL, NULL, &p, &err), 0);
    assert_true(raw_is(raw_at(p.body, "spec", "clusterIP", NULL), "None"));

    struct kube_object account =
        object("{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"sa\","
               "\"namespace\":\"n\"},\"secrets\":[{\"name\":\"sa-token-x1\"},{\"name\":\"mine\"}],"
               "\"imagePullSecrets\":[{\"name\":\"sa-dockercfg-q\"}]}");
    assert_int_equal(prepare_object(a, &account, NULL, NULL, &p, &err), 0);
    assert_null(memmem(p.body.p, p.body.n, "sa-token-x1", 11));
    assert_non_null(memmem(p.body.p, p.body.n, "mine", 4));
    assert_null(raw_at(p.body, "imagePullSecrets", NULL).p);
}

/* A token is of its cluster and its time: it is not written, and the live one is not taken away. */
static void leaves_a_token_to_the_cluster(void **state)
{
    (void)state;
    struct err err;
    struct prepared p;
    bool same;
    const char *where;
    str body;
    static const char text[] =
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"t\",\"namespace\":"
        "\"n\",\"uid\":\"u-%s\",\"annotations\":{\"kubernetes.io/service-account.name\":\"ci\","
        "\"kubernetes.io/service-account.uid\":\"%s\"%s}},"
        "\"type\":\"kubernetes.io/service-account-token\",\"data\":{\"token\":\"%s\"}}";
    struct kube_object then = object(arena_printf(a, text, "then", "then", "", "dGhlbg=="));
    struct kube_object now = object(arena_printf(a, text, "now", "now", "", "bm93"));
    assert_int_equal(prepare_object(a, &then, NULL, NULL, &p, &err), 0);
    assert_null(raw_get(p.body, "data").p);
    str marks = raw_at(p.body, "metadata", "annotations", NULL);
    assert_true(raw_is(raw_get(marks, "kubernetes.io/service-account.name"), "ci"));
    assert_null(raw_get(marks, "kubernetes.io/service-account.uid").p);
    assert_int_equal(prepare_compare(a, &p, &now, true, NULL, NULL, &same, &where, &err), 0);
    assert_true(same);
    now = object(arena_printf(a, text, "now", "now", ",\"k\":\"v\"", "bm93"));
    assert_int_equal(prepare_compare(a, &p, &now, true, NULL, NULL, &same, &where, &err), 0);
    assert_false(same);
    assert_int_equal(prepare_replace(a, &p, &now, &body, &err), 0);
    assert_true(raw_is(raw_at(body, "data", "token", NULL), "bm93"));
    marks = raw_at(body, "metadata", "annotations", NULL);
    assert_true(raw_is(raw_get(marks, "kubernetes.io/service-account.uid"), "now"));
}

/* A safety backup finds the workload stopped; what it stored comes back running. */
static void undoes_the_stop(void **state)
{
    (void)state;
    struct err err;
    struct prepared p;
    struct kube_object sts =
        object("{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\",\"metadata\":{\"name\":\"s\","
               "\"namespace\":\"n\",\"annotations\":{\"gleaner.dev/"
               "stopped\":\"{\\\"restore\\\":\\\"g/r\\\","
               "\\\"uid\\\":\\\"u\\\",\\\"replicas\\\":3,\\\"managedFields\\\":[{\\\"manager\\\":"
               "\\\"helm\\\"}]}\"},"
               "\"managedFields\":[{\"manager\":\"gleaner\"}]},\"spec\":{\"replicas\":0}}");
    assert_int_equal(prepare_object(a, &sts, NULL, NULL, &p, &err), 0);
    int64_t n;
    assert_true(raw_int(raw_at(p.body, "spec", "replicas", NULL), &n));
    assert_int_equal(n, 3);
    assert_null(raw_at(p.body, "metadata", "annotations", NULL).p);
    assert_true(fields_has_manager(p.managed, "helm"));
    assert_false(fields_has_manager(p.managed, KUBE_MANAGER));
}

static void replaces_under_the_live_identity(void **state)
{
    (void)state;
    struct err err;
    struct prepared p;
    struct kube_object o = object(secret);
    struct kube_object live =
        object("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\","
               "\"namespace\":\"shop\","
               "\"uid\":\"u-live\",\"resourceVersion\":\"99\",\"labels\":{\"app\":\"shop\"},"
               "\"annotations\":{\"argocd.argoproj.io/tracking-id\":\"x\",\"k\":\"v\"}},"
               "\"data\":{\"a\":\"MQ==\"},\"type\":\"Opaque\"}");
    assert_int_equal(prepare_object(a, &o, NULL, NULL, &p, &err), 0);
    bool same = true;
    const char *where;
    assert_int_equal(prepare_compare(a, &p, &live, true, NULL, NULL, &same, &where, &err), 0);
    assert_false(same);
    assert_string_equal(where, "data.added"); /* a path, and no value */
    str body;
    assert_int_equal(prepare_replace(a, &p, &live, &body, &err), 0);
    assert_true(raw_is(raw_at(body, "metadata", "uid", NULL), "u-live"));
    assert_true(raw_is(raw_at(body, "metadata", "resourceVersion", NULL), "99"));
    struct kube_object now = object(arena_str(a, body).p);
    assert_int_equal(prepare_compare(a, &p, &now, true, NULL, NULL, &same, &where, &err), 0);
    assert_true(same);
}

static void compares_by_leaf(void **state)
{
    (void)state;
    struct err err;
    struct prepared p;
    struct kube_object o = object(secret);
    assert_int_equal(prepare_object(a, &o, NULL, NULL, &p, &err), 0);
    /* One more key on the live side: different where exactness is asked, else not. */
    struct kube_object live = object(arena_printf(
        a,
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\",\"namespace\":"
        "\"shop\","
        "\"labels\":{\"app\":\"shop\"},\"annotations\":{\"argocd.argoproj.io/tracking-id\":\"x\","
        "\"k\":\"v\"}},\"data\":{\"a\":\"MQ==\",\"added\":\"Mg==\",\"z\":\"Mw==\"},\"type\":"
        "\"Opaque\"}"));
    bool same;
    const char *where;
    assert_int_equal(prepare_compare(a, &p, &live, true, NULL, NULL, &same, &where, &err), 0);
    assert_false(same);
    assert_int_equal(prepare_compare(a, &p, &live, false, NULL, NULL, &same, &where, &err), 0);
    assert_true(same);
}

/* ---- owners of fields ---- */

#define ENTRY(manager, op, fields)                                                                 \
    "{\"manager\":\"" manager "\",\"operation\":\"" op "\",\"apiVersion\":\"v1\","                 \
    "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":" fields "}"

static json_t *give(const char *live, const char *saved, const char *heir)
{
    str out;
    struct err err = {0};
    json_t *j;
    if (fields_give_back(a, str_of(live), str_of(saved), heir, &out, &err) < 0)
        fail_msg("%s", err.msg);
    if (!out.p)
        return NULL;
    if (json_parse(out, &j, &err) < 0)
        fail_msg("%s", err.msg);
    return j;
}

static json_t *entry_of(json_t *list, const char *manager)
{
    size_t i;
    json_t *e;
    json_array_foreach(list, i, e) if (streq(json_text_at(e, "manager", NULL), manager)) return e;
    return NULL;
}

/* The case that lost a key in the wild: a Secret with a key of Git and a key of a person. */
static void created_objects_get_the_saved_owners(void **state)
{
    (void)state;
    const char *saved =
        "[" ENTRY("kustomize-controller", "Apply", "{\"f:data\":{\"f:a\":{}}}") "," ENTRY(
            "kubectl-edit", "Update", "{\"f:data\":{\"f:added\":{}}}") "]";
    json_t *out CLEANUP_JSON =
        give("[" ENTRY("gleaner", "Update",
                       "{\"f:data\":{\".\":{},\"f:a\":{},\"f:added\":{}},\"f:type\":{}}") "]",
             saved, NULL);
    json_error_t why;
    json_t *want CLEANUP_JSON = json_loads(saved, 0, &why);
    assert_true(json_equal(out, want));
}

static void a_field_put_back_gets_its_owner(void **state)
{
    (void)state;
    json_t *out CLEANUP_JSON = give(
        "[" ENTRY("kustomize-controller", "Apply", "{\"f:data\":{\"f:a\":{}}}") "," ENTRY(
            "gleaner", "Update", "{\"f:data\":{\"f:added\":{}}}") "]",
        "[" ENTRY("kustomize-controller", "Apply",
                  "{\"f:data\":{\"f:a\":{},\"f:old\":{}}}") "," ENTRY("operator", "Update",
                                                                      "{\"f:data\":{\"f:added\":{},"
                                                                      "\"f:elsewhere\":{}}}") "]",
        NULL);
    assert_int_equal(json_array_size(out), 2);
    assert_null(entry_of(out, "gleaner"));
    /* Only what we held goes over: no owner gets a field that it did not lose to us. */
    json_t *op = json_value_at(entry_of(out, "operator"), "fieldsV1", "f:data", NULL);
    assert_non_null(json_object_get(op, "f:added"));
    assert_null(json_object_get(op, "f:elsewhere"));
    json_t *git = json_value_at(entry_of(out, "kustomize-controller"), "fieldsV1", "f:data", NULL);
    assert_null(json_object_get(git, "f:old"));
    assert_null(json_object_get(git, "f:added"));
}

static void a_value_changed_back_goes_to_the_same_entry(void **state)
{
    (void)state;
    json_t *out CLEANUP_JSON =
        give("[" ENTRY("helm-controller", "Update", "{\"f:spec\":{\"f:template\":{}}}") "," ENTRY(
                 "gleaner", "Update",
                 "{\"f:spec\":{\"f:replicas\":{}},\"f:metadata\":{\"f:annotations\":{\".\":{},"
                 "\"f:gleaner.dev/stopped\":{}}}}") "]",
             "[" ENTRY("helm-controller", "Update",
                       "{\"f:spec\":{\"f:replicas\":{},\"f:template\":{}}}") "]",
             NULL);
    assert_int_equal(json_array_size(out), 1);
    json_t *spec = json_value_at(entry_of(out, "helm-controller"), "fieldsV1", "f:spec", NULL);
    assert_non_null(json_object_get(spec, "f:replicas"));
    assert_non_null(json_object_get(spec, "f:template"));
    assert_null(json_object_get(entry_of(out, "helm-controller"), "f:metadata"));
}

static void never_an_empty_list(void **state)
{
    (void)state;
    const char *ours = "[" ENTRY("gleaner", "Update", "{\"f:data\":{\"f:a\":{}}}") "]";
    json_t *out CLEANUP_JSON = give(ours, "[]", NULL);
    assert_int_equal(json_array_size(out), 1);
    assert_non_null(entry_of(out, FIELDS_NOBODY));
    json_t *heir CLEANUP_JSON = give(ours, "", "helm-controller");
    assert_non_null(entry_of(heir, "helm-controller"));
    assert_null(give("[" ENTRY("helm", "Update", "{}") "]", "[]", NULL)); /* nothing of ours */
}

/* A chart object that a controller has touched already: all that was ours is the heir's. */
static void the_heir_gets_what_nobody_claims(void **state)
{
    (void)state;
    json_t *out CLEANUP_JSON = give(
        "[" ENTRY(
            "kube-controller-manager", "Update",
            "{\"f:status\":{\"f:replicas\":{}}}") "," ENTRY("gleaner", "Update",
                                                            "{\"f:spec\":{\"f:replicas\":{}}}") "]",
        "", "helm-controller");
    assert_int_equal(json_array_size(out), 2);
    assert_non_null(
        json_value_at(entry_of(out, "helm-controller"), "fieldsV1", "f:spec", "f:replicas", NULL));
}

/* One owner, one entry: of two the server would keep the last. */
static void the_heir_keeps_what_it_has(void **state)
{
    (void)state;
    json_t *out CLEANUP_JSON =
        give("[" ENTRY("helm-controller", "Update", "{\"f:spec\":{\"f:template\":{}}}") "," ENTRY(
                 "gleaner", "Update", "{\"f:spec\":{\"f:replicas\":{}}}") "]",
             "", "helm-controller");
    assert_int_equal(json_array_size(out), 1);
    json_t *spec = json_value_at(entry_of(out, "helm-controller"), "fieldsV1", "f:spec", NULL);
    assert_int_equal(json_object_size(spec), 2);
}

static void knows_who_declares(void **state)
{
    (void)state;
    str managed =
        str_of("[" ENTRY("kustomize-controller", "Apply", "{\"f:data\":{\"f:a\":{}}}") "]");
    static const char *const engines[] = {"kustomize-controller", NULL};
    const char *const a_key[] = {"data", "a", NULL}, *const b_key[] = {"data", "b", NULL};
    assert_true(fields_owned(managed, engines, a_key));
    assert_false(fields_owned(managed, engines, b_key));
}

#define TIMED(manager, time, more)                                                                 \
    "{\"manager\":\"" manager "\",\"operation\":\"Update\",\"time\":\"" time "\"," more            \
    "\"fieldsV1\":{\"f:data\":{\".\":{},\"f:a\":{}}}}"

static void knows_who_has_written_since(void **state)
{
    (void)state;
    static const char *const before[] = {
        "",
        "[]",
        "null",
        "[" TIMED("person", "2026-03-01T11:59:59Z", "") "]",
        "[" TIMED("gleaner", "2026-03-01T13:00:00Z", "") "]",
        "[" TIMED("unknown", "2026-03-01T13:00:00Z", "") "]",
        "[" TIMED("person", "2026-03-01T13:00:00Z", "\"subresource\":\"status\",") "]",
        "[" TIMED("person", "tomorrow", "") "]",
        "[" ENTRY("person", "Update", "{\"f:data\":{}}") "]"};
    const char *const a_key[] = {"data", "a", NULL}, *const b_key[] = {"data", "b", NULL};
    int64_t noon;
    assert_true(clock_parse(STR("2026-03-01T12:00:00Z"), &noon));
    for (size_t i = 0; i < ARRAY_LEN(before); i++)
        assert_null(fields_written_since(str_of(before[i]), noon, a_key).p);
    str now = str_of("[" TIMED("early", "2026-03-01T11:00:00Z",
                               "") "," TIMED("person", "2026-03-01T12:00:00Z", "") "]");
    assert_true(str_is(fields_written_since(now, noon, a_key), "\"person\""));
    assert_null(fields_written_since(now, noon, b_key).p);
}

/* ---- Jobs ---- */

static const char job[] =
    "{\"apiVersion\":\"batch/"
    "v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"m\",\"namespace\":\"n\","
    "\"uid\":\"u-old\",\"labels\":{\"controller-uid\":\"u-old\",\"app\":\"x\"}},\"spec\":{"
    "\"selector\":"
    "{\"matchLabels\":{\"batch.kubernetes.io/controller-uid\":\"u-old\"}},\"suspend\":false,"
    "\"ttlSecondsAfterFinished\":60,\"template\":{\"metadata\":{\"labels\":{"
    "\"batch.kubernetes.io/"
    "controller-uid\":\"u-old\",\"controller-uid\":\"u-old\",\"job-name\":\"m\"}}}},"
    "\"status\":{\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\"}],\"succeeded\":1,"
    "\"startTime\":\"2026-01-01T00:00:00Z\",\"completionTime\":\"2026-01-01T00:00:05Z\"}}";

static void finished_jobs_do_not_run(void **state)
{
    (void)state;
    struct err err;
    struct prepared p;
    str body;
    struct kube_object o = object(job);
    assert_true(kube_job_is_finished(&o));
    assert_false(job_was_suspended(&o));
    assert_int_equal(prepare_object(a, &o, NULL, NULL, &p, &err), 0);
    assert_int_equal(job_prepare(a, &p, &body, &err), 0);
    assert_null(memmem(body.p, body.n, "u-old", 5));
    assert_true(raw_true(raw_at(body, "spec", "suspend", NULL)));
    assert_null(raw_at(body, "spec", "selector", NULL).p);
    assert_null(raw_at(body, "spec", "ttlSecondsAfterFinished", NULL).p);
    assert_true(raw_is(raw_at(body, "metadata", "labels", "app", NULL), "x"));

    assert_int_equal(job_status_patch(a, &o, "u-new", &body, &err), 0);
    assert_true(raw_is(raw_at(body, "metadata", "uid", NULL), "u-new"));
    assert_non_null(memmem(body.p, body.n, "SuccessCriteriaMet", 18));
    assert_true(str_is(raw_at(body, "status", "active", NULL), "null"));
}

static void unfinished_jobs_are_told_apart(void **state)
{
    (void)state;
    struct kube_object o =
        object("{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{"
               "\"name\":\"m\",\"namespace\":\"n\"},\"status\":{\"conditions\":[{"
               "\"type\":\"Complete\",\"status\":\"False\"}],\"active\":1}}");
    assert_false(kube_job_is_finished(&o));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strips_and_remaps),
        cmocka_unit_test(strips_by_kind),
        cmocka_unit_test(leaves_a_token_to_the_cluster),
        cmocka_unit_test(undoes_the_stop),
        cmocka_unit_test(replaces_under_the_live_identity),
        cmocka_unit_test(compares_by_leaf),
        cmocka_unit_test(created_objects_get_the_saved_owners),
        cmocka_unit_test(a_field_put_back_gets_its_owner),
        cmocka_unit_test(a_value_changed_back_goes_to_the_same_entry),
        cmocka_unit_test(never_an_empty_list),
        cmocka_unit_test(the_heir_gets_what_nobody_claims),
        cmocka_unit_test(the_heir_keeps_what_it_has),
        cmocka_unit_test(knows_who_declares),
        cmocka_unit_test(knows_who_has_written_since),
        cmocka_unit_test(finished_jobs_do_not_run),
        cmocka_unit_test(unfinished_jobs_are_told_apart),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
