/* A Restore that was deleted half-way leaves the engine held over missing data; the next one takes
 * the hold over and ends, or fails and leaves it as it was. */
#include "restore_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define KEY "Restore/" GLEANER_NS "/r1"

static void drive(const struct fake_child *fake, const struct scenario *s, const char *until)
{
    assert_int_equal(driver_run(fake_kubeconfig(fake), s->root, until), 0);
}

static void delete_restore(const struct fake_child *fake)
{
    struct kube *k CLEANUP(kube_free_p) = fake_client(fake);
    struct err err = {0};
    if (kube_delete(k, &KUBE_RESTORE, GLEANER_NS, "r1", NULL, &err) < 0)
        fail_msg("%s", err.msg);
}

static void restore_again(const struct fake_child *fake, const char *uid)
{
    char *text CLEANUP(free_p) =
        xasprintf("{\"apiVersion\":\"gleaner.dev/v1alpha1\",\"kind\":\"Restore\",\"metadata\":{"
                  "\"name\":\"r1\",\"namespace\":\"" GLEANER_NS "\",\"uid\":\"%s\"},"
                  "\"spec\":{\"backupRef\":{\"name\":\"b1\"}}}",
                  uid);
    fake_post(fake, "objects", text);
}

static void assert_phase(const struct fake_child *fake, const char *phase)
{
    json_t *state CLEANUP_JSON = scenario_state(fake);
    assert_string_equal(json_text_at(state, KEY, "status", "phase", NULL), phase);
}

/* Held by the Restore with this uid, and the workload with it, both over changed data. */
static void assert_left(const struct fake_child *fake, const char *engine, const char *uid)
{
    json_t *state CLEANUP_JSON = scenario_state(fake);
    json_t *workload = json_object_get(state, "StatefulSet/shop/shop");
    const char *const marks[] = {
        json_text_at(state, engine, "metadata", "annotations", "gleaner.dev/hold", NULL),
        json_text_at(workload, "metadata", "annotations", "gleaner.dev/stopped", NULL)};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        assert_non_null(marks[i]);
        assert_non_null(strstr(marks[i], uid));
        assert_non_null(strstr(marks[i], "\"state\":\"cleared\""));
    }
    assert_int_equal(json_integer_value(json_value_at(workload, "spec", "replicas", NULL)), 0);
}

static void restored_again(enum target target, const char *engine)
{
    static const char second[] = "1a1a1a1a-0000-4000-8000-000000000002";
    static const char third[] = "2b2b2b2b-0000-4000-8000-000000000003";
    struct scenario s = {.target = target, .backup_ends = "Completed"};
    scenario_open(&s);
    struct fake_child *fake = scenario_start(&s, NULL);
    drive(fake, &s, "Objects");
    delete_restore(fake);
    drive(fake, &s, NULL);
    assert_left(fake, engine, RESTORE_UID);

    /* One that fails before it has changed anything gives nothing back. */
    s.backup_ends = "Failed";
    scenario_reactors(fake, &s, NULL);
    restore_again(fake, second);
    drive(fake, &s, NULL);
    assert_phase(fake, "Failed");
    assert_left(fake, engine, second);
    delete_restore(fake);
    drive(fake, &s, NULL);
    assert_left(fake, engine, second);

    s.backup_ends = "Completed";
    scenario_reactors(fake, &s, NULL);
    restore_again(fake, third);
    drive(fake, &s, NULL);
    assert_phase(fake, "Done");
    json_t *end CLEANUP_JSON = scenario_state(fake);
    assert_restored(end);
    assert_clean_hands(end);
    assert_null(json_value_at(end, engine, "spec", "suspend", NULL));
    assert_null(json_value_at(end, engine, "spec", "syncPolicy", "automated", "enabled", NULL));
    fake_stop(fake);
    scenario_close(&s);
}

static void flux_is_restored_again(void **state)
{
    (void)state;
    restored_again(TARGET_KUSTOMIZATION, "Kustomization/flux-system/shop");
}

static void argocd_is_restored_again(void **state)
{
    (void)state;
    restored_again(TARGET_APPLICATION, "Application/argocd/shop");
}

int adopt_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flux_is_restored_again),
        cmocka_unit_test(argocd_is_restored_again),
    };
    return cmocka_run_group_tests_name("restored again", tests, NULL, NULL);
}
