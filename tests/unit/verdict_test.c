/* Verdicts: the corpus, the residue's stored form, the catalogue, and what a plan may say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kube/types.h"
#include "reconciler/judge.h"
#include "reconciler/inside.h"
#include "reconciler/proof.h"
#include "reconciler/rules.h"
#include "reconciler/snapshot_layout.h"

#include "verdict_corpus.h"

#include <stdio.h>

static struct kube_object object_of(struct arena *a, const char *json)
{
    struct kube_object o;
    struct err err;
    if (kube_object_read(a, str_of(json), &o, &err) < 0)
        o = (struct kube_object){.raw = str_of(json),
                                 .api_version = "v1",
                                 .kind = "ConfigMap",
                                 .ns = "shop",
                                 .name = "c",
                                 .uid = "u",
                                 .resource_version = ""};
    return o;
}

static void judge_sample(struct arena *a, const struct sample *s, struct verdict *ret)
{
    static struct declaration d;
    struct kube_type type = {s->group, "v1", "things", s->kind, true, 0};
    struct kube_object o = object_of(a, s->json);
    struct book_entry book = {.group = s->group,
                              .version = "",
                              .kind = s->kind,
                              .ns = "shop",
                              .name = o.name,
                              .seed = s->seed,
                              .manifest = str_of(s->manifest)};
    struct facts f = {.object = &o,
                      .type = &type,
                      .is_application = s->application,
                      .credential = s->credential,
                      .issued = s->issued,
                      .owner = s->owner,
                      .owner_text = "Foo bar"};
    d = (struct declaration){
        .engine = "x", .source = "", .revision = "", .reachable = s->reachable, .why = "because"};
    if (s->booked != FREE) {
        f.book = &book;
        f.declared = &d;
        f.application = "HelmRelease shop/shop";
        f.engine = s->booked >= BY_ARGO ? &engine_argocd : &engine_flux;
        f.chart = s->booked == BY_CHART || s->booked == BY_ARGO_CHART;
    }
    verdict_judge(a, &f, ret);
}

static const char *joined(struct arena *a, const struct verdict *v)
{
    const char *text = "";
    for (size_t i = 0; i < v->field_count; i++)
        text = arena_printf(a, "%s%s%s", text, i ? " " : "", v->fields[i]);
    return text;
}

static void test_corpus(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        const struct sample *s = &samples[i];
        struct verdict v;
        judge_sample(a, s, &v);
        print_message("%-28s %s\n", v.rule, s->why);
        assert_string_equal(v.rule, s->rule);
        assert_string_equal(verdict_class_name(v.class), verdict_class_name(s->class));
        assert_string_equal(verdict_keep_name(v.keep), verdict_keep_name(s->keep));
        assert_string_equal(verdict_restore_name(v.restore), verdict_restore_name(s->restore));
        assert_string_equal(joined(a, &v), s->fields ? s->fields : "");
        assert_true(v.reason && *v.reason);
    }
}

/* A safety backup keeps all that is core and an object, whatever else would bring it back. */
static void test_keep_all(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_object o = object_of(a, OBJECT("v1", "Pod", "p", "", ""));
    struct facts f = {.object = &o,
                      .type = &KUBE_POD,
                      .owner = OWNER_REGENERATES,
                      .owner_text = "x",
                      .keep_all = true,
                      .core = true};
    struct verdict v;
    verdict_judge(a, &f, &v);
    assert_int_equal(v.class, VERDICT_DERIVED);
    assert_int_equal(v.keep, KEEP_OBJECT);
    f.core = false;
    verdict_judge(a, &f, &v);
    assert_int_equal(v.keep, KEEP_NONE);
}

static void test_too_many_fields(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct buf json CLEANUP(buf_free) = {0};
    buf_puts(
        &json,
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},\"data\":{");
    for (int i = 0; i <= VERDICT_FIELDS_MAX; i++)
        buf_printf(&json, "%s\"k%d\":\"v\"", i ? "," : "", i);
    buf_puts(&json, "}}");
    struct sample s = {.group = "",
                       .kind = "ConfigMap",
                       .json = json.p,
                       .booked = BY_CHART,
                       .manifest = "{}",
                       .reachable = REACHABLE_TRUE};
    struct verdict v;
    judge_sample(a, &s, &v);
    assert_string_equal(v.rule, "many-fields");
    assert_int_equal(v.keep, KEEP_OBJECT);
    assert_int_equal(v.field_count, 0);
}

static void test_residue_text(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_object o = object_of(
        a, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\",\"namespace\":"
           "\"shop\","
           "\"uid\":\"u\",\"labels\":{\"l\":\"1\"},\"annotations\":{\"a/b\":\"x\",\"c\":\"y\"},"
           "\"managedFields\":[{\"manager\":\"m\"}]},\"data\":{\"a\":\"YQ==\",\"added\":\"Y\\u0067="
           "=\"},"
           "\"type\":\"Opaque\"}");
    const char *const fields[] = {"data/added", "metadata/annotations/a/b"};
    str text;
    struct err err;
    assert_int_equal(residue_text(a, &o, fields, 2, &text, &err), 0);
    assert_string_equal(
        text.p, "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\","
                "\"namespace\":\"shop\",\"uid\":\"u\",\"managedFields\":[{\"manager\":\"m\"}],"
                "\"annotations\":{\"a/b\":\"x\"}},\"data\":{\"added\":\"Y\\u0067==\"}}");
    const char *const absent[] = {"data/nope"};
    assert_int_equal(residue_text(a, &o, absent, 1, &text, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
}

/* Ids are documented and name one rule; a rule that keeps nothing of a class that people need would
 * be a hole. */
static void test_catalogue(void **state)
{
    (void)state;
    const struct catalogue *c = catalogue_builtin();
    assert_true(catalogue_count(c) > 30);
    for (size_t i = 0; i < catalogue_count(c); i++) {
        const struct rule *r = catalogue_at(c, i);
        for (const char *p = r->id; *p; p++)
            assert_true((*p >= 'a' && *p <= 'z') || *p == '-');
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(r->id, catalogue_at(c, j)->id);
        if (r->class == VERDICT_BOOTSTRAP || r->class == VERDICT_DATA)
            assert_int_equal(r->keep, KEEP_OBJECT);
        assert_int_not_equal(r->keep, KEEP_FIELDS);
    }
}

static void test_catalogue_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *says;
    } rows[] = {
        {"rules: [{class: data, reason: x, match: {kind: A}}]", "without id"},
        {"rules: [{id: a, class: nope, reason: x, match: {kind: A}}]", "class"},
        {"rules: [{id: a, class: data, match: {kind: A}}]", "reason"},
        {"rules: [{id: a, class: data, reason: x, match: {colour: A}}]", "colour"},
        {"rules: [{id: a, class: data, reason: x}]", "no match"},
        {"rules: [{id: a, class: data, reason: x, keep: some, match: {kind: A}}]", "keep"},
        {"rules: [", "line"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        const struct catalogue *c;
        struct err err;
        assert_int_equal(catalogue_parse(a, str_of(rows[i].yaml), &c, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
        assert_non_null(strstr(err.msg, rows[i].says));
    }
}

static void test_paths(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    const char *r, *g, *ns, *n;
    assert_string_equal(
        snapshot_object_path(a, SNAPSHOT_RESOURCES, &KUBE_STATEFULSET, "shop", "db"),
        "resources/statefulsets.apps/namespaces/shop/db.json");
    assert_string_equal(snapshot_object_path(a, SNAPSHOT_RESIDUE, &KUBE_NAMESPACE, "", "shop"),
                        "residue/namespaces/cluster/shop.json");
    assert_true(snapshot_parse_path(a, STR("widgets.a.example.dev/namespaces/shop/x.y.json"), &r,
                                    &g, &ns, &n));
    assert_string_equal(r, "widgets");
    assert_string_equal(g, "a.example.dev");
    assert_string_equal(ns, "shop");
    assert_string_equal(n, "x.y");
    assert_true(snapshot_parse_path(a, STR("namespaces/cluster/shop.json"), &r, &g, &ns, &n));
    assert_string_equal(ns, "");
    assert_string_equal(g, "");
    static const char *const bad[] = {"",
                                      "secrets",
                                      "secrets/namespaces/shop.json",
                                      "secrets/namespaces/../x.json",
                                      "secrets/namespaces/shop/a/b.json",
                                      "secrets/namespaces/shop/x",
                                      "secrets/namespaces/shop/.json",
                                      "secrets/elsewhere/shop/x.json",
                                      ".apps/namespaces/shop/x.json",
                                      "secrets/namespaces//x.json"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(snapshot_parse_path(a, str_of(bad[i]), &r, &g, &ns, &n));
}

static void test_remotes(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *shown;
        bool inside;
    } rows[] = {
        {"https://user:pw@Git.Example.com:8443/a.git", "git.example.com",
         "https://Git.Example.com:8443/a.git", false},
        {"http://gitea.git.svc.cluster.local./a", "gitea.git.svc.cluster.local.",
         "http://gitea.git.svc.cluster.local./a", true},
        {"http://gitea.git.svc/a", "gitea.git.svc", "http://gitea.git.svc/a", true},
        {"http://gitea/a", "gitea", "http://gitea/a", true},
        {"http://10.99.0.1:3080/a.git", "10.99.0.1", "http://10.99.0.1:3080/a.git", false},
        {"ssh://git@[fd00::1]:22/a", "fd00::1", "ssh://[fd00::1]:22/a", false},
        {"git@github.com:org/repo.git", "github.com", "git@github.com:org/repo.git", false},
        {"file:///srv/a.git", "", "file:///srv/a.git", true},
        {"/srv/a.git", "", "/srv/a.git", true},
        {"https://t@ken@evil.example/a@b", "evil.example", "https://evil.example/a@b", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        assert_string_equal(proof_host(a, rows[i].url), rows[i].host);
        assert_string_equal(proof_public_url(a, rows[i].url), rows[i].shown);
        assert_int_equal(inside_name(rows[i].host), rows[i].inside);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_corpus),          cmocka_unit_test(test_keep_all),
        cmocka_unit_test(test_too_many_fields), cmocka_unit_test(test_residue_text),
        cmocka_unit_test(test_catalogue),       cmocka_unit_test(test_catalogue_refuses),
        cmocka_unit_test(test_paths),           cmocka_unit_test(test_remotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
