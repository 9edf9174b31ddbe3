/* Objects on their way back: who may not run again, what is left as it is, and what is written over
 * what somebody has made meanwhile. Each test restores a snapshot of its own. */
#include "restore_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/codec.h"
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

static void patch_as(struct world *w, const char *manager, const struct kube_type *t,
                     const char *ns, const char *name, const char *body, bool status)
{
    struct kube *k CLEANUP(kube_free_p) = fake_client(w->fake);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_write how = {.manager = manager, .subresource = status ? "status" : NULL};
    struct err err = {0};
    char *text CLEANUP(free_p) = json_of(body);
    must(kube_patch(k, a, t, ns, name, KUBE_PATCH_MERGE, str_of(text), &how, NULL, &err), &err);
}

static void patch(struct world *w, const struct kube_type *t, const char *ns, const char *name,
                  const char *body, bool status)
{
    patch_as(w, "person", t, ns, name, body, status);
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
    fake_post(w.fake, "types",
              "{\"group\":\"rbac.authorization.k8s.io\",\"version\":\"v1\",\"resource\":"
              "\"roles\",\"kind\":\"Role\",\"custom\":false}");
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

#define JOB_FILE(name) "/resources/jobs.batch/namespaces/shop/" name ".json"
#define FINISHED_JOB(name)                                                                         \
    "{'apiVersion':'batch/v1','kind':'Job','metadata':{'name':'" name                              \
    "','namespace':'shop','uid':'u-1'," OWNER(                                                     \
        "batch/v1", "CronJob",                                                                     \
        "nightly") "},'spec':{'template':{}},"                                                     \
                   "'status':{'conditions':[{'type':'Complete','status':'True'}],'succeeded':1}}"

static void jobs_of_an_owner_do_not_run_again(void **state)
{
    (void)state;
    static const struct file files[] = {
        {JOB_FILE("nightly-1"), FINISHED_JOB("nightly-1")},
        {JOB_FILE("running"),
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

/* ---- rights ---- */

static void deny(struct world *w, const char *group, const char *resource, const char *verbs)
{
    char *rows CLEANUP(free_p) =
        xasprintf("[{'group':'%s','resource':'%s','verbs':[%s]}]", group, resource, verbs);
    char *text CLEANUP(free_p) = json_of(rows);
    fake_post(w->fake, "denied", text);
}

#define ALL_VERBS "'create','update','patch'"

/* It fails before anybody is held: the engine and the namespace are as they were, to the last
 * resourceVersion. The message has both parts in it. */
static void assert_refused(struct world *w, const char *object, const char *why)
{
    json_t *before CLEANUP_JSON = fake_get(w->fake, "objects");
    json_decref(restore(w, NULL, "Failed"));
    json_t *after CLEANUP_JSON = fake_get(w->fake, "objects"), *was, *is;
    assert_int_equal(json_array_size(before), json_array_size(after));
    size_t i;
    json_array_foreach(before, i, was)
    {
        is = json_array_get(after, i);
        if (!streq(json_text_at(was, "kind", NULL), "Restore")) {
            assert_true(json_equal(was, is));
            continue;
        }
        char *status CLEANUP(free_p) = json_dumps(json_object_get(is, "status"), 0);
        if (!strstr(status, object) || !strstr(status, why))
            fail_msg("not in it: %s, %s: %s", object, why, status);
    }
}

#define ROLES "rbac.authorization.k8s.io", "roles"
#define ROLE_FILE(name) "/resources/roles.rbac.authorization.k8s.io/namespaces/shop/" name ".json"
#define ROLE(name, uid, verb)                                                                      \
    "{'apiVersion':'rbac.authorization.k8s.io/v1','kind':'Role','metadata':{'name':'" name         \
    "','namespace':'shop','uid':'" uid                                                             \
    "'},'rules':[{'apiGroups':[''],'resources':['pods'],'verbs':['" verb "']}]}"
#define ROLE_ROW(name) ROW("rbac.authorization.k8s.io", "Role", name, "manual", "normal")

/* One that is as it was, one that is another application's too, and differs. */
static struct world roles_world(const char *cluster)
{
    static const struct file files[] = {
        {ROLE_FILE("reader"), ROLE("reader", "u-1", "get")},
        {ROLE_FILE("reach"), ROLE("reach", "u-2", "get")},
    };
    return open_world(cluster,
                      "{'objects':[" ROLE_ROW(
                          "reader") ",{'group':'rbac.authorization.k8s.io','kind':'Role',"
                                    "'namespace':'shop','name':'reach','class':'manual','keep':"
                                    "'object','restore':'normal','core':false}]}",
                      files, ARRAY_LEN(files));
}

static void what_is_as_it_was_takes_no_rights(void **state)
{
    (void)state;
    struct world w =
        roles_world("[" ROLE("reader", "u-3", "get") "," ROLE("reach", "u-4", "list") "]");
    deny(&w, ROLES, ALL_VERBS);
    json_decref(restore(&w, NULL, "Done"));
    close_world(&w);
}

static void what_is_gone_and_may_not_be_made_is_found_in_plan(void **state)
{
    (void)state;
    struct world w = roles_world("[" ROLE("reader", "u-3", "get") "]");
    deny(&w, ROLES, "'create'");
    assert_refused(&w, "Role shop/reach is not there", "create and patch roles.rbac");
    close_world(&w);
}

static void what_differs_and_may_not_be_changed_is_found_in_plan(void **state)
{
    (void)state;
    struct world w =
        roles_world("[" ROLE("reader", "u-3", "list") "," ROLE("reach", "u-4", "list") "]");
    deny(&w, ROLES, "'update'");
    assert_refused(&w, "Role shop/reader is not as the backup has it (rules)",
                   "update and patch roles.rbac");
    close_world(&w);
}

/* To make one takes no update. */
static void only_what_is_needed_is_asked_for(void **state)
{
    (void)state;
    struct world w = roles_world("[" ROLE("reach", "u-4", "list") "]");
    deny(&w, ROLES, "'update'");
    json_t *end CLEANUP_JSON = restore(&w, NULL, "Done");
    assert_non_null(json_object_get(end, "Role/shop/reader"));
    close_world(&w);
}

/* The right to make Roles is not the right to grant what is in one. */
static void what_admission_forbids_is_found_in_plan(void **state)
{
    (void)state;
    static const char fault[] = "{\"match\":{\"method\":\"POST\",\"path\":\"/roles\"},"
                                "\"times\":0,\"do\":\"status\",\"code\":403,\"message\":"
                                "\"attempting to grant\"}";
    struct world there =
        roles_world("[" ROLE("reader", "u-3", "get") "," ROLE("reach", "u-4", "list") "]");
    fake_post(there.fake, "faults", fault);
    json_decref(restore(&there, NULL, "Done"));
    close_world(&there);
    struct world gone = roles_world("[" ROLE("reach", "u-4", "list") "]");
    fake_post(gone.fake, "faults", fault);
    assert_refused(&gone, "Role shop/reader is not there", "attempting to grant");
    close_world(&gone);
}

static struct world residue_world(const char *value)
{
    static const struct file files[] = {
        {"/residue/roles.rbac.authorization.k8s.io/namespaces/shop/reader.json",
         "{'apiVersion':'rbac.authorization.k8s.io/v1','kind':'Role','metadata':{'name':'reader',"
         "'namespace':'shop','uid':'u-1','annotations':{'team':'then'}}}"},
    };
    char *role CLEANUP(free_p) =
        xasprintf("{'apiVersion':'rbac.authorization.k8s.io/v1','kind':'Role','metadata':{'name':"
                  "'reader','namespace':'shop','uid':'u-3','annotations':{%s}},'rules':[]}",
                  value);
    return open_world(role, "{'objects':[" ROLE_ROW("reader") "]}", files, ARRAY_LEN(files));
}

static void fields_that_may_not_be_put_back_are_found_in_plan(void **state)
{
    (void)state;
    struct world there = residue_world("'team':'then'");
    deny(&there, ROLES, ALL_VERBS);
    json_decref(restore(&there, NULL, "Done"));
    close_world(&there);
    struct world gone = residue_world("");
    deny(&gone, ROLES, "'patch'");
    assert_refused(&gone, "Role shop/reader lacks fields", "patch roles.rbac");
    close_world(&gone);
}

#define THING                                                                                      \
    "{'apiVersion':'example.dev/v1','kind':'Thing','metadata':{'name':'one','namespace':'shop',"   \
    "'uid':'u-1'},'spec':{}}"
#define THING_FILE "/resources/things.example.dev/namespaces/shop/one.json"
#define THINGS                                                                                     \
    "{'apiVersion':'apiextensions.k8s.io/v1','kind':'CustomResourceDefinition','metadata':{"       \
    "'name':'things.example.dev','uid':'u-2'},'spec':{'group':'example.dev','scope':"              \
    "'Namespaced','names':{'plural':'things','kind':'Thing'},'versions':[{'name':'v1',"            \
    "'served':true,'storage':true}]}}"
#define THINGS_FILE                                                                                \
    "/resources/customresourcedefinitions.apiextensions.k8s.io/cluster/things.example.dev.json"

static void a_kind_that_nobody_would_serve_is_found_in_plan(void **state)
{
    (void)state;
    static const struct file files[] = {{THING_FILE, THING}, {THINGS_FILE, THINGS}};
    struct world w = open_world("[]", "{'objects':[]}", files, 1);
    assert_refused(&w, "does not serve things.example.dev", "install it first");
    close_world(&w);
    struct world defined = open_world("[]", "{'objects':[]}", files, 2);
    deny(&defined, "example.dev", "things", "'create'");
    assert_refused(&defined, "things shop/one is not there", "create and patch things.example.dev");
    close_world(&defined);
    struct world undefined = open_world("[]", "{'objects':[]}", files, 2);
    deny(&undefined, "apiextensions.k8s.io", "customresourcedefinitions", "'create'");
    assert_refused(&undefined, "CustomResourceDefinition things.example.dev is not there",
                   "create and patch customresourcedefinitions");
    close_world(&undefined);
}

/* A release "web" in the books of the target, whose chart has one Role. */
static struct world chart_world(const char *role)
{
    static const char release[] =
        "{\"name\":\"web\",\"namespace\":\"shop\",\"version\":1,\"manifest\":\"apiVersion: "
        "rbac.authorization.k8s.io/v1\\nkind: Role\\nmetadata: {name: reader}\\nrules: []\\n\"}";
    struct buf once CLEANUP(buf_free) = {0}, twice CLEANUP(buf_free) = {0};
    base64_encode(&once, release, sizeof release - 1);
    base64_encode(&twice, once.p, once.n);
    char *cluster CLEANUP(free_p) = xasprintf(
        "[{'apiVersion':'helm.toolkit.fluxcd.io/v2','kind':'HelmRelease','metadata':{'name':'web',"
        "'namespace':'shop','uid':'u-web','generation':1,'labels':{"
        "'kustomize.toolkit.fluxcd.io/name':'shop','kustomize.toolkit.fluxcd.io/namespace':"
        "'flux-system'}},'spec':{'interval':'1m','releaseName':'web'},'status':{"
        "'observedGeneration':1}},{'apiVersion':'v1','kind':'Secret','metadata':{'name':"
        "'sh.helm.release.v1.web.v1','namespace':'shop','labels':{'owner':'helm','name':'web',"
        "'version':'1','status':'deployed'}},'type':'helm.sh/release.v1','data':{'release':"
        "'%s'}}%s%s]",
        twice.p, *role ? "," : "", role);
    struct world w = open_world(cluster, "{'objects':[]}", NULL, 0);
    patch(&w, &KUBE_KUSTOMIZATION, "flux-system", "shop",
          "{'status':{'inventory':{'entries':[{'id':'shop_web_helm.toolkit.fluxcd.io_HelmRelease',"
          "'v':'v2'}]}}}",
          true);
    deny(&w, ROLES, ALL_VERBS);
    return w;
}

static void a_charts_object_that_may_not_be_made_is_found_in_plan(void **state)
{
    (void)state;
    struct world gone = chart_world("");
    assert_refused(&gone, "Role shop/reader is not there", "create and patch roles.rbac");
    close_world(&gone);
    struct world there = chart_world(ROLE("reader", "u-1", "list"));
    json_decref(restore(&there, "Hold", "Hold"));
    close_world(&there);
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
    deny(&w, "apiextensions.k8s.io", "customresourcedefinitions", ALL_VERBS);
    json_t *end CLEANUP_JSON = restore(&w, NULL, "Done");
    assert_string_equal(json_text_at(end, "Namespace//shop", "metadata", "labels", "team", NULL),
                        "now");
    json_t *versions = json_value_at(end, "CustomResourceDefinition//things.example.dev", "spec",
                                     "versions", NULL);
    assert_string_equal(json_text_at(json_array_get(versions, 0), "name", NULL), "v2");
    close_world(&w);
}

/* ---- owned Secrets ---- */

#define SECRET_FILE(name) "/resources/secrets/namespaces/shop/" name ".json"
#define SECRET(name, uid, more, type, data)                                                        \
    "{'apiVersion':'v1','kind':'Secret','metadata':{'name':'" name                                 \
    "','namespace':'shop','uid':'" uid "'," more ",'managedFields':[{'manager':'operator',"        \
    "'operation':'Update','apiVersion':'v1','fieldsType':'FieldsV1','fieldsV1':{'f:data':{"        \
    "'.':{},'f:password':{}}}}]},'type':'" type "','data':{" data "}}"
#define OF_PG OWNER("v1", "ConfigMap", "pg")
#define OF_PG_NOW                                                                                  \
    "'ownerReferences':[{'apiVersion':'v1','kind':'ConfigMap','name':'pg','uid':'u-pg',"           \
    "'controller':true}]"
#define THEN "'password':'dGhlbg=='"
#define NOW "'password':'bm93'"
#define SECRET_ROW(name) ROW("", "Secret", name, "secret", "after-owner")

/* After an accident: the operator has made its password anew; the volumes know the old one. */
static struct world operators_world(const char *type)
{
    char *stored CLEANUP(free_p) = xasprintf(SECRET("pg-user", "u-1", OF_PG, "%s", THEN), type);
    char *cluster CLEANUP(free_p) = xasprintf(
        "[{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'pg','namespace':'shop','uid':"
        "'u-pg'}}," SECRET("pg-user", "u-4", OF_PG_NOW, "%s", NOW) "," SECRET(
            "release", "u-5", OF_PG_NOW, "helm.sh/release.v1", NOW) "]",
        type);
    const struct file files[] = {
        {SECRET_FILE("pg-user"), stored},
        {SECRET_FILE("pg-ca"), SECRET("pg-ca", "u-2", OF_PG, "Opaque", THEN)},
        {SECRET_FILE("release"), SECRET("release", "u-3", OF_PG, "helm.sh/release.v1", THEN)},
    };
    return open_world(
        cluster,
        "{'objects':[" SECRET_ROW("pg-user") "," SECRET_ROW("pg-ca") "," SECRET_ROW("release") "]}",
        files, ARRAY_LEN(files));
}

static const char *password(json_t *state, const char *key)
{
    return json_text_at(state, key, "data", "password", NULL);
}

static void an_owners_new_password_gives_way(void **state)
{
    (void)state;
    struct world w = operators_world("Opaque");
    json_t *early CLEANUP_JSON = restore(&w, "Recreate", "Recreate");
    static const char *const both[] = {"Secret/shop/pg-user", "Secret/shop/pg-ca"};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        assert_string_equal(password(early, both[i]), "dGhlbg==");
        json_t *owners = json_value_at(early, both[i], "metadata", "ownerReferences", NULL);
        assert_string_equal(json_text_at(json_array_get(owners, 0), "uid", NULL), "u-pg");
    }
    json_t *end CLEANUP_JSON = restore(&w, NULL, "Done");
    assert_string_equal(password(end, both[0]), "dGhlbg==");
    assert_string_equal(password(end, "Secret/shop/release"), "bm93");
    close_world(&w);
}

static void an_owner_that_writes_anew(const char *type, const char *phase)
{
    struct world w = operators_world(type);
    json_decref(restore(&w, "Verify", "Verify"));
    patch(&w, &KUBE_SECRET, "shop", "pg-user", "{'data':{'password':'bm93'}}", false);
    json_t *end CLEANUP_JSON = restore(&w, NULL, phase);
    assert_string_equal(password(end, "Secret/shop/pg-user"), "bm93");
    close_world(&w);
}

static void verify_notices_another_password(void **state)
{
    (void)state;
    an_owner_that_writes_anew("Opaque", "Held");
    an_owner_that_writes_anew("kubernetes.io/tls", "Done");
}

/* ---- tokens ---- */

#define TOKEN(name, account)                                                                       \
    "{'apiVersion':'v1','kind':'Secret','metadata':{'name':'" name "','namespace':'shop',"         \
    "'uid':'u-1','annotations':{'kubernetes.io/service-account.name':'" account                    \
    "','kubernetes.io/service-account.uid':'u-then'}},"                                            \
    "'type':'kubernetes.io/service-account-token','data':{'token':'dGhlbg=='}}"
#define ACCOUNT(name)                                                                              \
    "{'apiVersion':'v1','kind':'ServiceAccount','metadata':{'name':'" name                         \
    "','namespace':'shop','uid':'u-account-" name "'}}"

static void a_token_comes_back_empty_and_after_its_account(void **state)
{
    (void)state;
    static const struct file files[] = {
        {SECRET_FILE("ci"), TOKEN("ci", "ci")},
        {SECRET_FILE("late"), TOKEN("late", "late")},
    };
    struct world w = open_world(ACCOUNT("ci"),
                                "{'objects':[" ROW("", "Secret", "ci", "secret", "normal") "," ROW(
                                    "", "Secret", "late", "secret", "normal") "]}",
                                files, ARRAY_LEN(files));
    json_t *early CLEANUP_JSON = restore(&w, "Settle", "Settle");
    assert_non_null(json_object_get(early, "Secret/shop/ci"));
    assert_null(json_object_get(early, "Secret/shop/late"));
    char *account CLEANUP(free_p) = json_of(ACCOUNT("late"));
    fake_post(w.fake, "objects", account);
    json_t *end CLEANUP_JSON = restore(&w, NULL, "Done");
    static const char *const both[] = {"Secret/shop/ci", "Secret/shop/late"};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        json_t *token = json_object_get(end, both[i]);
        json_t *marks = json_value_at(token, "metadata", "annotations", NULL);
        assert_non_null(json_object_get(marks, "kubernetes.io/service-account.name"));
        assert_null(json_object_get(marks, "kubernetes.io/service-account.uid"));
        assert_null(json_object_get(token, "data"));
    }
    close_world(&w);
}

/* ---- drift ---- */

static struct world drifted_world(void)
{
    static const struct file files[] = {
        {"/residue/configmaps/namespaces/shop/level.json",
         "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'level','namespace':'shop',"
         "'uid':'u-1','managedFields':[{'manager':'kubectl-edit','operation':'Update',"
         "'apiVersion':'v1','fieldsType':'FieldsV1','fieldsV1':{'f:data':{'f:level':{}}}}]},"
         "'data':{'level':'live'}}"},
    };
    return open_world(
        "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'level','namespace':'shop',"
        "'uid':'u-2','managedFields':[{'manager':'kustomize-controller','operation':'Apply',"
        "'apiVersion':'v1','fieldsType':'FieldsV1','fieldsV1':{'f:data':{'f:level':{},'f:other':{"
        "}}}}]},'data':{'level':'placeholder','other':'git'}}",
        "{'objects':[" ROW("", "ConfigMap", "level", "drifted", "normal") "]}", files,
        ARRAY_LEN(files));
}

static void what_drifted_is_put_back_over_the_engine(void **state)
{
    (void)state;
    struct world w = drifted_world();
    json_t *end CLEANUP_JSON = restore(&w, NULL, "Done");
    json_t *data = json_value_at(end, "ConfigMap/shop/level", "data", NULL);
    assert_string_equal(json_text_at(data, "level", NULL), "live");
    assert_string_equal(json_text_at(data, "other", NULL), "git");
    close_world(&w);
}

/* Git's value is no failure: it is what the engine is for. */
static void an_engine_may_take_it_back(void **state)
{
    (void)state;
    struct world w = drifted_world();
    json_t *before CLEANUP_JSON = restore(&w, "Verify", "Verify");
    assert_string_equal(json_text_at(before, "ConfigMap/shop/level", "data", "level", NULL),
                        "live");
    patch_as(&w, "kustomize-controller", &KUBE_CONFIGMAP, "shop", "level",
             "{'data':{'level':'placeholder'}}", false);
    json_decref(restore(&w, NULL, "Done"));
    close_world(&w);
}

/* ---- written anew once it was back ---- */

#define BY_HAND(fields)                                                                            \
    "'managedFields':[{'manager':'hand','operation':'Update','apiVersion':'v1','time':"            \
    "'2026-01-01T00:00:00Z','fieldsType':'FieldsV1','fieldsV1':" fields "}]"

static struct world handmade_world(void)
{
    static const struct file files[] = {
        {"/resources/configmaps/namespaces/shop/leader.json",
         "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'leader','namespace':'shop',"
         "'uid':'u-1'," BY_HAND("{'f:data':{'f:at':{},'f:key':{}}}") "},'data':{'at':'then',"
                                                                     "'key':'k'}}"},
        {SECRET_FILE("mail"),
         "{'apiVersion':'v1','kind':'Secret','metadata':{'name':'mail','namespace':'shop',"
         "'uid':'u-2'," BY_HAND("{'f:data':{'f:key':{}}}") "},'type':'Opaque','data':{'key':"
                                                           "'dGhlbg=='}}"},
        {"/residue/configmaps/namespaces/shop/level.json",
         "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'level','namespace':'shop',"
         "'uid':'u-3'," BY_HAND("{'f:data':{'f:level':{}}}") "},'data':{'level':'live'}}"},
    };
    return open_world(
        "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'level',"
        "'namespace':'shop','uid':'u-4'," BY_HAND("{'f:data':{'.':{}}}") "},'data':{}}",
        "{'objects':[" ROW("", "ConfigMap", "leader", "manual", "normal") "," ROW(
            "", "Secret", "mail", "secret", "normal") "," ROW("", "ConfigMap", "level", "residue",
                                                              "normal") "]}",
        files, ARRAY_LEN(files));
}

/* A leader's note, a level that its controller has turned: the application runs by then. */
static void what_is_written_once_it_is_back_is_its_writers(void **state)
{
    (void)state;
    struct world w = handmade_world();
    json_decref(restore(&w, "Verify", "Verify"));
    patch(&w, &KUBE_CONFIGMAP, "shop", "leader", "{'data':{'at':'now'}}", false);
    patch(&w, &KUBE_CONFIGMAP, "shop", "level", "{'data':{'level':'turned'}}", false);
    json_t *end CLEANUP_JSON = restore(&w, NULL, "Done");
    assert_string_equal(json_text_at(end, "ConfigMap/shop/leader", "data", "at", NULL), "now");
    assert_string_equal(json_text_at(end, "ConfigMap/shop/level", "data", "level", NULL), "turned");
    close_world(&w);
}

static void what_is_missing_is_not(const struct kube_type *t, const char *name, const char *body)
{
    struct world w = handmade_world();
    json_decref(restore(&w, "Verify", "Verify"));
    patch(&w, t, "shop", name, body, false);
    json_decref(restore(&w, NULL, "Held"));
    close_world(&w);
}

static void what_is_missing_or_another_secret_is_held(void **state)
{
    (void)state;
    what_is_missing_is_not(&KUBE_CONFIGMAP, "leader", "{'data':{'key':null}}");
    what_is_missing_is_not(&KUBE_CONFIGMAP, "level", "{'data':{'level':null}}");
    what_is_missing_is_not(&KUBE_SECRET, "mail", "{'data':{'key':'bm93'}}");
}

/* ---- another application's by now ---- */

#define MARKED(name, uid, value)                                                                   \
    "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'" name                              \
    "','namespace':'shop','uid':'" uid "','labels':{'kustomize.toolkit.fluxcd.io/name':'other',"   \
    "'kustomize.toolkit.fluxcd.io/namespace':'flux-system'}},'data':{'k':'" value "'}}"
#define CONFIGMAP_FILE(name) "/resources/configmaps/namespaces/shop/" name ".json"

static void what_another_application_has_taken_over_is_left(void **state)
{
    (void)state;
    static const struct file files[] = {
        {CONFIGMAP_FILE("theirs"), MARKED("theirs", "u-1", "then")},
        {CONFIGMAP_FILE("copied-mark"), MARKED("copied-mark", "u-2", "then")},
    };
    struct world w = open_world(
        "[" MARKED("theirs", "u-3", "now") "," MARKED(
            "copied-mark", "u-4",
            "now") ","
                   "{'apiVersion':'kustomize.toolkit.fluxcd.io/"
                   "v1','kind':'Kustomization','metadata':{"
                   "'name':'other','namespace':'flux-system','uid':'u-other'},'spec':{'path':'./',"
                   "'targetNamespace':'shop','sourceRef':{'kind':'GitRepository','name':'other'}},"
                   "'status':{'inventory':{'entries':[{'id':'shop_theirs__ConfigMap','v':'v1'}]}}},"
                   /* A tenant's, of the same name, that says what it likes. */
                   "{'apiVersion':'kustomize.toolkit.fluxcd.io/"
                   "v1','kind':'Kustomization','metadata':{"
                   "'name':'other','namespace':'tenant','uid':'u-tenant'},'spec':{'path':'./',"
                   "'targetNamespace':'tenant','sourceRef':{'kind':'GitRepository','name':'other'}}"
                   ","
                   "'status':{'inventory':{'entries':[{'id':'shop_copied-mark__ConfigMap','v':'v1'}"
                   "]}}}]",
        "{'objects':[]}", files, ARRAY_LEN(files));
    json_t *end CLEANUP_JSON = restore(&w, NULL, "Done");
    assert_string_equal(json_text_at(end, "ConfigMap/shop/theirs", "data", "k", NULL), "now");
    assert_string_equal(json_text_at(end, "ConfigMap/shop/copied-mark", "data", "k", NULL), "then");
    close_world(&w);
}

/* ---- killed ---- */

static void killed_anywhere_it_ends_the_same(void **state)
{
    (void)state;
    struct world w = operators_world("Opaque");
    static const struct file files[] = {
        {SECRET_FILE("pg-user"), SECRET("pg-user", "u-1", OF_PG, "Opaque", THEN)},
        {SECRET_FILE("pg-ca"), SECRET("pg-ca", "u-2", OF_PG, "Opaque", THEN)},
        {SECRET_FILE("ci"), TOKEN("ci", "ci")},
        {JOB_FILE("nightly-1"), FINISHED_JOB("nightly-1")},
        {"/residue/configmaps/namespaces/shop/tuned.json",
         "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'tuned','namespace':'shop',"
         "'uid':'u-6'},'data':{'a':'drifted'}}"},
    };
    char *more CLEANUP(free_p) =
        json_of("[" ACCOUNT("ci") ",{'apiVersion':'batch/v1','kind':'CronJob','metadata':{'name':"
                                  "'nightly','namespace':'shop','uid':'u-now'},'spec':{}}]");
    fake_post(w.fake, "objects", more);
    back_up(&w,
            "{'objects':[" SECRET_ROW("pg-user") "," SECRET_ROW("pg-ca") "," ROW(
                "", "Secret", "ci", "secret",
                "normal") "," ROW("batch", "Job", "nightly-1", "history",
                                  "after-owner") "," ROW("", "ConfigMap", "tuned", "drifted",
                                                         "normal") "]}",
            files, ARRAY_LEN(files));
    json_decref(w.s.base);
    w.s.base = fake_get(w.fake, "objects");
    w.s.phase = "Done";
    scenario_kill_everywhere(&w.s);
    assert_clean_hands(w.s.end);
    assert_string_equal(password(w.s.end, "Secret/shop/pg-user"), "dGhlbg==");
    assert_string_equal(json_text_at(w.s.end, "ConfigMap/shop/tuned", "data", "a", NULL),
                        "drifted");
    close_world(&w);
}

int objects_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_of_an_owner_do_not_run_again),
        cmocka_unit_test(what_is_as_it_was_takes_no_rights),
        cmocka_unit_test(what_is_gone_and_may_not_be_made_is_found_in_plan),
        cmocka_unit_test(what_differs_and_may_not_be_changed_is_found_in_plan),
        cmocka_unit_test(only_what_is_needed_is_asked_for),
        cmocka_unit_test(what_admission_forbids_is_found_in_plan),
        cmocka_unit_test(fields_that_may_not_be_put_back_are_found_in_plan),
        cmocka_unit_test(a_kind_that_nobody_would_serve_is_found_in_plan),
        cmocka_unit_test(a_charts_object_that_may_not_be_made_is_found_in_plan),
        cmocka_unit_test(definitions_that_are_there_stay),
        cmocka_unit_test(an_owners_new_password_gives_way),
        cmocka_unit_test(verify_notices_another_password),
        cmocka_unit_test(a_token_comes_back_empty_and_after_its_account),
        cmocka_unit_test(what_drifted_is_put_back_over_the_engine),
        cmocka_unit_test(an_engine_may_take_it_back),
        cmocka_unit_test(what_is_written_once_it_is_back_is_its_writers),
        cmocka_unit_test(what_is_missing_or_another_secret_is_held),
        cmocka_unit_test(what_another_application_has_taken_over_is_left),
        cmocka_unit_test(killed_anywhere_it_ends_the_same),
    };
    return cmocka_run_group_tests_name("objects", tests, NULL, NULL);
}
