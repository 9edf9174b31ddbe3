/* kube: objects, types, paths, the splitter, watch lines, discovery, answers that are errors.
 * Nothing here needs a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "kube/discovery.h"
#include "kube/lines.h"
#include "kube/private.h"
#include "kube/secret.h"
#include "kube/splitter.h"

static void test_object_identity(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct kube_object o;
    struct err err;
    str text =
        STR("{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"namespace\":\"n\","
            "\"name\":\"a\\u0062c\",\"uid\":\"u-1\",\"resourceVersion\":\"007\",\"labels\":"
            "{\"k\":\"v\"},\"annotations\":{\"x.y/z\":\"1\"},\"ownerReferences\":[{\"kind\":"
            "\"A\",\"name\":\"o\",\"uid\":\"q\",\"apiVersion\":\"g/v1\",\"controller\":true},"
            "{\"kind\":\"B\",\"name\":\"p\"}]},\"data\":{\"name\":1e2}}");
    assert_int_equal(kube_object_read(a, text, &o, &err), 0);
    assert_string_equal(o.name, "abc");
    assert_string_equal(o.ns, "n");
    assert_string_equal(o.uid, "u-1");
    assert_string_equal(o.resource_version, "007");
    assert_ptr_equal(o.raw.p, text.p);
    assert_string_equal(kube_label(a, &o, "k"), "v");
    assert_string_equal(kube_annotation(a, &o, "x.y/z"), "1");
    assert_null(kube_annotation(a, &o, "k"));
    assert_true(kube_object_is(&o, "", "Secret"));
    assert_false(kube_object_is(&o, "v1", "Secret"));
    struct raw_iter it = kube_owners(&o);
    struct kube_owner w;
    assert_true(kube_owner_next(a, &it, &w));
    assert_string_equal(w.uid, "q");
    assert_true(w.controller);
    assert_true(kube_owner_next(a, &it, &w));
    assert_string_equal(w.uid, "");
    assert_false(w.controller);
    assert_false(kube_owner_next(a, &it, &w));
    arena_free(a);
}

static void test_object_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "empty"},
        {"[]", "an array"},
        {"{\"metadata\":{\"name\":\"x\"}}", "no kind"},
        {"{\"kind\":\"A\",\"metadata\":{}}", "no name"},
        {"{\"kind\":\"A\",\"metadata\":{\"name\":\"x\"}", "cut"},
        {"{\"kind\":\"A\",\"metadata\":{\"name\":\"x\"},\"b\":tru}", "a broken value elsewhere"},
        {"{\"kind\":3,\"metadata\":{\"name\":\"x\"}}", "kind is a number"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct arena *a = arena_new();
        struct kube_object o;
        struct err err = {0};
        if (kube_object_read(a, str_of(bad[i].text), &o, &err) == 0 || err.kind != ERR_CORRUPT)
            fail_msg("%s", bad[i].why);
        arena_free(a);
    }
}

static void test_complete(void **state)
{
    (void)state;
    static const struct {
        const char *item, *want;
    } rows[] = {
        {"{\"metadata\":{\"name\":\"a\"}}",
         "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"a\"}}"},
        {"{\"kind\":\"X\", \"a\":1}", "{\"apiVersion\":\"apps/v1\",\"kind\":\"X\", \"a\":1}"},
        {"{ \"apiVersion\":\"q\" }", "{\"kind\":\"Deployment\", \"apiVersion\":\"q\" }"},
        {"{}", "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\"}"},
        {"{\"kind\":\"X\",\"apiVersion\":\"q\"}", "{\"kind\":\"X\",\"apiVersion\":\"q\"}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *a = arena_new();
        str got = object_complete(a, &KUBE_DEPLOYMENT, str_of(rows[i].item));
        assert_string_equal(got.p, rows[i].want);
        arena_free(a);
    }
}

static void test_types_and_paths(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    assert_ptr_equal(kube_type_by_kind("HelmRelease"), &KUBE_HELMRELEASE);
    assert_null(kube_type_by_kind("Nothing"));
    assert_string_equal(kube_path(a, &KUBE_SECRET, "a b", "x/../y", NULL),
                        "/api/v1/namespaces/a%20b/secrets/x%2F..%2Fy");
    assert_string_equal(kube_path(a, &KUBE_STATEFULSET, "n", "s", "scale"),
                        "/apis/apps/v1/namespaces/n/statefulsets/s/scale");
    assert_string_equal(kube_path(a, &KUBE_NAMESPACE, "ignored", "n", NULL),
                        "/api/v1/namespaces/n");
    assert_string_equal(kube_path(a, &KUBE_POD, NULL, NULL, NULL), "/api/v1/pods");
    assert_string_equal(kube_api_version(a, &KUBE_POD), "v1");
    assert_true(str_is(kube_group_of("apps/v1"), "apps"));
    assert_true(str_is(kube_group_of("v1"), ""));
    arena_free(a);
}

/* ---- the splitter ---- */

static int keep_item(void *ctx, str item, struct err *err)
{
    struct buf *b = ctx;
    (void)err;
    buf_str(b, item);
    buf_putc(b, '\n');
    return 0;
}

/* Fed in pieces of `step` bytes. */
static int split(const char *text, size_t step, struct buf *items, char **ret_metadata,
                 struct err *err)
{
    struct kube_splitter *s = kube_splitter_new(keep_item, items);
    size_t n = strlen(text);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i += step) {
        char *piece = xmalloc(MIN(step, n - i)); /* so that an overrun is seen */
        memcpy(piece, text + i, MIN(step, n - i));
        r = kube_splitter_feed(s, piece, MIN(step, n - i), err);
        free(piece);
    }
    if (r == 0)
        r = kube_splitter_end(s, err);
    if (r == 0)
        *ret_metadata = str_dup(kube_splitter_member(s, "metadata"));
    kube_splitter_free(s);
    return r;
}

static void test_splitter_any_cut(void **state)
{
    (void)state;
    const char *text =
        " {\"kind\" : \"PodList\",\"x\":[1,{\"items\":[2]}],\"metadata\":{\"a\":\"]}\"}"
        ",\"items\": [ {\"a\":\"}\\\"{\"} ,{\"b\":[[],{}]}, {} ] ,\"n\":-1.5e3} \n";
    for (size_t step = 1; step < strlen(text) + 1; step++) {
        struct buf items = {0};
        struct err err = {0};
        char *metadata = NULL;
        assert_int_equal(split(text, step, &items, &metadata, &err), 0);
        assert_string_equal(items.p, "{\"a\":\"}\\\"{\"}\n{\"b\":[[],{}]}\n{}\n");
        assert_string_equal(metadata, "{\"a\":\"]}\"}");
        free(metadata);
        buf_free(&items);
    }
}

static void test_splitter_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        const char *why;
    } rows[] = {
        {"{\"items\":[]}", true, "no items"},
        {"{\"items\":null}", true, "items that Go left nil"},
        {"{}", true, "no members"},
        {"", false, "empty"},
        {"<html>", false, "a proxy's page"},
        {"[]", false, "an array"},
        {"{\"items\":[]", false, "cut behind the items"},
        {"{\"items\":[{\"a\":1}", false, "cut behind an item"},
        {"{\"items\":[{\"a\":", false, "cut in an item"},
        {"{\"items\":[1]}", false, "a number as item"},
        {"{\"items\":[{},]}", false, "a comma before the end of items"},
        {"{\"items\":[{}{}]}", false, "no comma between items"},
        {"{\"items\":{}}", false, "items are an object"},
        {"{\"items\":[],\"items\":[]}", false, "items twice"},
        {"{\"a\":1,}", false, "a comma before the end"},
        {"{\"a\"}", false, "no colon"},
        {"{\"a\":}", false, "no value"},
        {"{}{}", false, "two lists"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf items = {0};
        struct err err = {0};
        char *metadata = NULL;
        bool good = split(rows[i].text, 3, &items, &metadata, &err) == 0;
        if (good != rows[i].good || (!good && err.kind != ERR_CORRUPT))
            fail_msg("%s: %s", rows[i].why, err.msg);
        free(metadata);
        buf_free(&items);
    }
}

static void test_splitter_long_key_is_not_items(void **state)
{
    (void)state;
    struct buf text = {0}, items = {0};
    struct err err;
    char *metadata = NULL;
    buf_puts(&text, "{\"items");
    for (int i = 0; i < 400; i++)
        buf_putc(&text, 'x');
    buf_puts(&text, "\":[{\"a\":1}]}");
    assert_int_equal(split(text.p, 5, &items, &metadata, &err), 0);
    assert_int_equal(items.n, 0);
    free(metadata);
    buf_free(&text);
}

static void test_splitter_caps(void **state)
{
    (void)state;
    struct kube_splitter *s = kube_splitter_new(keep_item, &(struct buf){0});
    struct err err = {0};
    char *piece = xmalloc(1 << 20);
    memset(piece, 'a', 1 << 20);
    int r = kube_splitter_feed(s, "{\"items\":[{\"a\":\"", 15, &err);
    assert_int_equal(r, 0);
    for (int i = 0; i < 9 && r == 0; i++)
        r = kube_splitter_feed(s, piece, 1 << 20, &err);
    assert_int_equal(r, -1);
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    free(piece);
    kube_splitter_free(s);
}

/* ---- the lines of a watch ---- */

static int keep_event(void *ctx, enum line_event event, const struct kube_object *o,
                      struct err *err)
{
    (void)err;
    buf_printf(ctx, "%c:%s@%s ", "ODB"[event], o -> name, o -> resource_version);
    return 0;
}

#define LINE(type, name, rv)                                                                       \
    "{\"type\":\"" type "\",\"object\":{\"kind\":\"Pod\",\"metadata\":{" name                      \
    "\"resourceVersion\":\"" rv "\"}}}\n"

static void test_lines(void **state)
{
    (void)state;
    const char *text = LINE("ADDED", "\"name\":\"a\",", "1") LINE("BOOKMARK", "", "5") "\n" LINE(
        "DELETED", "\"name\":\"a\",", "9") "{\"type\":\"ADDED\",\"obj";
    for (size_t step = 1; step < 60; step++) {
        struct buf got = {0};
        struct err err = {0};
        struct lines *l = lines_new(keep_event, &got);
        for (size_t i = 0; i < strlen(text); i += step)
            assert_int_equal(lines_feed(l, text + i, MIN(step, strlen(text) - i), &err), 0);
        assert_string_equal(got.p, "O:a@1 B:@5 D:a@9 ");
        lines_free(l);
        buf_free(&got);
    }
}

static void test_lines_errors(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum err_kind kind;
    } rows[] = {
        {"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"message\":\"old\"}}\n",
         ERR_GONE},
        {"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":429}}\n", ERR_BUSY},
        {"{\"type\":\"ERROR\",\"object\":7}\n", ERR_UNAVAILABLE},
        {"{\"type\":\"NEW\",\"object\":{}}\n", ERR_CORRUPT},
        {"{\"type\":\"ADDED\",\"object\":{}}\n", ERR_CORRUPT},
        {"no json\n", ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf got = {0};
        struct err err = {0};
        struct lines *l = lines_new(keep_event, &got);
        assert_int_equal(lines_feed(l, rows[i].line, strlen(rows[i].line), &err), -1);
        assert_int_equal(err.kind, rows[i].kind);
        lines_free(l);
        buf_free(&got);
    }
}

/* ---- discovery and errors, over a transport that answers what it is given ---- */

struct canned {
    int status, status_after; /* the first answer, all that follow */
    unsigned retry_after_ms;
    const char *core, *body;
    unsigned calls;
};

static int canned_perform(void *ctx, struct kube_http *x, struct err *err)
{
    struct canned *c = ctx;
    (void)err;
    x->status = c->calls++ == 0 || !c->status_after ? c->status : c->status_after;
    x->retry_after_ms = x->status == c->status ? c->retry_after_ms : 0;
    buf_puts(&x->answer, streq(x->path, "/api") && c->core ? c->core : c->body);
    return 0;
}

static struct kube *canned_client(struct canned *c)
{
    return kube_new_on((struct kube_transport){.perform = canned_perform, .ctx = c});
}

static void test_discovery(void **state)
{
    (void)state;
#define RESOURCE(name, kind)                                                                       \
    "{\"resource\":\"" name "\",\"scope\":\"Namespaced\",\"responseKind\":{\"kind\":\"" kind       \
    "\"},\"verbs\":[\"list\",\"get\",\"dance\"]}"
    struct canned c = {
        .status = 200,
        .core = "{\"kind\":\"APIGroupDiscoveryList\",\"items\":[{\"metadata\":{},\"versions\":[{"
                "\"version\":\"v1\",\"resources\":[" RESOURCE("pods", "Pod") "]}]}]}",
        .body = "{\"kind\":\"APIGroupDiscoveryList\",\"items\":["
                "{\"metadata\":{\"name\":\"g\"},\"versions\":["
                "{\"version\":\"v3\",\"freshness\":\"Stale\",\"resources\":[]},"
                "{\"version\":\"v2\",\"resources\":[" RESOURCE(
                    "as", "A") "]},"
                               "{\"version\":\"v1\",\"resources\":[" RESOURCE(
                                   "as", "A") "," RESOURCE("bs", "B") "]}]}]}",
    };
    struct kube *k = canned_client(&c);
    struct kube_discovery *d;
    struct err err = {0};
    assert_int_equal(kube_discover(k, &d, &err), 0);
    assert_int_equal(kube_discovery_count(d), 3);
    assert_string_equal(kube_discovery_at(d, 0)->group, "");
    assert_int_equal(kube_discovery_at(d, 0)->verbs, KUBE_VERB_GET | KUBE_VERB_LIST);
    assert_string_equal(kube_discovery_stale(d), "g/v3");
    assert_string_equal(kube_discovery_kind(d, STR("g"), NULL, "A")->version, "v2");
    assert_string_equal(kube_discovery_kind(d, STR("g"), "v1", "A")->version, "v1");
    assert_string_equal(kube_discovery_kind(d, STR("g"), NULL, "B")->resource, "bs");
    assert_null(kube_discovery_kind(d, STR("h"), NULL, "A"));
    kube_discovery_free(d);
    c.body = "{\"kind\":\"APIGroupList\",\"groups\":[]}";
    assert_int_equal(kube_discover(k, &d, &err), -1);
    assert_int_equal(err.kind, ERR_UNSUPPORTED);
    kube_free(k);
}

static void test_error_kinds(void **state)
{
    (void)state;
    static const struct {
        int http;
        const char *reason;
        enum err_kind kind;
    } rows[] = {
        {400, "BadRequest", ERR_INVALID},
        {401, "Unauthorized", ERR_UNAUTHORIZED},
        {403, "Forbidden", ERR_FORBIDDEN},
        {404, "NotFound", ERR_NOT_FOUND},
        {409, "Conflict", ERR_CONFLICT},
        {409, "AlreadyExists", ERR_EXISTS},
        {410, "Expired", ERR_GONE},
        {413, "TooLarge", ERR_TOO_LARGE},
        {422, "Invalid", ERR_INVALID},
        {429, "TooManyRequests", ERR_BUSY},
        {500, "InternalError", ERR_UNAVAILABLE},
        {504, "Timeout", ERR_UNAVAILABLE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"kind\":\"Status\",\"reason\":\"%s\",\"message\":\"the message\",\"details\":"
                 "{\"retryAfterSeconds\":2}}",
                 rows[i].reason);
        struct canned c = {.status = rows[i].http, .body = body};
        struct kube *k = canned_client(&c);
        struct arena *a = arena_new();
        struct err err = {0};
        str text;
        assert_int_equal(kube_get_path(k, a, "/x", &text, &err), -1);
        assert_int_equal(err.kind, rows[i].kind);
        assert_int_equal(err.http, rows[i].http);
        assert_string_equal(err.msg, "the message");
        assert_int_equal(err.retry_ms, 2000);
        assert_int_equal(c.calls, 1);
        arena_free(a);
        kube_free(k);
    }
}

static void test_retry_after(void **state)
{
    (void)state;
    struct canned c = {.status = 429, .status_after = 200, .retry_after_ms = 5, .body = "ok"};
    struct kube *k = canned_client(&c);
    struct arena *a = arena_new();
    struct err err = {0};
    str text;
    assert_int_equal(kube_get_path(k, a, "/x", &text, &err), 0);
    assert_int_equal(c.calls, 2);
    assert_true(str_is(text, "ok"));
    c = (struct canned){.status = 503, .retry_after_ms = 60000, .body = ""};
    kube_set_timeout(k, 10000);
    assert_int_equal(kube_get_path(k, a, "/x", &text, &err), -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE); /* at once: it would not fit the deadline */
    assert_int_equal(c.calls, 1);
    assert_string_equal(err.msg, "GET /x: the API server answered 503");
    arena_free(a);
    kube_free(k);
}

static void test_secret_messages_are_cut(void **state)
{
    (void)state;
    struct canned c = {.status = 422,
                       .body = "{\"kind\":\"Status\",\"reason\":\"Invalid\",\"message\":"
                               "\"data[x]: Invalid value: hunter2\"}"};
    struct kube *k = canned_client(&c);
    struct arena *a = arena_new();
    struct err err = {0};
    struct kube_object o;
    assert_int_equal(kube_create(k, a, &KUBE_SECRET, "n", STR("{}"), NULL, &o, &err), -1);
    assert_null(strstr(err.msg, "hunter2"));
    assert_non_null(strstr(err.msg, "Invalid"));
    assert_int_equal(kube_get(k, a, &KUBE_SECRET, "n", "s", &o, &err), -1);
    assert_null(strstr(err.msg, "hunter2"));
    arena_free(a);
    kube_free(k);
}

/* A 422 about anything may quote what was written: a password in a container's environment. */
static void test_refused_values_are_cut(void **state)
{
    (void)state;
    static const struct {
        const char *cause, *want;
    } rows[] = {
        {"Invalid value: \\\"hun\\\\\\\"ter2: x\\\": must be short",
         "env: Invalid value: must be short"},
        {"Invalid value: v1.EnvVar{Value:\\\"hunter2\\\"}: must be short", "env: Invalid value"},
        {"Invalid value: \\\"hunter2", "env: Invalid value"},
        {"Invalid value: 700: must be less", "env: Invalid value: must be less"},
        {"Duplicate value: \\\"hunter2\\\"", "env: Duplicate value"},
        {"Forbidden: field is immutable", "env: Forbidden: field is immutable"},
        {"Required value: x: Invalid value: hunter2", "env: Required value: x: "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char body[640];
        snprintf(body, sizeof body,
                 "{\"kind\":\"Status\",\"reason\":\"Invalid\",\"message\":\"env: hunter2\","
                 "\"details\":{\"name\":\"p\",\"kind\":\"Pod\",\"causes\":[{\"field\":\"env\","
                 "\"message\":\"%s\"}]}}",
                 rows[i].cause);
        struct canned c = {.status = 422, .body = body};
        struct kube *k = canned_client(&c);
        struct arena *a = arena_new();
        struct err err = {0};
        struct kube_object o;
        assert_int_equal(kube_create(k, a, &KUBE_POD, "n", STR("{}"), NULL, &o, &err), -1);
        char want[128];
        snprintf(want, sizeof want, "Pod \"p\" is invalid: %s", rows[i].want);
        assert_string_equal(err.msg, want);
        c.body = "{\"kind\":\"Status\",\"reason\":\"Invalid\",\"message\":\"x: Invalid value: "
                 "hunter2\"}";
        assert_int_equal(kube_create(k, a, &KUBE_POD, "n", STR("{}"), NULL, &o, &err), -1);
        assert_null(strstr(err.msg, "hunter2"));
        arena_free(a);
        kube_free(k);
    }
}

static void test_names_are_needed(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ".", "..", NULL};
    struct canned c = {.status = 200, .body = "{}"};
    struct kube *k = canned_client(&c);
    struct arena *a = arena_new();
    struct kube_object o;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {0};
        assert_int_equal(kube_delete(k, &KUBE_POD, "n", bad[i], NULL, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
        assert_int_equal(kube_get(k, a, &KUBE_POD, "n", bad[i], &o, &err), -1);
        assert_int_equal(
            kube_patch(k, a, &KUBE_POD, "n", bad[i], KUBE_PATCH_MERGE, STR("{}"), NULL, &o, &err),
            -1);
        assert_int_equal(kube_apply(k, a, &KUBE_POD, "n", bad[i], STR("{}"), NULL, &o, &err), -1);
    }
    struct err err = {0};
    assert_int_equal(kube_delete(k, &KUBE_POD, "", "p", NULL, &err), -1);
    assert_int_equal(c.calls, 0);
    arena_free(a);
    kube_free(k);
}

static void test_secret_values(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    struct kube_object o;
    struct err err;
    str value;
    str text =
        STR("{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"namespace\":\"n\","
            "\"name\":\"s\"},\"data\":{\"word\":\"aGVsbG8=\",\"bytes\":\"AP8A\",\"empty\":\"\","
            "\"bad\":\"not base64!\",\"null\":null}}");
    assert_int_equal(kube_object_read(a, text, &o, &err), 0);
    assert_int_equal(kube_secret_value(a, &o, "word", &value, &err), 0);
    assert_string_equal(value.p, "hello");
    assert_string_equal(kube_secret_text(a, &o, "word"), "hello");
    assert_int_equal(kube_secret_value(a, &o, "bytes", &value, &err), 0);
    assert_int_equal(value.n, 3);
    assert_memory_equal(value.p, "\0\xff\0", 4); /* terminated */
    assert_int_equal(kube_secret_value(a, &o, "empty", &value, &err), 0);
    assert_int_equal(value.n, 0);
    assert_string_equal(value.p, "");
    assert_int_equal(kube_secret_value(a, &o, "none", &value, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_string_equal(err.msg, "Secret n/s has no key 'none'");
    assert_int_equal(kube_secret_value(a, &o, "null", &value, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_int_equal(kube_secret_value(a, &o, "bad", &value, &err), -1);
    assert_int_equal(err.kind, ERR_INVALID);
    assert_null(strstr(err.msg, "base64!"));
    assert_null(kube_secret_text(a, &o, "bad"));
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secret_values),
        cmocka_unit_test(test_object_identity),
        cmocka_unit_test(test_object_refused),
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_types_and_paths),
        cmocka_unit_test(test_splitter_any_cut),
        cmocka_unit_test(test_splitter_refuses),
        cmocka_unit_test(test_splitter_long_key_is_not_items),
        cmocka_unit_test(test_splitter_caps),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_lines_errors),
        cmocka_unit_test(test_discovery),
        cmocka_unit_test(test_error_kinds),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_secret_messages_are_cut),
        cmocka_unit_test(test_refused_values_are_cut),
        cmocka_unit_test(test_names_are_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
