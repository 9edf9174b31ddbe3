/* A mover's pod in a namespace whose admission puts proxies beside every container. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/json.h"
#include "fake_child.h"
#include "kube/types.h"
#include "reconciler/gateway_setup.h"
#include "reconciler/mover_pod.h"

struct world {
    struct fake_child *fake;
    struct arena *a;
    struct kube *k;
    struct context cx;
    struct opened store;
    struct mover_pod_spec spec;
};

static void world_up(struct world *w)
{
    struct err err;
    w->fake = fake_start(NULL);
    w->a = arena_new();
    fake_post(w->fake, "objects",
              "[{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":"
              "\"" GATEWAY_SERVICE "\",\"namespace\":\"gleaner-system\"},\"spec\":{"
              "\"clusterIP\":\"127.0.0.1\"}},{\"apiVersion\":\"v1\",\"kind\":"
              "\"PersistentVolumeClaim\",\"metadata\":{\"name\":\"data\",\"namespace\":"
              "\"app\"}}]");
    w->k = fake_client(w->fake);
    w->cx = (struct context){.kube = w->k, .ns = "gleaner-system", .mover_image = "x"};
    w->spec = (struct mover_pod_spec){.direction = MOVER_BACKUP,
                                      .owner_uid = "backup-1",
                                      .owner = "Backup gleaner-system/one",
                                      .ns = "app",
                                      .claim = "data",
                                      .store = &w->store};
    assert_int_equal(gateway_setup(&w->cx, &err), 0);
}

static void world_down(struct world *w)
{
    kube_free(w->k);
    arena_free(w->a);
    fake_stop(w->fake);
}

static const char *pod_name(struct world *w)
{
    return mover_pod_name(w->a, MOVER_BACKUP, "backup-1", "data");
}

/* There is no store to register it at, but the pod is made first. */
static void make_pod(struct world *w, struct kube_object *ret)
{
    struct mover_pod m;
    struct err err;
    assert_int_equal(mover_pod_step(&w->cx, w->a, &w->spec, &m, &err), -1);
    assert_int_equal(kube_get(w->k, w->a, &KUBE_POD, "app", pod_name(w), ret, &err), 0);
}

static void set_status(struct world *w, const char *phase, json_t *mover)
{
    struct err err;
    struct buf text CLEANUP(buf_free) = {0};
    json_t *body CLEANUP_JSON =
        json_pack("{s:{s:s, s:[{s:s, s:{s:{s:i}}}, {s:s, s:o}]}}", "status", "phase", phase,
                  "containerStatuses", "name", "istio-proxy", "state", "terminated", "exitCode",
                  137, "name", "mover", "state", mover);
    assert_non_null(body);
    json_print(&text, body);
    assert_int_equal(kube_patch(w->k, w->a, &KUBE_POD, "app", pod_name(w), KUBE_PATCH_MERGE,
                                buf_view(&text), &(struct kube_write){.subresource = "status"},
                                NULL, &err),
                     0);
}

static void test_no_proxy_is_asked_for(void **state)
{
    (void)state;
    struct world w = {0};
    struct kube_object pod;
    world_up(&w);
    make_pod(&w, &pod);
    static const char istio[] = "sidecar.istio.io/inject";
    assert_string_equal(kube_label(w.a, &pod, istio), "false");
    assert_string_equal(kube_annotation(w.a, &pod, istio), "false");
    assert_string_equal(kube_annotation(w.a, &pod, "linkerd.io/inject"), "disabled");
    assert_string_equal(kube_label(w.a, &pod, MOVER_LABEL), "backup-1");
    assert_string_equal(kube_annotation(w.a, &pod, MOVER_CLAIM_ANNOTATION), "data");
    assert_null(kube_annotation(w.a, &pod, MOVER_LOCK_ANNOTATION));
    world_down(&w);
}

/* The mover's own words, whether the proxy has ended with it or not. */
static void ends_well(const char *phase)
{
    struct world w = {0};
    struct kube_object pod;
    struct mover_pod m;
    struct err err;
    struct mover_report report = {.verb = "backup", .has_tree = true, .tree = {{7}}, .files = 3};
    struct buf said CLEANUP(buf_free) = {0};
    world_up(&w);
    make_pod(&w, &pod);
    mover_report_encode(&report, &said);
    set_status(&w, phase,
               json_pack("{s:{s:i, s:s}}", "terminated", "exitCode", 0, "message", said.p));
    assert_int_equal(mover_pod_step(&w.cx, w.a, &w.spec, &m, &err), 0);
    assert_int_equal(m.state, MOVER_DONE);
    assert_int_equal(m.report.files, 3);
    world_down(&w);
}

static void test_the_mover_is_heard_not_the_proxy(void **state)
{
    (void)state;
    ends_well("Failed");
    ends_well("Running");
}

/* A proxy that has ended says nothing of the mover: it is still to be registered, which fails here.
 */
static void test_a_proxy_may_end_first(void **state)
{
    (void)state;
    struct world w = {0};
    struct kube_object pod;
    struct mover_pod m;
    struct err err;
    world_up(&w);
    make_pod(&w, &pod);
    set_status(&w, "Running", json_pack("{s:{}}", "running"));
    assert_int_equal(mover_pod_step(&w.cx, w.a, &w.spec, &m, &err), -1);
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_proxy_is_asked_for),
        cmocka_unit_test(test_the_mover_is_heard_not_the_proxy),
        cmocka_unit_test(test_a_proxy_may_end_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
