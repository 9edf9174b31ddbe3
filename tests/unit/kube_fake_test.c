/* The fake API server itself: what kill tests rely on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/json.h"
#include "fake_child.h"

struct world {
    struct fake_child *fake;
    struct kube *k;
    struct arena *a;
};

static int set_up(void **state)
{
    static const char *const args[] = {"--reactors", "../fake/reactors.json", NULL};
    struct world *w = xcalloc(1, sizeof *w);
    w->fake = fake_start(args);
    w->k = fake_client(w->fake);
    w->a = arena_new();
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kube_free(w->k);
    arena_free(w->a);
    fake_stop(w->fake);
    free(w);
    return 0;
}

static const char map[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}";

/* A process that writes once and dies of SIGKILL while the write is held. */
static void write_and_be_killed(struct world *w, const char *where)
{
    char *fault = arena_printf(w->a, "{\"match\":{\"mutating\":true},\"do\":\"%s\"}", where);
    fake_post(w->fake, "faults", fault);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct kube *k = fake_client(w->fake);
        struct err err;
        _exit(kube_create(k, w->a, &KUBE_CONFIGMAP, "default", str_of(map), NULL, NULL, &err) < 0);
    }
    json_t *paused CLEANUP_JSON = fake_get(w->fake, "paused");
    assert_true(json_is_true(json_value_at(paused, "paused", NULL)));
    assert_string_equal(json_text_at(paused, "method", NULL), "POST");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void test_kill_before(void **state)
{
    struct world *w = *state;
    struct kube_object o;
    struct err err;
    write_and_be_killed(w, "pauseBefore");
    fake_post(w->fake, "resume", "{\"discard\":true}");
    assert_int_equal(kube_get(w->k, w->a, &KUBE_CONFIGMAP, "default", "a", &o, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
}

static void test_kill_after(void **state)
{
    struct world *w = *state;
    struct kube_object o;
    struct err err;
    write_and_be_killed(w, "pauseAfter");
    fake_post(w->fake, "resume", "{}");
    assert_int_equal(kube_get(w->k, w->a, &KUBE_CONFIGMAP, "default", "a", &o, &err), 0);
    json_t *seen CLEANUP_JSON = fake_get(w->fake, "state");
    assert_int_equal(json_integer_value(json_value_at(seen, "mutating", NULL)), 1);
}

/* Reads until the value at status.<member> is `want`; the reactors need some ticks. */
static void await(struct world *w, const struct kube_type *t, const char *name, const char *member,
                  const char *want)
{
    for (int i = 0; i < 20000; i++) {
        struct kube_object o;
        struct err err;
        if (kube_get(w->k, w->a, t, "default", name, &o, &err) < 0)
            fail_msg("%s", err.msg);
        str v = raw_at(o.raw, "status", member, NULL);
        if (str_is(v, want))
            return;
    }
    fail_msg("%s %s never came to %s=%s", t->kind, name, member, want);
}

static void test_reactors(void **state)
{
    struct world *w = *state;
    struct err err;
    struct kube_object o;
    fake_post(
        w->fake, "objects",
        "[{\"apiVersion\":\"helm.toolkit.fluxcd.io/v2\",\"kind\":\"HelmRelease\",\"metadata\":"
        "{\"name\":\"h\"},\"spec\":{}},"
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\",\"metadata\":{\"name\":\"db\"},"
        "\"spec\":{\"replicas\":2}}]");
    await(w, &KUBE_STATEFULSET, "db", "replicas", "2");
    assert_int_equal(kube_get(w->k, w->a, &KUBE_POD, "default", "db-1", &o, &err), 0);
    assert_int_equal(kube_patch(w->k, w->a, &KUBE_STATEFULSET, "default", "db", KUBE_PATCH_MERGE,
                                STR("{\"spec\":{\"replicas\":0}}"),
                                &(struct kube_write){.subresource = "scale"}, NULL, &err),
                     0);
    await(w, &KUBE_STATEFULSET, "db", "replicas", "0");
    assert_int_equal(kube_get(w->k, w->a, &KUBE_POD, "default", "db-1", &o, &err), -1);
    assert_int_equal(
        kube_patch(w->k, w->a, &KUBE_HELMRELEASE, "default", "h", KUBE_PATCH_MERGE,
                   STR("{\"metadata\":{\"annotations\":{\"reconcile.fluxcd.io/requestedAt\":\"t1\"}"
                       "}}"),
                   NULL, NULL, &err),
        0);
    await(w, &KUBE_HELMRELEASE, "h", "lastHandledReconcileAt", "\"t1\"");
    assert_int_equal(
        kube_create(w->k, w->a, &KUBE_POD, "default",
                    STR("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"m\","
                        "\"labels\":{\"gleaner.dev/mover\":\"u\"}}}"),
                    NULL, NULL, &err),
        0);
    await(w, &KUBE_POD, "m", "phase", "\"Succeeded\"");
}

static void test_clock(void **state)
{
    struct world *w = *state;
    struct kube_object o;
    struct err err;
    fake_post(w->fake, "clock", "{\"now\":1000000000000}");
    fake_post(w->fake, "clock", "{\"advance\":1000}");
    assert_int_equal(
        kube_create(w->k, w->a, &KUBE_CONFIGMAP, "default", str_of(map), NULL, &o, &err), 0);
    assert_string_equal(raw_text(w->a, o.raw, "metadata", "creationTimestamp", NULL),
                        "2001-09-09T01:46:41Z");
}

/* A CustomResourceDefinition makes its type. */
static void test_crd(void **state)
{
    struct world *w = *state;
    static const struct kube_type thing = {.group = "g.io",
                                           .version = "v1",
                                           .resource = "things",
                                           .kind = "Thing",
                                           .namespaced = true};
    struct err err;
    struct kube_object o;
    str body = STR("{\"apiVersion\":\"g.io/v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"t\"},"
                   "\"spec\":{\"a\":1},\"status\":{\"b\":1}}");
    assert_int_equal(kube_create(w->k, w->a, &thing, "default", body, NULL, &o, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_int_equal(
        kube_create(
            w->k, w->a, &KUBE_CRD, NULL,
            STR("{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":"
                "\"CustomResourceDefinition\",\"metadata\":{\"name\":\"things.g.io\"},"
                "\"spec\":{\"group\":\"g.io\",\"scope\":\"Namespaced\",\"names\":{\"plural\":"
                "\"things\",\"kind\":\"Thing\"},\"versions\":[{\"name\":\"v1\",\"served\":"
                "true,\"subresources\":{\"status\":{}}}]}}"),
            NULL, NULL, &err),
        0);
    assert_int_equal(kube_create(w->k, w->a, &thing, "default", body, NULL, &o, &err), 0);
    assert_null(raw_get(o.raw, "status").p);
    assert_true(str_is(raw_at(o.raw, "metadata", "generation", NULL), "1"));
}

int main(void)
{
#define WITH_FAKE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FAKE(test_kill_before), WITH_FAKE(test_kill_after), WITH_FAKE(test_reactors),
        WITH_FAKE(test_clock),       WITH_FAKE(test_crd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
