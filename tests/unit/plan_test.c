/* Scope and plan against the fake API server: whose is what, and what a plan says of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/json.h"
#include "fake_child.h"
#include "kube/types.h"
#include "reconciler/context.h"
#include "reconciler/verdict.h"

#include <stdio.h>
#include <stdlib.h>

#define CANARY "Y2FuYXJ5LXZhbHVlLTQ3MTE="
#define KS(name, ns, entries)                                                                      \
    "{'apiVersion':'kustomize.toolkit.fluxcd.io/"                                                  \
    "v1','kind':'Kustomization','metadata':{'name':'" name "','namespace':'" ns                    \
    "'},'spec':{'sourceRef':{'kind':'GitRepository','name':'git'}},"                               \
    "'status':{'lastAppliedRevision':'main@sha1:0123456789012345678901234567890123456789',"        \
    "'inventory':{'entries':[" entries "]}}}"
#define ENTRY(id) "{'id':'" id "','v':'v1'}"
#define THING(api, kind, name, ns, meta, rest)                                                     \
    "{'apiVersion':'" api "','kind':'" kind "','metadata':{'name':'" name "','namespace':'" ns     \
    "'" meta "}" rest "}"
#define OWNED(api, kind, name, uid)                                                                \
    ",'ownerReferences':[{'apiVersion':'" api "','kind':'" kind "','name':'" name "','uid':'" uid  \
    "','controller':true}]"

static const char git[] =
    "[{'apiVersion':'source.toolkit.fluxcd.io/v1','kind':'GitRepository','metadata':{'name':'git',"
    "'namespace':'flux-system'},'spec':{'url':'https://user:" CANARY
    "@git.flux-system.svc/a.git'}}]";

/* Kustomization one and two share namespace app; root holds one. */
static const char shared[] = "[" KS("root", "flux-system", ENTRY("flux-system_one_kustomize.toolkit.fluxcd.io_Kustomization")) "," KS(
    "one", "flux-system",
    ENTRY("app_web_apps_Deployment") "," ENTRY("app_db_apps_StatefulSet") "," ENTRY("far_conf__"
                                                                                    "ConfigMap") "," ENTRY("far_disk__PersistentVolumeClaim") "," ENTRY(
        "_app__Namespace")) "," KS("two", "flux-system",
                                   ENTRY("app_other_apps_Deployment") "," ENTRY(
                                       "app_theirs__Secret")) "," THING("apps/v1", "Deployment",
                                                                        "web", "app",
                                                                        ",'uid':'web'",
                                                                        "") "," THING("apps/v1",
                                                                                      "ReplicaSet",
                                                                                      "web-1",
                                                                                      "app",
                                                                                      ",'uid':'web-"
                                                                                      "1'" OWNED(
                                                                                          "apps/v1",
                                                                                          "Deployme"
                                                                                          "nt",
                                                                                          "web",
                                                                                          "web"),
                                                                                      "") "," THING("v1",
                                                                                                    "Pod",
                                                                                                    "web-1-x",
                                                                                                    "app", OWNED("apps/v1", "ReplicaSet", "web-1", "web-1"), "") "," THING("apps/v1", "StatefulSet", "db", "app", ",'uid':'db'", ",'spec':{'volumeClaimTemplates':[{'metadata':{'name':'data'}}]}") "," THING("v1", "PersistentVolumeClaim", "data-db-0", "app", "", ",'status':{'phase':'Bound'}") "," THING("v1",
                                                                                                                                                                                                                                                                                                                                                                                                              "PersistentVolumeClaim", "data-db-x",
                                                                                                                                                                                                                                                                                                                                                                                                              "app",
                                                                                                                                                                                                                                                                                                                                                                                                              "", ",'status':{'phase':'Bound'}") "," THING("v1",
                                                                                                                                                                                                                                                                                                                                                                                                                                                           "PersistentVolumeClaim",
                                                                                                                                                                                                                                                                                                                                                                                                                                                           "disk",
                                                                                                                                                                                                                                                                                                                                                                                                                                                           "far",
                                                                                                                                                                                                                                                                                                                                                                                                                                                           "",
                                                                                                                                                                                                                                                                                                                                                                                                                                                           ",'status':{'phase':'Bound'}") "," THING("v1",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "ConfigMap",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "conf",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "far",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "", ",'data':{'a':'1'}") "," THING("v1",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                       "Secret", "unseen",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                       "far",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                       "", ",'data':{'a':'" CANARY "'}") "," THING("v1",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "Secret",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "hand",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "app",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "", ",'data':{'a':'" CANARY "'}") "," THING("apps/v1",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               "Deployment", "other", "app",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               ",'uid':'other'", "") "," THING("v1",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               "Secret",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               "theirs", "app", ",'uid':'theirs'", ",'data':{'a':'" CANARY "'}") "," THING("v1",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "Secret",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "of-theirs",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "app",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           OWNED(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               "v1",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               "Secret",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               "theirs",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               "theirs"),
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "") "]";

struct bench {
    struct fake_child *fake;
    struct kube *kube;
    struct arena *a;
    struct context cx;
};

static void load(struct bench *b, const char *objects)
{
    char *json = xstrdup(objects);
    for (char *p = json; *p; p++) {
        if (*p == '\'')
            *p = '"';
    }
    fake_post(b->fake, "objects", json);
    free(json);
}

static void up(struct bench *b)
{
    b->fake = fake_start(NULL);
    b->kube = fake_client(b->fake);
    b->a = arena_new();
    b->cx = (struct context){.kube = b->kube, .ns = "gleaner-system", .program = "/bin/false"};
    load(b, git);
}

static void down(struct bench *b)
{
    arena_free(b->a);
    kube_free(b->kube);
    fake_stop(b->fake);
}

static const struct subject *find(const struct plan *p, const char *kind, const char *name)
{
    for (size_t i = 0; i < p->subject_count; i++) {
        if (streq(p->subjects[i].type->kind, kind) && streq(p->subjects[i].object.name, name))
            return &p->subjects[i];
    }
    return NULL;
}

static bool says(const char *const *texts, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++) {
        if (strstr(texts[i], word))
            return true;
    }
    return false;
}

static void assert_place(const struct plan *p, const char *kind, const char *name, bool core)
{
    const struct subject *x = find(p, kind, name);
    if (!x)
        fail_msg("%s %s is not in the plan", kind, name);
    if (x->core != core)
        fail_msg("%s %s: core is %d", kind, name, x->core);
}

static void test_shared_namespace(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, shared);
    if (plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", false, &p, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(p.ns, "app");
    assert_false(p.alone);
    assert_place(&p, "Deployment", "web", true);
    assert_place(&p, "ReplicaSet", "web-1", true);
    assert_place(&p, "Pod", "web-1-x", true);
    assert_place(&p, "PersistentVolumeClaim", "data-db-0", true);
    assert_place(&p, "Secret", "hand", false);
    assert_place(&p, "PersistentVolumeClaim", "data-db-x", false);
    assert_place(&p, "Kustomization", "one", false);
    assert_place(&p, "ConfigMap", "conf", true);
    assert_place(&p, "Namespace", "app", true);
    assert_string_equal(find(&p, "Pod", "web-1-x")->verdict.rule, "regenerated");
    assert_int_equal(find(&p, "Secret", "hand")->verdict.keep, KEEP_OBJECT);
    assert_null(find(&p, "Deployment", "other"));
    assert_null(find(&p, "Secret", "theirs"));
    assert_null(find(&p, "Secret", "of-theirs"));
    assert_null(find(&p, "Secret", "unseen"));
    assert_int_equal(p.claim_count, 1);
    assert_string_equal(p.claims[0].name, "data-db-0");
    assert_true(says(p.problems, p.problem_count, "far/disk"));
    assert_true(says(p.problems, p.problem_count, "namespace far"));
    assert_true(says(p.warnings, p.warning_count, "data-db-x"));
    down(&b);
}

/* A remote inside the cluster is no proof, and its password is nowhere. */
static void test_remote_of_this_cluster(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, shared);
    assert_int_equal(plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", false, &p, &err),
                     0);
    assert_int_equal(p.declared.reachable, REACHABLE_UNKNOWN);
    assert_non_null(strstr(p.declared.why, "this very cluster"));
    assert_string_equal(find(&p, "Deployment", "web")->verdict.rule, "git-not-proven");
    json_t *j CLEANUP_JSON = plan_json(&p);
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, j);
    assert_null(strstr(text.p, CANARY));
    assert_non_null(strstr(text.p, "\"reachable\":\"unknown\""));
    buf_reset(&text);
    plan_print(&text, &p);
    assert_null(strstr(text.p, CANARY));
    assert_non_null(strstr(text.p, "Secret app/hand"));
    down(&b);
}

/* The root's chain goes through one; its parent's books make one declared by root. */
static void test_chain(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, shared);
    assert_int_equal(plan_make(&b.cx, b.a, "Kustomization", "flux-system", "root", false, &p, &err),
                     0);
    assert_string_equal(p.ns, "app");
    assert_int_equal(p.app_count, 2);
    assert_string_equal(p.apps[1].object.name, "one");
    assert_place(&p, "StatefulSet", "db", true);
    assert_true(find(&p, "Kustomization", "one")->booked);
    assert_false(find(&p, "Kustomization", "root")->booked);
    assert_string_equal(find(&p, "Kustomization", "root")->verdict.rule, "application");
    down(&b);
}

static void test_alone(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, shared);
    assert_int_equal(kube_delete(b.kube, &KUBE_KUSTOMIZATION, "flux-system", "two", NULL, &err), 0);
    assert_int_equal(plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", true, &p, &err),
                     0);
    assert_true(p.alone);
    assert_place(&p, "Secret", "hand", true);
    assert_place(&p, "Secret", "of-theirs", true);
    assert_int_equal(p.claim_count, 2);
    for (size_t i = 0; i < p.subject_count; i++) {
        if (p.subjects[i].core)
            assert_int_equal(p.subjects[i].verdict.keep, KEEP_OBJECT);
    }
    down(&b);
}

#define CLAIM(name)                                                                                \
    THING("v1", "PersistentVolumeClaim", name, "app", "", ",'status':{'phase':'Bound'}")
#define MOUNTS(name) "{'persistentVolumeClaim':{'claimName':'" name "'}}"
#define POD_OF(volumes) ",'spec':{'template':{'spec':{'volumes':[" volumes "]}}}"

#define TOKEN(account, name)                                                                       \
    THING("v1", "Secret", name, "app",                                                             \
          ",'annotations':{'kubernetes.io/service-account.name':'" account "'}",                   \
          ",'type':'kubernetes.io/service-account-token','data':{'token':'" CANARY "'}")

/* A volume that the target's pods mount is the target's, whoever declares its claim. */
static void test_mounted_claims(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, "[" KS("one", "flux-system", ENTRY("app_web_apps_Deployment")) "," KS(
                 "two", "flux-system", ENTRY("app_other_apps_Deployment") "," ENTRY(
                                           "app_sibling__PersistentVolumeClaim")) ","
             THING("apps/v1", "Deployment", "web", "app", ",'uid':'web'",
                   POD_OF(MOUNTS("hand") "," MOUNTS("sibling") "," MOUNTS("both"))) ","
             THING("apps/v1", "Deployment", "other", "app", ",'uid':'other'",
                   POD_OF(MOUNTS("both") "," MOUNTS("theirs"))) ","
             CLAIM("hand") "," CLAIM("sibling") "," CLAIM("both") "," CLAIM("theirs") "]");
    if (plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", false, &p, &err) < 0)
        fail_msg("%s", err.msg);
    assert_false(p.alone);
    assert_int_equal(p.claim_count, 2);
    assert_string_equal(p.claims[0].name, "hand");
    assert_string_equal(p.claims[1].name, "sibling");
    assert_int_equal(p.problem_count, 1);
    assert_true(says(p.problems, p.problem_count, "claim both is not in this backup"));
    assert_true(says(p.warnings, p.warning_count, "claim theirs is not in this backup"));
    down(&b);
}

/* What an engine reads beside its source, and Git does not hold, is named. */
static void test_references(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b,
         "[{'apiVersion':'kustomize.toolkit.fluxcd.io/v1','kind':'Kustomization','metadata':"
         "{'name':'one','namespace':'flux-system'},'spec':{'sourceRef':{'kind':'GitRepository',"
         "'name':'git'},'decryption':{'provider':'sops','secretRef':{'name':'age'}},'postBuild':"
         "{'substituteFrom':[{'kind':'ConfigMap','name':'cluster'},{'kind':'Secret','name':"
         "'declared'}]}},'status':{'inventory':{'entries':["
         ENTRY("app_conf__ConfigMap") "," ENTRY("flux-system_declared__Secret") "]}}},"
         THING("v1", "ConfigMap", "conf", "app", "", ",'data':{'a':'1'}") "]");
    if (plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", false, &p, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(says(p.warnings, p.warning_count, "Secret flux-system/age"));
    assert_true(says(p.warnings, p.warning_count, "ConfigMap flux-system/cluster"));
    assert_false(says(p.warnings, p.warning_count, "flux-system/declared"));
    down(&b);
}

/* Whose namespace is gone has nothing left to back up, whatever its engine's objects say: such a
 * backup would push the good ones out. A Restore's own safety backup is made all the same. */
static void test_namespace_gone(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, "[" KS("one", "flux-system",
                    ENTRY("app_web_apps_Deployment") "," ENTRY("app_disk__PersistentVolumeClaim"))
             "]");
    assert_int_equal(
        plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", PLAN_RESIDUE, &p, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_non_null(strstr(err.msg, "namespace app, where the content of Kustomization "
                                    "flux-system/one belongs, does not exist"));
    assert_non_null(strstr(err.msg, "restore an earlier backup"));
    assert_int_equal(
        plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", PLAN_SAFETY, &p, &err), 0);
    assert_int_equal(p.problem_count, 0);
    down(&b);
}

/* What the books name and is not there: data make the backup incomplete, other things are told of.
 */
static void test_absent(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, "[" KS("one", "flux-system",
                    ENTRY("app_web_apps_Deployment") "," ENTRY("app_conf__ConfigMap") ","
                    ENTRY("app_gone__ConfigMap") "," ENTRY("app_disk__PersistentVolumeClaim") ","
                    ENTRY("app_db_apps_StatefulSet") "," ENTRY("app_ran_batch_Job") ","
                    ENTRY("app_a__ConfigMap") "," ENTRY("app_b__ConfigMap")) ","
             THING("apps/v1", "Deployment", "web", "app", "", "") ","
             THING("v1", "ConfigMap", "conf", "app", "", "") ","
             THING("v1", "ConfigMap", "a", "app", "", "") ","
             THING("v1", "ConfigMap", "b", "app", "", "") "]");
    if (plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", PLAN_RESIDUE, &p, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(p.problem_count, 2);
    assert_true(says(p.problems, 2, "PersistentVolumeClaim app/disk is in the books"));
    assert_true(says(p.problems, 2, "StatefulSet app/db is in the books"));
    assert_true(says(p.warnings, p.warning_count, "ConfigMap app/gone is in the books"));
    assert_true(says(p.warnings, p.warning_count, "Job app/ran is in the books"));
    assert_false(says(p.warnings, p.warning_count, "app/conf"));
    assert_int_equal(
        plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", PLAN_SAFETY, &p, &err), 0);
    assert_int_equal(p.problem_count, 0);
    assert_true(says(p.warnings, p.warning_count, "PersistentVolumeClaim app/disk is in the"));
    down(&b);
}

/* An application that is half gone makes no complete backup, even without a claim in its books. */
static void test_half_gone(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, "[" KS("one", "flux-system",
                    ENTRY("app_web_apps_Deployment") "," ENTRY("app_conf__ConfigMap")) ","
             THING("v1", "ConfigMap", "conf", "app", "", "") "]");
    if (plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", PLAN_RESIDUE, &p, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(p.problem_count, 1);
    assert_true(says(p.problems, 1, "1 of the 2 objects"));
    down(&b);
}

/* A member of the chain that is gone, or whose books cannot be read, may take volumes with it. */
static void test_broken_chain(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, "[" KS("root", "flux-system",
                    ENTRY("app_conf__ConfigMap") ","
                    ENTRY("flux-system_gone_kustomize.toolkit.fluxcd.io_Kustomization") ","
                    ENTRY("flux-system_mute_kustomize.toolkit.fluxcd.io_Kustomization")) ","
             KS("two", "flux-system", ENTRY("app_other__ConfigMap")) ","
             "{'apiVersion':'kustomize.toolkit.fluxcd.io/v1','kind':'Kustomization','metadata':"
             "{'name':'mute','namespace':'flux-system'},'spec':{}},"
             THING("v1", "ConfigMap", "conf", "app", "", "") ","
             THING("v1", "ConfigMap", "other", "app", "", "") ","
             CLAIM("disk") "]");
    if (plan_make(&b.cx, b.a, "Kustomization", "flux-system", "root", PLAN_RESIDUE, &p, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(says(p.warnings, p.warning_count, "claim disk is not in this backup"));
    assert_int_equal(p.problem_count, 2);
    assert_true(says(p.problems, 2, "books of Kustomization flux-system/mute cannot be read"));
    assert_true(says(p.problems, 2, "Kustomization flux-system/gone is in the books"));
    down(&b);
}

/* Token Secrets that people made are kept, and are whose their account is. */
static void test_account_tokens(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, "[" KS("one", "flux-system", ENTRY("app_ci__ServiceAccount")) ","
             KS("two", "flux-system", ENTRY("app_theirs__ServiceAccount")) ","
             THING("v1", "ServiceAccount", "ci", "app", ",'uid':'ci'",
                   ",'secrets':[{'name':'ci-token-x7kqz'},{'name':'ci-token-by-me'}]") ","
             THING("v1", "ServiceAccount", "theirs", "app", ",'uid':'theirs'", "") ","
             TOKEN("ci", "ci-token-x7kqz") "," TOKEN("ci", "ci-token-by-me") ","
             TOKEN("ci", "pipeline") "," TOKEN("theirs", "of-theirs") "," TOKEN("gone", "alone")
             "]");
    if (plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", PLAN_RESIDUE, &p, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(find(&p, "Secret", "ci-token-x7kqz")->verdict.rule, "account-token");
    assert_string_equal(find(&p, "Secret", "ci-token-by-me")->verdict.rule, "token-by-hand");
    assert_string_equal(find(&p, "Secret", "pipeline")->verdict.rule, "token-by-hand");
    assert_string_equal(find(&p, "Secret", "alone")->verdict.rule, "token-by-hand");
    assert_place(&p, "Secret", "pipeline", true);
    assert_place(&p, "Secret", "alone", false);
    assert_null(find(&p, "Secret", "of-theirs"));
    down(&b);
}

/* Whoever writes an application in a namespace can make its books name what they like. They are
 * believed of their own namespace, and elsewhere of what bears the application's mark. */
#define TENANT                                                                                     \
    KS("greedy", "tenant",                                                                         \
       ENTRY("tenant_conf__ConfigMap") "," ENTRY("victim_db__Secret") "," ENTRY(                   \
           "victim_shop_kustomize.toolkit.fluxcd.io_Kustomization"))                               \
    "," THING("v1", "ConfigMap", "conf", "tenant", "", ",'data':{'a':'1'}")
#define MARK                                                                                       \
    ",'labels':{'kustomize.toolkit.fluxcd.io/name':'greedy','kustomize.toolkit.fluxcd.io/"         \
    "namespace':'tenant'}"
#define VICTIM(mark)                                                                               \
    THING("v1", "Secret", "db", "victim", mark, ",'data':{'a':'" CANARY "'}")                      \
    "," KS("shop", "victim", ENTRY("victim_more__Secret")) ","                                     \
        THING("v1", "Secret", "more", "victim", "", ",'data':{'a':'" CANARY "'}")

static void test_books_reach(void **state)
{
    (void)state;
    for (int marked = 0; marked <= 1; marked++) {
        struct bench b;
        struct plan p;
        struct err err;
        up(&b);
        load(&b, marked ? "[" TENANT "," VICTIM(MARK) "]" : "[" TENANT "," VICTIM("") "]");
        if (plan_make(&b.cx, b.a, "Kustomization", "tenant", "greedy", PLAN_RESIDUE, &p, &err) < 0)
            fail_msg("%s", err.msg);
        assert_string_equal(p.ns, "tenant");
        assert_place(&p, "ConfigMap", "conf", true);
        assert_int_equal(find(&p, "Secret", "db") != NULL, marked);
        assert_int_equal(says(p.problems, p.problem_count, "Secret victim/db is in the books"),
                         !marked);
        /* Its own books never bring in another application's. */
        assert_null(find(&p, "Kustomization", "shop"));
        assert_null(find(&p, "Secret", "more"));
        assert_true(says(p.problems, p.problem_count, "Kustomization victim/shop is in the books"));
        down(&b);
    }
}

/* Nor can they make another's things count as shared, or as their own. */
static void test_books_take_nothing(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, "[" KS("shop", "flux-system",
                    ENTRY("victim_db_apps_StatefulSet") "," ENTRY("victim_conf__ConfigMap")) ","
             KS("greedy", "tenant",
                ENTRY("victim_db_apps_StatefulSet") "," ENTRY("victim_hand__Secret")) ","
             THING("apps/v1", "StatefulSet", "db", "victim", "",
                   ",'spec':{'volumeClaimTemplates':[{'metadata':{'name':'data'}}]}") ","
             THING("v1", "PersistentVolumeClaim", "data-db-0", "victim", "",
                   ",'status':{'phase':'Bound'}") ","
             THING("v1", "ConfigMap", "conf", "victim", "", "") ","
             THING("v1", "Secret", "hand", "victim", "", ",'data':{'a':'" CANARY "'}") "]");
    if (plan_make(&b.cx, b.a, "Kustomization", "flux-system", "shop", PLAN_RESIDUE, &p, &err) < 0)
        fail_msg("%s", err.msg);
    assert_place(&p, "StatefulSet", "db", true);
    assert_int_equal(p.claim_count, 1);
    assert_non_null(find(&p, "Secret", "hand"));
    assert_int_equal(find(&p, "Secret", "hand")->verdict.keep, KEEP_OBJECT);
    down(&b);
}

static void test_nothing(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, "[" KS("empty", "flux-system", "") "]");
    assert_int_equal(
        plan_make(&b.cx, b.a, "Kustomization", "flux-system", "empty", false, &p, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_non_null(strstr(err.msg, "empty"));
    assert_int_equal(plan_make(&b.cx, b.a, "Kustomization", "flux-system", "none", false, &p, &err),
                     -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_int_equal(plan_make(&b.cx, b.a, "Deployment", "app", "web", false, &p, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    down(&b);
}

/* What may not be listed is named, not forgotten. */
static void test_forbidden(void **state)
{
    (void)state;
    struct bench b;
    struct plan p;
    struct err err;
    up(&b);
    load(&b, shared);
    fake_post(b.fake, "faults",
              "{\"match\":{\"method\":\"GET\",\"path\":\"/namespaces/app/secrets\"},\"times\":0,"
              "\"do\":\"status\",\"code\":403}");
    assert_int_equal(plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", false, &p, &err),
                     0);
    assert_true(says(p.problems, p.problem_count, "secrets in namespace app"));
    fake_clear_faults(b.fake);
    fake_post(b.fake, "faults",
              "{\"match\":{\"method\":\"GET\",\"path\":\"/namespaces/app/secrets\"},\"times\":0,"
              "\"do\":\"status\",\"code\":500}");
    assert_int_equal(plan_make(&b.cx, b.a, "Kustomization", "flux-system", "one", false, &p, &err),
                     -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shared_namespace),
        cmocka_unit_test(test_remote_of_this_cluster),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_mounted_claims),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_account_tokens),
        cmocka_unit_test(test_namespace_gone),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_half_gone),
        cmocka_unit_test(test_broken_chain),
        cmocka_unit_test(test_books_reach), cmocka_unit_test(test_books_take_nothing), cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_forbidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
