/* gitops: the texts that it reads. Inventory ids, YAML by the rules of sigs.k8s.io/yaml, Helm
 * releases, managedFields, markers, the frames of a worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <zlib.h>

#include "core/codec.h"
#include "core/json.h"
#include "core/jsonedit.h"
#include "gitops/evidence.h"
#include "gitops/frame.h"
#include "gitops/helm.h"
#include "gitops/inventory.h"
#include "gitops/marker.h"
#include "gitops/source.h"
#include "gitops/yaml.h"

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

static void test_inventory(void **state)
{
    (void)state;
    static const struct {
        const char *id, *ns, *name, *group, *kind; /* kind NULL: refused */
    } rows[] = {
        {"shop_db_apps_StatefulSet", "shop", "db", "apps", "StatefulSet"},
        {"_shop__Namespace", "", "shop", "", "Namespace"},
        {"shop_cfg__ConfigMap", "shop", "cfg", "", "ConfigMap"},
        {"_system__auth_rbac.authorization.k8s.io_ClusterRole", "", "system:auth",
         "rbac.authorization.k8s.io", "ClusterRole"},
        {"shop_a.b-c_x.io_K", "shop", "a.b-c", "x.io", "K"},
        {"", NULL, NULL, NULL, NULL},
        {"shop", NULL, NULL, NULL, NULL},
        {"a_b_c", NULL, NULL, NULL, NULL},
        {"a_b_c_", NULL, NULL, NULL, NULL},
        {"a_b_c_d_e", NULL, NULL, NULL, NULL},
        {"a__c_d", NULL, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct inventory_id id;
        bool good = inventory_parse(a, str_of(rows[i].id), &id);
        if (good != (rows[i].kind != NULL))
            fail_msg("%s: %d", rows[i].id, good);
        if (!good)
            continue;
        assert_string_equal(id.ns, rows[i].ns);
        assert_string_equal(id.name, rows[i].name);
        assert_string_equal(id.group, rows[i].group);
        assert_string_equal(id.kind, rows[i].kind);
    }
}

static int collect(void *ctx, str json, struct err *err)
{
    struct buf *out = ctx;
    assert_int_equal(raw_check(json, err), 0);
    buf_str(out, json);
    buf_putc(out, ';');
    return 0;
}

static void yaml_is(const char *yaml, const char *json)
{
    struct buf out CLEANUP(buf_free) = {0};
    struct err err;
    size_t budget = 1 << 20;
    int r = yaml_each(str_of(yaml), &budget, collect, &out, &err);
    if (!json && r == 0)
        fail_msg("accepted: %s -> %s", yaml, out.p);
    if (!json)
        return;
    if (r < 0)
        fail_msg("%s: %s", yaml, err.msg);
    if (!streq(out.p ? out.p : "", json))
        fail_msg("%s\n got  %s\n want %s", yaml, out.p, json);
}

/* What sigs.k8s.io/yaml v1.6 YAMLToJSON answers, keys in the order of the text. */
static void test_yaml_scalars(void **state)
{
    (void)state;
    yaml_is("[yes, No, on, OFF, y, n, true, False, ~, null, Null, '', \"yes\"]",
            "[true,false,true,false,true,false,true,false,null,null,null,\"\",\"yes\"];");
    yaml_is("[yEs, 'null', !!str yes, !!str 12, ! 12]",
            "[\"yEs\",\"null\",\"yes\",\"12\",\"12\"];");
    yaml_is("[1, -1, +1, 0, 0777, 0o17, 0x1F, 0b101, 1_000, 08, -0x10]",
            "[1,-1,1,0,511,15,31,5,1000,8,-16];");
    yaml_is(
        "[9223372036854775807, 9223372036854775808, 18446744073709551616, -9223372036854775808]",
        "[9223372036854775807,9223372036854775808,18446744073709552000,-9223372036854775808];");
    yaml_is("[1.0, 1.5, .5, 1e3, 1E400, 1., 1e-7, 1.25e+21, -0.0, 0.1]",
            "[1,1.5,0.5,1000,\"1E400\",1,1e-7,1.25e+21,-0,0.1];");
    yaml_is("[1.2.3, 1e, +, -, ., 1-2, 2001-01-01, 12:30:45, 0x, 1__]",
            "[\"1.2.3\",\"1e\",\"+\",\"-\",\".\",\"1-2\",\"2001-01-01\",\"12:30:45\",\"0x\",1];");
    yaml_is("[!!int '5', !!float 5, !!bool yes]", "[5,5,true];");
    yaml_is(
        "[0.000001, 0.0000001, 123456789012345678901, 1e20, 100000000000000000000.5, -2.5]",
        "[0.000001,1e-7,123456789012345680000,100000000000000000000,100000000000000000000,-2.5];");
    yaml_is("[-0b11, 0x_1, _1, 0_7, !!float 18446744073709551615]", NULL);
    yaml_is("[-0b11, +0b1, 0x_1, _1, 0_7]", "[-3,1,1,\"_1\",7];");
    yaml_is("!!binary aGk=", "\"hi\";");
    yaml_is("[.nan]", NULL);
    yaml_is("[-.inf]", NULL);
    yaml_is("[!!int abc]", NULL);
    yaml_is("|\n  a\n  b\n", "\"a\\nb\\n\";");
    yaml_is(">-\n  a\n  b\n", "\"a b\";");
}

static void test_yaml_structure(void **state)
{
    (void)state;
    yaml_is("", "");
    yaml_is("---\n---\n# nothing\n---\na: 1\n---\nb: 2\n...\n", "{\"a\":1};{\"b\":2};");
    yaml_is("1: a\ntrue: b\n1.5: c\n", "{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\"};");
    yaml_is("a: 1\na: 2\n", "{\"a\":2};");
    yaml_is("null: 1", NULL);
    yaml_is("[1]: 1", NULL);
    yaml_is("x: &x {a: 1, b: 2}\nz:\n  <<: *x\n  b: 3\n",
            "{\"x\":{\"a\":1,\"b\":2},\"z\":{\"a\":1,\"b\":3}};");
    yaml_is("x: &x {a: 1, b: 2}\nz:\n  b: 3\n  <<: *x\n",
            "{\"x\":{\"a\":1,\"b\":2},\"z\":{\"b\":2,\"a\":1}};");
    yaml_is("y: 1", "{\"true\":1};");
    yaml_is("p: &p {a: 1}\nq: &q {a: 2}\nz: {<<: [*p, *q]}\n",
            "{\"p\":{\"a\":1},\"q\":{\"a\":2},\"z\":{\"a\":1}};");
    /* Two merges at each of 40 levels. */
    struct buf bomb CLEANUP(buf_free) = {0};
    buf_puts(&bomb, "a0: &a0 {x: 1}\n");
    for (int i = 1; i <= 40; i++)
        buf_printf(&bomb, "a%d: &a%d {<<: [*a%d, *a%d]}\n", i, i, i - 1, i - 1);
    yaml_is(bomb.p, NULL);
    yaml_is("a: &x [1]\nb: [*x, *x]\n", "{\"a\":[1],\"b\":[[1],[1]]};");
    yaml_is("a: *missing", NULL);
    yaml_is("a: &x [*x]", NULL);
    yaml_is("a: [", NULL);
    yaml_is("a: b: c", NULL);
    yaml_is("<<: 1", NULL);
    yaml_is("'<<': 1", "{\"<<\":1};");
}

static void test_yaml_bombs(void **state)
{
    (void)state;
    struct err err;
    struct buf deep CLEANUP(buf_free) = {0}, laughs CLEANUP(buf_free) = {0};
    struct buf out CLEANUP(buf_free) = {0};
    size_t budget = 1 << 20;
    for (int i = 0; i < 500; i++)
        buf_putc(&deep, '[');
    assert_int_equal(yaml_each(buf_view(&deep), &budget, collect, &out, &err), -1);
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    buf_puts(&laughs, "a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n");
    for (int i = 1; i < 12; i++) {
        buf_printf(&laughs, "a%d: &a%d [", i, i);
        for (int j = 0; j < 9; j++)
            buf_printf(&laughs, "%s*a%d", j ? "," : "", i - 1);
        buf_puts(&laughs, "]\n");
    }
    assert_int_equal(yaml_each(buf_view(&laughs), &budget, collect, &out, &err), -1);
    assert_int_equal(err.kind, ERR_TOO_LARGE);
}

/* base64(base64(gzip(json))), as the API shows data.release. */
static char *release_text(const char *json, bool zip)
{
    struct buf packed CLEANUP(buf_free) = {0}, inner CLEANUP(buf_free) = {0}, outer = {0};
    if (zip) {
        unsigned char out[16 << 10];
        z_stream z = {.next_in = (Bytef *)(uintptr_t)json,
                      .avail_in = (uInt)strlen(json),
                      .next_out = out,
                      .avail_out = sizeof out};
        assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
                         Z_OK);
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        buf_add(&packed, out, z.total_out);
        deflateEnd(&z);
    } else {
        buf_puts(&packed, json);
    }
    base64_encode(&inner, packed.p, packed.n);
    base64_encode(&outer, inner.p, inner.n);
    return buf_take(&outer);
}

static const char release_json[] =
    "{\"name\":\"shop\",\"namespace\":\"shop\",\"version\":3,"
    "\"manifest\":\"---\\n# Source: x\\napiVersion: v1\\nkind: Secret\\nmetadata:\\n  name: s\\n"
    "stringData:\\n  on: 'yes'\\n---\\napiVersion: v1\\nkind: List\\nitems:\\n"
    "- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\\n\","
    "\"hooks\":[{\"name\":\"h\",\"manifest\":\"apiVersion: batch/v1\\nkind: Job\\nmetadata:\\n"
    "  name: h\\n\"}],"
    "\"chart\":{\"files\":[{\"name\":\"README.md\",\"data\":\"eA==\"},"
    "{\"name\":\"crds/a.yaml\",\"data\":\"a2luZDogWAo=\"}]}}";

static void test_helm_decode(void **state)
{
    (void)state;
    for (int zip = 0; zip < 2; zip++) {
        struct err err;
        struct buf out CLEANUP(buf_free) = {0}, seen CLEANUP(buf_free) = {0};
        char *text CLEANUP(free_p) = release_text(release_json, zip);
        assert_int_equal(helm_decode(str_of(text), &out, &err), 0);
        frame_add(&out, FRAME_END, (str){0});
        str rest = buf_view(&out), payload;
        char type;
        while (frame_next(&rest, &type, &payload, &err) > 0)
            buf_printf(&seen, "%c %.*s\n", type, STR_FMT(payload));
        assert_string_equal(
            seen.p,
            "I {\"name\":\"shop\",\"namespace\":\"shop\",\"version\":3}\n"
            "O {\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\"},"
            "\"stringData\":{\"true\":\"yes\"}}\n"
            "O {\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"}}\n"
            "H {\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"h\"}}\n"
            "C {\"kind\":\"X\"}\n");
    }
}

static void test_helm_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "{\"manifest\":1}",
                                      "{\"manifest\":\"[1]\"}",
                                      "{\"manifest\":\"a: [\"}",
                                      "not json",
                                      "{\"manifest\":\"\",\"hooks\":[{\"manifest\":\"x\"}]}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err;
        struct buf out CLEANUP(buf_free) = {0};
        char *text CLEANUP(free_p) = release_text(bad[i], true);
        if (helm_decode(str_of(text), &out, &err) == 0)
            fail_msg("accepted: %s", bad[i]);
    }
    struct err err;
    struct buf out CLEANUP(buf_free) = {0};
    assert_int_equal(helm_decode(STR("***"), &out, &err), -1);
    assert_int_equal(helm_decode(STR("SDRzSQ=="), &out, &err), -1); /* gzip head, cut */
}

static void test_helm_names(void **state)
{
    (void)state;
    assert_string_equal(helm_release_name(a, "r", "t", "n"), "r");
    assert_string_equal(helm_release_name(a, "", "t", "n"), "t-n");
    assert_string_equal(helm_release_name(a, NULL, NULL, "n"), "n");
    const char *longest = "a123456789b123456789c123456789d123456789e123456789f12";
    assert_string_equal(helm_release_name(a, NULL, NULL, longest), longest);
    const char *cut = helm_release_name(a, NULL, "x", longest);
    assert_int_equal(strlen(cut), 53);
    assert_int_equal(strncmp(cut, "x-a123456789b123456789c123456789d1234567-", 41), 0);
}

static void test_frames(void **state)
{
    (void)state;
    struct err err;
    struct buf b CLEANUP(buf_free) = {0};
    frame_add(&b, 'O', STR("one"));
    frame_add(&b, FRAME_END, (str){0});
    assert_int_equal(worker_check_answer(buf_view(&b), &err), 0);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(worker_check_answer((str){b.p, n}, &err), -1);
    buf_putc(&b, 'x');
    assert_int_equal(worker_check_answer(buf_view(&b), &err), -1);
    buf_reset(&b);
    frame_add(&b, FRAME_ERROR, STR("bad\n\x1b[31mthing"));
    frame_add(&b, FRAME_END, (str){0});
    assert_int_equal(worker_check_answer(buf_view(&b), &err), -1);
    assert_string_equal(err.msg, "bad??[31mthing");
    buf_reset(&b);
    buf_add(&b, "O\xff\xff\xff\xffx", 6);
    assert_int_equal(worker_check_answer(buf_view(&b), &err), -1);
}

static struct kube_object object(const char *text)
{
    struct kube_object o;
    struct err err;
    if (kube_object_read(a, str_of(text), &o, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return o;
}

static void test_marker(void **state)
{
    (void)state;
    struct hold h = {"ns/re\"store", "u-1", "t", "held", STR("[\"x\"]"), STR("{\"enabled\":null}")};
    struct hold got;
    struct buf b CLEANUP(buf_free) = {0};
    buf_puts(&b, "{\"apiVersion\":\"v1\",\"kind\":\"X\",\"metadata\":{\"name\":\"n\","
                 "\"annotations\":{\"" MARKER_ANNOTATION "\":");
    raw_add_string(&b, str_of(marker_text(a, &h)));
    buf_puts(&b, "}}}");
    struct kube_object o = object(b.p);
    assert_true(hold_read(a, &o, &got));
    assert_string_equal(got.restore, h.restore);
    assert_string_equal(got.uid, "u-1");
    assert_string_equal(got.token, "t");
    assert_string_equal(got.state, "held");
    assert_true(str_eq(got.added, h.added));
    assert_true(str_eq(got.before, h.before));

    o = object("{\"kind\":\"X\",\"metadata\":{\"name\":\"n\",\"annotations\":{\"a\":\"b\"}}}");
    assert_false(hold_read(a, &o, &got));
    static const char *const broken[] = {"", "{}", "[]", "{\\\"restore\\\":1}",
                                         ("{\\\"restore\\\":\\\"a\\\",\\\"uid\\\":\\\"b\\\","
                                          "\\\"token\\\":\\\"c\\\",\\\"state\\\":\\\"other\\\"}")};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        o = object(arena_printf(
            a,
            "{\"kind\":\"X\",\"metadata\":{\"name\":\"n\",\"annotations\":{\"" MARKER_ANNOTATION
            "\":\"%s\"}}}",
            broken[i]));
        assert_true(hold_read(a, &o, &got));
        assert_string_equal(got.state, "broken");
    }
}

static int add_owner(void *ctx, const struct owner *w, struct err *err)
{
    (void)err;
    buf_printf(ctx, "%s/%s/%s ", w->manager, w->operation, w->subresource);
    return 0;
}

static const char managed[] =
    "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\",\"namespace\":\"n\","
    "\"managedFields\":["
    "{\"manager\":\"kustomize-controller\",\"operation\":\"Apply\",\"fieldsV1\":{\"f:data\":{\".\":"
    "{},"
    "\"f:a.b\":{}},\"f:metadata\":{\"f:labels\":{}}}},"
    "{\"manager\":\"kubectl-edit\",\"operation\":\"Update\",\"fieldsV1\":{\"f:data\":{\"f:added\":{"
    "}}}},"
    "{\"manager\":\"x\",\"operation\":\"Update\",\"subresource\":\"status\",\"fieldsV1\":"
    "{\"f:status\":{}}},{\"manager\":\"broken\"}]}}";

static void test_evidence(void **state)
{
    (void)state;
    struct err err;
    struct kube_object o = object(managed);
    struct buf b CLEANUP(buf_free) = {0};
    assert_int_equal(evidence_owners(a, &o, JSON_PATH("data", "added"), add_owner, &b, &err), 0);
    assert_string_equal(b.p, "kubectl-edit/Update/ ");
    buf_reset(&b);
    assert_int_equal(evidence_owners(a, &o, JSON_PATH("data"), add_owner, &b, &err), 0);
    assert_string_equal(b.p, "kustomize-controller/Apply/ kubectl-edit/Update/ ");
    assert_true(evidence_declared(a, &engine_flux, &o, JSON_PATH("data", "a.b")));
    assert_false(evidence_declared(a, &engine_flux, &o, JSON_PATH("data", "added")));
    assert_false(evidence_declared(a, &engine_flux, &o, JSON_PATH("data", "none")));
    assert_true(evidence_applied(a, &engine_flux, &o));
    assert_false(evidence_applied(a, &engine_argocd, &o));

    /* A controller's finalizer on its own object is no declaration. */
    o = object(
        "{\"kind\":\"HelmRelease\",\"metadata\":{\"name\":\"r\",\"managedFields\":[{\"manager\":"
        "\"helm-controller\",\"operation\":\"Update\",\"fieldsV1\":{\"f:metadata\":{"
        "\"f:finalizers\":{}}}}]}}");
    assert_false(evidence_applied(a, &engine_flux, &o));
}

static void test_evidence_client_side(void **state)
{
    (void)state;
    static const char form[] =
        "{\"kind\":\"Secret\",\"metadata\":{\"name\":\"s\",\"namespace\":\"n\",\"annotations\":{"
        "\"kubectl.kubernetes.io/last-applied-configuration\":\"{\\\"kind\\\":\\\"Secret\\\","
        "\\\"metadata\\\":{\\\"name\\\":\\\"%s\\\"},\\\"stringData\\\":{\\\"k\\\":\\\"v\\\"}}\"},"
        "\"managedFields\":[{\"manager\":\"argocd-controller\",\"operation\":\"Update\","
        "\"fieldsV1\":{"
        "\"f:data\":{\"f:other\":{}}}},{\"manager\":\"op\",\"operation\":\"Update\",\"fieldsV1\":{"
        "\"f:data\":{\"f:k\":{}}}}]}}";
    struct kube_object self = object(arena_printf(a, form, "s"));
    struct kube_object copied = object(arena_printf(a, form, "another"));
    assert_true(evidence_applied(a, &engine_argocd, &self));
    assert_true(evidence_declared(a, &engine_argocd, &self, JSON_PATH("data", "k")));
    assert_false(evidence_declared(a, &engine_argocd, &self, JSON_PATH("data", "z")));
    assert_false(evidence_applied(a, &engine_argocd, &copied));
    assert_false(evidence_declared(a, &engine_argocd, &copied, JSON_PATH("data", "other")));
}

static void test_revisions(void **state)
{
    (void)state;
#define SHA "0123456789abcdef0123456789abcdef01234567"
    assert_string_equal(revision_commit(a, "main@sha1:" SHA), SHA);
    assert_string_equal(revision_commit(a, "sha1:" SHA), SHA);
    assert_string_equal(revision_commit(a, "refs/pull/1@2/head@sha1:" SHA), SHA);
    assert_string_equal(revision_commit(a, "main@sha256:" SHA SHA "01234567"), "");
    assert_string_equal(revision_commit(a, "1.2.3+abcdef"), "");
    assert_string_equal(revision_commit(a, "main@sha1:" SHA "0"), "");
    assert_string_equal(revision_commit(a, ""), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inventory),
        cmocka_unit_test(test_yaml_scalars),
        cmocka_unit_test(test_yaml_structure),
        cmocka_unit_test(test_yaml_bombs),
        cmocka_unit_test(test_helm_decode),
        cmocka_unit_test(test_helm_refuses),
        cmocka_unit_test(test_helm_names),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_marker),
        cmocka_unit_test(test_evidence),
        cmocka_unit_test(test_evidence_client_side),
        cmocka_unit_test(test_revisions),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
