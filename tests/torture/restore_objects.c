/* Objects on their way back: who may not run again, what is left as it is, and what is written over
 * what somebody has made meanwhile. Each test restores a snapshot of its own. */
#include "restore_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "reconciler/store/open.h"
#include "store/snapshot.h"
#include "store/synthetic.h"

/* JSON with ' for ". */
static char *json_of(const char *text)
{
    char *out = xstrdup(text);
    for (char *p = out; *p; p++)
        if (*p == '\'')
            *p = '"';
    return out;
}

struct file {
    const char *path, *text;
};

struct world {
    struct scenario s;
    struct fake_child *fake;
};

static void must(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->msg);
}

static void patch(struct world *w, const struct kube_type *t, const char *ns, const char *name,
                  const char *body, bool status)
{
    struct kube *k CLEANUP(kube_free_p) = fake_client(w->fake);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_write how = {.manager = "person", .subresource = status ? "status" : NULL};
    struct err err = {0};
    char *text CLEANUP(free_p) = json_of(body);
    must(kube_patch(k, a, t, ns, name, KUBE_PATCH_MERGE, str_of(text), &how, NULL, &err), &err);
}

/* A second snapshot, beside the fixture's, which the Backup names from then on. */
static void back_up(struct world *w, const char *plan, const struct file *files, size_t n)
{
    struct kube *k CLEANUP(kube_free_p) = fake_client(w->fake);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct context cx = {
        .kube = k, .ns = GLEANER_NS, .local_root = w->s.root, .cluster = "torture"};
    struct opened o CLEANUP(store_close) = {0};
    struct store_id tree, id;
    struct err err = {0};
    const struct file meta[] = {{"/meta/plan.json", plan}, {"/meta/backup.json", "{'target':{}}"}};
    must(store_open(&cx, a, "local", "shop", false, &o, &err), &err);
    struct synthetic *s CLEANUP(synthetic_free_p) = synthetic_new(o.repo, 0);
    for (size_t i = 0; i < n + ARRAY_LEN(meta); i++) {
        const struct file *f = i < n ? &files[i] : &meta[i - n];
        char *text CLEANUP(free_p) = json_of(f->text);
        must(synthetic_add(s, f->path, text, strlen(text), 0, &err), &err);
    }
    must(synthetic_finish(s, &tree, &err), &err);
    must(repository_flush(o.repo, &err), &err);
    static const char *const paths[] = {"/"};
    struct snapshot snap = {.time = {2, 0}, .tree = tree, .paths = paths, .paths_n = 1};
    must(snapshot_save(o.repo, &snap, &id, &err), &err);
    char hex[STORE_ID_HEX];
    store_id_hex(&id, hex);
    char *body CLEANUP(free_p) = xasprintf("{'status':{'snapshot':'%s','volumes':null}}", hex);
    patch(w, &KUBE_BACKUP, GLEANER_NS, "b1", body, true);
}

static struct world open_world(const char *cluster, const char *plan, const struct file *files,
                               size_t n)
{
    struct world w = {.s = {.target = TARGET_KUSTOMIZATION, .backup_ends = "Completed"}};
    scenario_open(&w.s);
    w.fake = scenario_start(&w.s, NULL);
    char *text CLEANUP(free_p) = json_of(cluster);
    fake_post(w.fake, "objects", text);
    back_up(&w, plan, files, n);
    return w;
}

static void close_world(struct world *w)
{
    fake_stop(w->fake);
    scenario_close(&w->s);
}

/* A new reference. */
static json_t *restore(struct world *w, const char *until, const char *phase)
{
    assert_int_equal(driver_run(fake_kubeconfig(w->fake), w->s.root, until), 0);
    json_t *state = scenario_state(w->fake), *list CLEANUP_JSON = fake_get(w->fake, "objects"), *o;
    const char *have = json_text_at(state, "Restore/" GLEANER_NS "/r1", "status", "phase", NULL);
    size_t i;
    json_array_foreach(list, i, o)
    {
        if (streq(json_text_at(o, "kind", NULL), "Restore") && !streq(have, phase)) {
            char *status CLEANUP(free_p) = json_dumps(json_object_get(o, "status"), 0);
            fail_msg("the Restore is %s, not %s: %s", have, phase, status);
        }
    }
    if (!until && streq(phase, "Done"))
        assert_clean_hands(state);
    return state;
}

/* ---- Jobs ---- */

#define OWNER(group_version, kind, name)                                                           \
    "'ownerReferences':[{'apiVersion':'" group_version "','kind':'" kind "','name':'" name         \
    "','uid':'u-then','controller':true}]"
#define ROW(group, kind, name, class, restore)                                                     \
    "{'group':'" group "','kind':'" kind "','namespace':'shop','name':'" name                      \
    "','class':'" class "','keep':'object','restore':'" restore "','core':true}"

static void jobs_of_an_owner_do_not_run_again(void **state)
{
    (void)state;
    static const struct file files[] = {
        {"/resources/jobs.batch/namespaces/shop/nightly-1.json",
         "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'nightly-1','namespace':'shop',"
         "'uid':'u-1'," OWNER("batch/v1", "CronJob",
                              "nightly") "},'spec':{'template':{}},"
                                         "'status':{'conditions':[{'type':'Complete','status':'"
                                         "True'}],'succeeded':1}}"},
        {"/resources/jobs.batch/namespaces/shop/running.json",
         "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'running','namespace':'shop',"
         "'uid':'u-2'," OWNER("v1", "ConfigMap", "tuned") "},'spec':{'template':{}},"
                                                          "'status':{'active':1}}"},
    };
    struct world w = open_world(
        "{'apiVersion':'batch/v1','kind':'CronJob','metadata':{'name':'nightly','namespace':"
        "'shop','uid':'u-now'},'spec':{}}",
        "{'objects':[" ROW("batch", "Job", "nightly-1", "history", "after-owner") "," ROW(
            "batch", "Job", "running", "derived-unproven", "after-owner") "]}",
        files, ARRAY_LEN(files));
    json_t *end CLEANUP_JSON = restore(&w, NULL, "Done");
    json_t *job = json_object_get(end, "Job/shop/nightly-1");
    assert_int_equal(json_integer_value(json_value_at(job, "status", "succeeded", NULL)), 1);
    assert_null(json_value_at(job, "spec", "suspend", NULL));
    json_t *owners = json_value_at(job, "metadata", "ownerReferences", NULL);
    assert_string_equal(json_text_at(json_array_get(owners, 0), "uid", NULL), "u-now");
    assert_null(json_object_get(end, "Job/shop/running"));
    close_world(&w);
}

/* ---- definitions ---- */

static void definitions_that_are_there_stay(void **state)
{
    (void)state;
    static const struct file files[] = {
        {"/resources/namespaces/cluster/shop.json",
         "{'apiVersion':'v1','kind':'Namespace','metadata':{'name':'shop','uid':'u-1',"
         "'labels':{'team':'then'}},'spec':{}}"},
        {"/resources/customresourcedefinitions.apiextensions.k8s.io/cluster/"
         "things.example.dev.json",
         "{'apiVersion':'apiextensions.k8s.io/v1','kind':'CustomResourceDefinition','metadata':{"
         "'name':'things.example.dev','uid':'u-2'},'spec':{'group':'example.dev','scope':"
         "'Namespaced','names':{'plural':'things','kind':'Thing'},'versions':[{'name':'v1',"
         "'served':true,'storage':true}]}}"},
    };
    struct world w = open_world(
        "[{'apiVersion':'v1','kind':'Namespace','metadata':{'name':'shop','uid':'u-now',"
        "'labels':{'team':'now'}},'spec':{}},"
        "{'apiVersion':'apiextensions.k8s.io/v1','kind':'CustomResourceDefinition','metadata':{"
        "'name':'things.example.dev','uid':'u-3'},'spec':{'group':'example.dev','scope':"
        "'Namespaced','names':{'plural':'things','kind':'Thing'},'versions':[{'name':'v2',"
        "'served':true,'storage':true}]},'status':{'conditions':[{'type':'Established','status':"
        "'True'}]}}]",
        "{'objects':[]}", files, ARRAY_LEN(files));
    json_t *end CLEANUP_JSON = restore(&w, NULL, "Done");
    assert_string_equal(json_text_at(end, "Namespace//shop", "metadata", "labels", "team", NULL),
                        "now");
    json_t *versions = json_value_at(end, "CustomResourceDefinition//things.example.dev", "spec",
                                     "versions", NULL);
    assert_string_equal(json_text_at(json_array_get(versions, 0), "name", NULL), "v2");
    close_world(&w);
}

int objects_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_of_an_owner_do_not_run_again),
        cmocka_unit_test(definitions_that_are_there_stay),
    };
    return cmocka_run_group_tests_name("objects", tests, NULL, NULL);
}
