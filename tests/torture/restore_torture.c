/* A Restore is killed before and after each of its calls that change something, started again, and
 * has to end exactly where it ends when nobody kills it: the same objects, the same owners of every
 * field, the engine as it was. */
#include "restore_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/str.h"
#include "worker/worker.h"

enum { SPARE_CALLS = 6 };

static const char *self;

/* ---- processes ---- */

static pid_t spawn(const struct fake_child *fake, const char *root)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl(self, self, "drive", fake_kubeconfig(fake), root, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static void run_to_the_end(const struct fake_child *fake, const char *root)
{
    int status;
    pid_t pid = spawn(fake, root);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the driver ended with %d", status);
}

/* ---- what is compared ---- */

static void forget(json_t *object, const char *member)
{
    if (object)
        json_object_del(object, member);
}

static void normalise(json_t *o)
{
    json_t *m = json_object_get(o, "metadata"), *status = json_object_get(o, "status"), *entry;
    static const char *const moving[] = {"uid", "resourceVersion", "creationTimestamp",
                                         "generation"};
    for (size_t i = 0; i < ARRAY_LEN(moving); i++)
        forget(m, moving[i]);
    size_t i;
    json_array_foreach(json_object_get(m, "managedFields"), i, entry) forget(entry, "time");
    forget(status, "observedGeneration");
    forget(status, "lastHandledReconcileAt");
    if (!streq(json_text_at(o, "kind", NULL), "Restore"))
        return;
    json_t *short_status = json_object();
    static const char *const compared[] = {"phase", "holds", "claims", "safetyBackup"};
    for (i = 0; i < ARRAY_LEN(compared); i++)
        if (json_object_get(status, compared[i]))
            json_object_set(short_status, compared[i], json_object_get(status, compared[i]));
    json_object_set_new(o, "status", short_status);
    forget(m, "managedFields");
}

/* {"Kind/ns/name": object}, without the things that two runs cannot share. */
json_t *scenario_state(const struct fake_child *fake)
{
    json_t *list CLEANUP_JSON = fake_get(fake, "objects"), *out = json_object(), *o;
    size_t i;
    json_array_foreach(list, i, o)
    {
        const char *ns = json_text_at(o, "metadata", "namespace", NULL);
        char *key CLEANUP(free_p) =
            xasprintf("%s/%s/%s", json_text_at(o, "kind", NULL), ns ? ns : "",
                      json_text_at(o, "metadata", "name", NULL));
        normalise(o);
        json_object_set(out, key, o);
    }
    return out;
}

static void assert_same_state(json_t *want, json_t *have, const char *when)
{
    const char *key;
    json_t *value;
    json_object_foreach(want, key, value)
    {
        json_t *other = json_object_get(have, key);
        if (json_equal(value, other))
            continue;
        char *a CLEANUP(free_p) = json_dumps(value, JSON_INDENT(1) | JSON_SORT_KEYS);
        char *b CLEANUP(free_p) =
            other ? json_dumps(other, JSON_INDENT(1) | JSON_SORT_KEYS) : xstrdup("nothing");
        fail_msg("%s: %s is not as it is without a kill\nwant %s\nhave %s", when, key, a, b);
    }
    json_object_foreach(have, key, value)
    {
        if (!json_object_get(want, key))
            fail_msg("%s: %s is there and is not without a kill", when, key);
    }
}

/* ---- runs ---- */

/* Beside the reactors of all tests: the Backup controller, and a Kustomization's
 * observedGeneration. */
static void add_reactors(const struct fake_child *fake, const char *ends, json_t *more)
{
    json_error_t why;
    json_t *list CLEANUP_JSON = json_load_file(REACTORS, 0, &why);
    assert_non_null(list);
    json_array_append_new(
        list, json_pack("{s:s, s:s, s:s, s:[{s:[s, s], s:b}], s:i, s:[{s:[s, s], s:s}, {s:[s, s], "
                        "s:[{s:s, s:s}]}]}",
                        "name", "backup-controller", "group", "gleaner.dev", "kind", "Backup",
                        "when", "path", "status", "phase", "exists", 0, "after", 2, "do", "set",
                        "status", "phase", "value", ends, "set", "status", "volumes", "value",
                        "claim", "data-shop-0", "phase", "Completed"));
    json_array_append_new(
        list, json_pack("{s:s, s:s, s:s, s:[{s:[s, s], s:[s, s]}], s:i, s:[{s:[s, s], s:[s, s]}]}",
                        "name", "kustomize-controller", "group", "kustomize.toolkit.fluxcd.io",
                        "kind", "Kustomization", "when", "path", "status", "observedGeneration",
                        "differsFrom", "metadata", "generation", "after", 2, "do", "set", "status",
                        "observedGeneration", "from", "metadata", "generation"));
    if (more)
        json_array_extend(list, more);
    char *text CLEANUP(free_p) = json_dumps(list, 0);
    fake_post(fake, "reactors", text);
}

void scenario_reactors(const struct fake_child *fake, const struct scenario *s, json_t *more)
{
    add_reactors(fake, s->backup_ends, more);
}

struct fake_child *scenario_start(struct scenario *s, json_t *more)
{
    struct fake_child *fake = fake_start(NULL);
    if (s->base) {
        char *text CLEANUP(free_p) = json_dumps(s->base, 0);
        fake_post(fake, "objects", text);
    } else {
        s->base = fixture_make(fake, s->target, s->root);
    }
    scenario_reactors(fake, s, more);
    return fake;
}

static void run_without_kill(struct scenario *s)
{
    struct fake_child *fake = scenario_start(s, NULL);
    json_t *before CLEANUP_JSON = fake_get(fake, "state");
    run_to_the_end(fake, s->root);
    json_t *state CLEANUP_JSON = fake_get(fake, "state");
    s->calls = (unsigned)(json_integer_value(json_object_get(state, "mutating")) -
                          json_integer_value(json_object_get(before, "mutating")));
    s->end = scenario_state(fake);
    fake_stop(fake);
    const char *phase = json_text_at(s->end, "Restore/" GLEANER_NS "/r1", "status", "phase", NULL);
    assert_string_equal(phase, s->phase);
    assert_true(s->calls > 20);
}

static void kill_at(struct scenario *s, unsigned nth, bool after)
{
    struct fake_child *fake = scenario_start(s, NULL);
    char *fault CLEANUP(free_p) =
        xasprintf("{\"match\":{\"mutating\":true},\"nth\":%u,\"do\":\"%s\"}", nth,
                  after ? "pauseAfter" : "pauseBefore");
    fake_post(fake, "faults", fault);
    pid_t pid = spawn(fake, s->root);
    json_t *paused CLEANUP_JSON = fake_get(fake, "paused?timeoutMs=20000");
    char *when CLEANUP(free_p) =
        xasprintf("killed %s call %u (%s %s)", after ? "after" : "before", nth,
                  json_text_at(paused, "method", NULL), json_text_at(paused, "path", NULL));
    bool is_paused = json_is_true(json_object_get(paused, "paused"));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    /* How often a wait is written down depends on the time: the last calls need not come. */
    if (!is_paused && nth + SPARE_CALLS < s->calls)
        fail_msg("call %u never came", nth);
    if (is_paused)
        fake_post(fake, "resume", after ? "{}" : "{\"discard\":true}");
    fake_clear_faults(fake);
    run_to_the_end(fake, s->root);
    json_t *end CLEANUP_JSON = scenario_state(fake);
    assert_same_state(s->end, end, when);
    fake_stop(fake);
}

void scenario_open(struct scenario *s)
{
    snprintf(s->root, sizeof s->root, "/tmp/gleaner-torture-XXXXXX");
    assert_non_null(mkdtemp(s->root));
}

void scenario_close(struct scenario *s)
{
    char *command CLEANUP(free_p) = xasprintf("rm -rf '%s'", s->root);
    assert_int_equal(system(command), 0);
    json_decref(s->base);
    json_decref(s->end);
    s->base = s->end = NULL;
}

void scenario_kill_everywhere(struct scenario *s)
{
    run_without_kill(s);
    bool all = getenv("GLEANER_TEST_FULL") != NULL;
    for (unsigned n = 1; n <= s->calls; n++) {
        if (all || n % 2)
            kill_at(s, n, false);
        if (all || !(n % 2))
            kill_at(s, n, true);
    }
    print_message("%u calls, killed before %s after each\n", s->calls, all ? "and" : "or");
}

/* No object but our own carries our name. */
void assert_clean_hands(json_t *end)
{
    const char *key;
    json_t *o;
    json_object_foreach(end, key, o)
    {
        if (streq(json_text_at(o, "apiVersion", NULL), "gleaner.dev/v1alpha1") ||
            streq(json_text_at(o, "metadata", "namespace", NULL), GLEANER_NS) ||
            streq(json_text_at(o, "metadata", "name", NULL), GLEANER_NS))
            continue;
        char *text CLEANUP(free_p) = json_dumps(json_object_get(o, "metadata"), 0);
        if (strstr(text, "gleaner"))
            fail_msg("%s carries our name: %s", key, text);
    }
}

static const char *value_at(json_t *end, const char *key, const char *name)
{
    return json_text_at(end, key, "data", name, NULL);
}

void assert_restored(json_t *end)
{
    assert_string_equal(value_at(end, "Secret/shop/handmade", "key"), "aGFuZA==");
    assert_string_equal(value_at(end, "Secret/shop/app", "added"), "YWRkZWQ=");
    assert_string_equal(value_at(end, "Secret/shop/app", "git"), "Z2l0");
    assert_string_equal(value_at(end, "ConfigMap/shop/tuned", "a"), "1");
    assert_null(value_at(end, "ConfigMap/shop/tuned", "c"));
    assert_string_equal(value_at(end, "Secret/shop/shared", "k"),
                        "bmV3"); /* reach: never overwritten */
    json_t *sts = json_object_get(end, "StatefulSet/shop/shop");
    assert_int_equal(json_integer_value(json_value_at(sts, "spec", "replicas", NULL)), 2);
    json_t *job = json_object_get(end, "Job/shop/import");
    assert_int_equal(json_integer_value(json_value_at(job, "status", "succeeded", NULL)), 1);
    assert_false(json_is_true(json_value_at(job, "spec", "suspend", NULL)));
}

static void flux_ends_done(void **state)
{
    (void)state;
    struct scenario s = {
        .target = TARGET_KUSTOMIZATION, .backup_ends = "Completed", .phase = "Done"};
    scenario_open(&s);
    scenario_kill_everywhere(&s);
    assert_restored(s.end);
    assert_clean_hands(s.end);
    assert_null(json_value_at(s.end, "Kustomization/flux-system/shop", "spec", "suspend", NULL));
    scenario_close(&s);
}

static void argocd_ends_done(void **state)
{
    (void)state;
    struct scenario s = {.target = TARGET_APPLICATION, .backup_ends = "Completed", .phase = "Done"};
    scenario_open(&s);
    scenario_kill_everywhere(&s);
    assert_restored(s.end);
    assert_clean_hands(s.end);
    json_t *automated =
        json_value_at(s.end, "Application/argocd/shop", "spec", "syncPolicy", "automated", NULL);
    assert_null(json_object_get(automated, "enabled"));
    assert_true(json_is_true(json_object_get(automated, "selfHeal")));
    scenario_close(&s);
}

/* What controllers write meanwhile is theirs: status, and that they own it. */
static json_t *without_status(json_t *o)
{
    json_t *copy = json_deep_copy(o);
    json_t *managed = json_value_at(copy, "metadata", "managedFields", NULL);
    json_object_del(copy, "status");
    for (size_t i = json_array_size(managed); i-- > 0;)
        if (json_object_get(json_array_get(managed, i), "subresource"))
            json_array_remove(managed, i);
    return copy;
}

/* A failure before Clear: everything is as it was, down to the owners of every field. */
static void a_failed_safety_backup_changes_nothing(void **state)
{
    (void)state;
    struct scenario s = {
        .target = TARGET_KUSTOMIZATION, .backup_ends = "Failed", .phase = "Failed"};
    scenario_open(&s);
    scenario_kill_everywhere(&s);
    assert_clean_hands(s.end);
    size_t i;
    json_t *o;
    json_array_foreach(s.base, i, o)
    {
        const char *kind = json_text_at(o, "kind", NULL);
        const char *ns = json_text_at(o, "metadata", "namespace", NULL);
        char *key CLEANUP(free_p) =
            xasprintf("%s/%s/%s", kind, ns ? ns : "", json_text_at(o, "metadata", "name", NULL));
        if (streq(kind, "Restore") || streq(kind, "Pod"))
            continue;
        json_t *was CLEANUP_JSON = without_status(o), *is CLEANUP_JSON = NULL;
        normalise(was);
        is = without_status(json_object_get(s.end, key));
        if (!json_equal(was, is)) {
            char *x CLEANUP(free_p) = json_dumps(was, JSON_SORT_KEYS);
            char *y CLEANUP(free_p) = json_dumps(is, JSON_SORT_KEYS);
            fail_msg("%s is not as it was\nwas %s\nis  %s", key, x, y);
        }
    }
    scenario_close(&s);
}

int main(int argc, char **argv)
{
    if (argc > 1 && streq(argv[1], "worker")) /* which decodes what Helm has stored */
        return worker_main(argc - 1, argv + 1);
    if (argc == 4 && streq(argv[1], "drive"))
        return driver_run(argv[2], argv[3], NULL);
    if (argc == 2)
        cmocka_set_test_filter(argv[1]); /* one test, for who looks for a mistake */
    self = "/proc/self/exe";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flux_ends_done),
        cmocka_unit_test(argocd_ends_done),
        cmocka_unit_test(a_failed_safety_backup_changes_nothing),
    };
    int failed = people_tests() + adopt_tests() + objects_tests() + writers_tests();
    return cmocka_run_group_tests(tests, NULL, NULL) + failed;
}
