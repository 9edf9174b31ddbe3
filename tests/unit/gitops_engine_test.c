/* The engines' decisions and writes, against a transport that answers from a table: what is refused
 * and why, what stands in each request. That the API server and the engines do as we think is shown
 * on the real ones (tests/e2e/15-engines.sh). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "core/json.h"
#include "gitops/engine.h"
#include "gitops/marker.h"

static struct arena *a;

/* ---- the transport ---- */

static struct {
    struct {
        const char *method, *path; /* a part of the path */
        int status;
        const char *body;
    } rows[16];
    size_t n;
    struct buf sent; /* the last body that was sent, with its method, type and query before it */
} server;

static void serves(const char *method, const char *path, int status, const char *body)
{
    server.rows[server.n].method = method;
    server.rows[server.n].path = path;
    server.rows[server.n].status = status;
    server.rows[server.n++].body = body;
}

static int perform(void *ctx, struct kube_http *x, struct err *err)
{
    (void)ctx;
    if (x->body.p) {
        const char *query = strchr(x->path, '?');
        buf_reset(&server.sent);
        buf_printf(&server.sent, "%s %s %s\n", x->method, x->content_type, query ? query : "");
        buf_str(&server.sent, x->body);
    }
    x->status = 404;
    const char *body = "{\"kind\":\"Status\",\"status\":\"Failure\",\"code\":404,\"reason\":"
                       "\"NotFound\",\"message\":\"not found\"}";
    for (size_t i = server.n; i-- > 0;)
        if (streq(server.rows[i].method, x->method) && strstr(x->path, server.rows[i].path)) {
            x->status = server.rows[i].status;
            body = server.rows[i].body;
            break;
        }
    if (x->status < 300 && x->sink)
        return x->sink(x->sink_ctx, body, strlen(body), err);
    buf_puts(&x->answer, body);
    return 0;
}

static struct kube *kube(void)
{
    return kube_new_on((struct kube_transport){.perform = perform});
}

static int setup(void **state)
{
    a = arena_new();
    buf_reset(&server.sent);
    server.n = 0;
    *state = kube();
    return 0;
}

static int teardown(void **state)
{
    kube_free(*state);
    buf_free(&server.sent);
    arena_free(a);
    return 0;
}

/* ---- objects ---- */

#define HR_PATH "/namespaces/shop/helmreleases/db"
#define APP_PATH "/namespaces/argocd/applications/blog"
#define LIST(kind, items)                                                                          \
    "{\"kind\":\"" kind "List\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"9\"},"   \
    "\"items\":[" items "]}"

static const char *helm_release(const char *metadata, const char *spec, const char *status)
{
    return arena_printf(
        a,
        "{\"apiVersion\":\"helm.toolkit.fluxcd.io/v2\",\"kind\":\"HelmRelease\","
        "\"metadata\":{\"name\":\"db\",\"namespace\":\"shop\",\"uid\":\"u1\","
        "\"resourceVersion\":\"7\",\"generation\":2%s},\"spec\":{\"interval\":\"1m\"%s},"
        "\"status\":{%s}}",
        metadata, spec, status);
}

static const char *application(const char *metadata, const char *spec, const char *status)
{
    return arena_printf(a,
                        "{\"apiVersion\":\"argoproj.io/v1alpha1\",\"kind\":\"Application\","
                        "\"metadata\":{\"name\":\"blog\",\"namespace\":\"argocd\",\"uid\":\"u2\","
                        "\"resourceVersion\":\"7\"%s},\"spec\":{\"destination\":{\"server\":"
                        "\"https://kubernetes.default.svc\",\"namespace\":\"blog\"}%s},"
                        "\"status\":{%s}}",
                        metadata, spec, status);
}

#define AUTOMATED ",\"syncPolicy\":{\"automated\":{\"prune\":true}}"
#define DISABLED ",\"syncPolicy\":{\"automated\":{\"prune\":true,\"enabled\":false}}"
#define MARKER(added, before)                                                                      \
    "\"gleaner.dev/hold\":\"{\\\"restore\\\":\\\"g/r\\\",\\\"uid\\\":\\\"ru\\\",\\\"token\\\":"    \
    "\\\"T\\\",\\\"state\\\":\\\"held\\\",\\\"added\\\":" added ",\\\"before\\\":" before "}\""

static void secret_list(const char *status)
{
    serves(
        "GET", "/namespaces/shop/secrets", 200,
        arena_printf(a,
                     LIST("Secret", "{\"metadata\":{\"name\":\"sh.helm.release.v1.db.v2\","
                                    "\"namespace\":\"shop\",\"labels\":{\"owner\":\"helm\","
                                    "\"name\":\"db\",\"version\":\"2\",\"status\":\"%s\"}}},"
                                    "{\"metadata\":{\"name\":\"sh.helm.release.v1.db.v1\","
                                    "\"namespace\":\"shop\",\"labels\":{\"owner\":\"helm\","
                                    "\"name\":\"db\",\"version\":\"1\",\"status\":\"deployed\"}}}"),
                     status));
}

static struct application read_app(struct kube *k, bool flux)
{
    struct application app;
    struct err err;
    int r = flux ? engine_flux.read(k, a, &KUBE_HELMRELEASE, "shop", "db", &app, &err)
                 : engine_argocd.read(k, a, &KUBE_APPLICATION, "argocd", "blog", &app, &err);
    if (r < 0)
        fail_msg("%s", err.msg);
    return app;
}

/* ---- refusals ---- */

static void test_flux_refuses(void **state)
{
    struct kube *k = *state;
    static const struct {
        const char *metadata, *status, *says; /* says NULL: not refused */
    } rows[] = {
        {"", "deployed", NULL},
        {",\"managedFields\":[{\"manager\":\"flux\",\"operation\":\"Update\",\"fieldsV1\":{\"f:"
         "spec\":{"
         "\"f:suspend\":{}}}}]",
         "deployed", NULL},
        {",\"managedFields\":[{\"manager\":\"kustomize-controller\",\"operation\":\"Apply\","
         "\"fieldsV1\":{\"f:spec\":{\"f:suspend\":{}}}}]",
         "deployed", "declared in Git"},
        {",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", "deployed", "being deleted"},
        {",\"labels\":{\"resourceset.fluxcd.controlplane.io/name\":\"rs\"}", "deployed",
         "ResourceSet rs"},
        {"", "pending-upgrade", "'pending-upgrade'"},
        {"", "failed", "'failed'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err;
        server.n = 0;
        serves("GET", HR_PATH, 200, helm_release(rows[i].metadata, "", ""));
        secret_list(rows[i].status);
        struct application app = read_app(k, true);
        int r = engine_flux.may_hold(k, a, &app, &err);
        if (!rows[i].says) {
            if (r < 0)
                fail_msg("row %zu: %s", i, err.msg);
            continue;
        }
        assert_int_equal(r, -1);
        assert_int_equal(err.kind, ERR_REFUSED);
        if (!strstr(err.msg, rows[i].says))
            fail_msg("row %zu: %s", i, err.msg);
    }
    struct application app;
    struct err err;
    server.n = 0;
    serves("GET", HR_PATH, 200, helm_release("", ",\"kubeConfig\":{}", ""));
    assert_int_equal(engine_flux.read(k, a, &KUBE_HELMRELEASE, "shop", "db", &app, &err), -1);
    assert_int_equal(err.kind, ERR_UNSUPPORTED);
}

static void test_argocd_refuses(void **state)
{
    struct kube *k = *state;
    static const struct {
        const char *metadata, *spec, *after, *says;
    } rows[] = {
        {"", AUTOMATED, DISABLED, NULL},
        {"", "", "", NULL},
        {"", AUTOMATED, AUTOMATED, "update it to 3.1"},
        {",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", AUTOMATED, DISABLED, "being deleted"},
        {",\"ownerReferences\":[{\"apiVersion\":\"argoproj.io/"
         "v1alpha1\",\"kind\":\"ApplicationSet\","
         "\"name\":\"set\",\"uid\":\"x\"}]",
         AUTOMATED, DISABLED, "ApplicationSet set"},
        {",\"annotations\":{\"argocd.argoproj.io/skip-reconcile\":\"true\"}", AUTOMATED, DISABLED,
         "skip-reconcile"},
        {",\"managedFields\":[{\"manager\":\"argocd-controller\",\"operation\":\"Apply\","
         "\"fieldsV1\":{"
         "\"f:spec\":{\"f:syncPolicy\":{\"f:automated\":{\"f:enabled\":{}}}}}}]",
         AUTOMATED, DISABLED, "declared in Git"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err;
        server.n = 0;
        serves("GET", APP_PATH, 200, application(rows[i].metadata, rows[i].spec, ""));
        serves("PATCH", APP_PATH, 200, application(rows[i].metadata, rows[i].after, ""));
        struct application app = read_app(k, false);
        int r = engine_argocd.may_hold(k, a, &app, &err);
        if (rows[i].says ? r == 0 || !strstr(err.msg, rows[i].says) : r < 0)
            fail_msg("row %zu: %d %s", i, r, r < 0 ? err.msg : "");
        if (rows[i].says)
            assert_int_equal(err.kind, ERR_REFUSED);
    }
}

static const char *root_application(const char *option, const char *child)
{
    return arena_printf(
        a,
        LIST(
            "Application",
            "{\"metadata\":{\"name\":\"root\",\"namespace\":\"argocd\",\"uid\":\"r\"},\"spec\":{"
            "\"destination\":{\"name\":\"in-cluster\"},\"syncPolicy\":{\"syncOptions\":[\"%s\"]}},"
            "\"status\":{\"reconciledAt\":\"x\",\"resources\":[{\"group\":\"argoproj.io\",\"kind\":"
            "\"Application\",\"namespace\":\"argocd\",\"name\":\"%s\",\"status\":\"Synced\"}]}}"),
        option, child);
}

static void test_argocd_parent_replaces(void **state)
{
    struct kube *k = *state;
    struct err err;
    const char *tracked = ",\"annotations\":{\"argocd.argoproj.io/tracking-id\":"
                          "\"root:argoproj.io/Application:argocd/blog\"}";
    static const struct {
        const char *option, *child;
        bool refused;
    } rows[] = {{"Replace=true", "blog", true},
                {"ServerSideApply=true", "blog", false},
                {"Replace=true", "another", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        server.n = 0;
        serves("GET", "/applications?", 200, root_application(rows[i].option, rows[i].child));
        serves("GET", APP_PATH, 200, application(tracked, AUTOMATED, ""));
        serves("PATCH", APP_PATH, 200, application(tracked, DISABLED, ""));
        struct application app = read_app(k, false);
        int r = engine_argocd.may_hold(k, a, &app, &err);
        if ((r < 0) != rows[i].refused)
            fail_msg("row %zu: %s", i, r < 0 ? err.msg : "not refused");
    }
}

/* ---- writes ---- */

static json_t *sent_body(const char *head)
{
    struct err err;
    json_t *body;
    str rest = buf_view(&server.sent);
    str first = str_cut(&rest, '\n');
    if (!str_starts(first, head))
        fail_msg("sent: %.*s", STR_FMT(first));
    assert_int_equal(json_parse(rest, &body, &err), 0);
    return body;
}

#define HELD_ASKED(token)                                                                          \
    ",\"annotations\":{" MARKER("[]", "{}") ",\"reconcile.fluxcd.io/requestedAt\":\"" token "\"}"

static void test_flux_hold(void **state)
{
    struct kube *k = *state;
    struct err err;
    serves("GET", HR_PATH, 200, helm_release("", "", ""));
    serves("PATCH", HR_PATH, 200,
           helm_release(",\"annotations\":{" MARKER("[]", "{}") "}", ",\"suspend\":true", ""));
    struct application app = read_app(k, true);
    assert_int_equal(engine_flux.hold(k, a, &app, "g/r", "ru", &err), 0);
    json_t *body CLEANUP_JSON = sent_body("PATCH application/apply-patch+yaml ?");
    assert_non_null(strstr(server.sent.p, "force=true"));
    assert_non_null(strstr(server.sent.p, "fieldManager=gleaner"));
    assert_string_equal(json_text_at(body, "metadata", "uid", NULL), "u1");
    assert_true(json_is_true(json_value_at(body, "spec", "suspend", NULL)));
    const char *token =
        json_text_at(body, "metadata", "annotations", "reconcile.fluxcd.io/requestedAt", NULL);
    assert_true(strlen(token) >= 32);
    const char *marker = json_text_at(body, "metadata", "annotations", MARKER_ANNOTATION, NULL);
    assert_true(raw_is(raw_get(str_of(marker), "token"), token));
    assert_true(raw_is(raw_get(str_of(marker), "state"), "held"));
    assert_true(raw_is(raw_get(str_of(marker), "uid"), "ru"));

    /* Another Restore is refused, and the same one writes nothing more. */
    server.n = 0;
    serves("GET", HR_PATH, 200,
           helm_release(",\"annotations\":{" MARKER("[]", "{}") "}", ",\"suspend\":true", ""));
    assert_int_equal(engine_flux.hold(k, a, &app, "g/other", "other", &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    buf_reset(&server.sent);
    serves("GET", HR_PATH, 200, helm_release(HELD_ASKED("T"), ",\"suspend\":true", ""));
    assert_int_equal(engine_flux.hold(k, a, &app, "g/r", "ru", &err), 0);
    assert_int_equal(server.sent.n, 0);

    /* Somebody else's request: ours is made anew, or the hold would never be quiet. */
    serves("GET", HR_PATH, 200, helm_release(HELD_ASKED("theirs"), ",\"suspend\":true", ""));
    serves("PATCH", HR_PATH, 200, helm_release(HELD_ASKED("fresh"), ",\"suspend\":true", ""));
    assert_int_equal(engine_flux.hold(k, a, &app, "g/r", "ru", &err), 0);
    json_t *again CLEANUP_JSON = sent_body("PATCH application/apply-patch+yaml ?");
    const char *other =
        json_text_at(again, "metadata", "annotations", "reconcile.fluxcd.io/requestedAt", NULL);
    assert_true(other && !streq(other, "theirs") && !streq(other, "T"));
}

static void test_flux_hold_not_kept(void **state)
{
    struct kube *k = *state;
    struct err err;
    serves("GET", HR_PATH, 200, helm_release("", "", ""));
    serves("PATCH", HR_PATH, 200, helm_release("", "", ""));
    struct application app = read_app(k, true);
    assert_int_equal(engine_flux.hold(k, a, &app, "g/r", "ru", &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
}

static void test_flux_quiet(void **state)
{
    struct kube *k = *state;
    static const struct {
        const char *annotations, *spec, *handled, *helm;
        int r;
        bool quiet;
    } rows[] = {
        {MARKER("[]", "{}") ",\"reconcile.fluxcd.io/requestedAt\":\"T\"", ",\"suspend\":true", "T",
         "deployed", 0, true},
        {MARKER("[]", "{}") ",\"reconcile.fluxcd.io/requestedAt\":\"T\"", ",\"suspend\":true",
         "old", "deployed", 0, false},
        {MARKER("[]", "{}") ",\"reconcile.fluxcd.io/requestedAt\":\"other\"", ",\"suspend\":true",
         "other", "deployed", 0, false},
        {MARKER("[]", "{}") ",\"reconcile.fluxcd.io/requestedAt\":\"T\"", "", "T", "deployed", -1,
         false},
        {"\"reconcile.fluxcd.io/requestedAt\":\"T\"", ",\"suspend\":true", "T", "deployed", -1,
         false},
        {MARKER("[]", "{}") ",\"reconcile.fluxcd.io/requestedAt\":\"T\"", ",\"suspend\":true", "T",
         "failed", -1, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err;
        char why[256] = "";
        bool quiet = false;
        server.n = 0;
        serves("GET", HR_PATH, 200,
               helm_release(arena_printf(a, ",\"annotations\":{%s}", rows[i].annotations),
                            rows[i].spec,
                            arena_printf(a, "\"lastHandledReconcileAt\":\"%s\"", rows[i].handled)));
        secret_list(rows[i].helm);
        struct application app = read_app(k, true);
        int r = engine_flux.quiet(k, a, &app, &quiet, why, sizeof why, &err);
        if (r != rows[i].r || quiet != rows[i].quiet || (r == 0 && !quiet && !*why))
            fail_msg("row %zu: %d %d %s", i, r, quiet, r < 0 ? err.msg : why);
        if (r < 0)
            assert_int_equal(err.kind, ERR_REFUSED);
    }
}

static void test_flux_resume(void **state)
{
    struct kube *k = *state;
    struct err err;
    serves("GET", HR_PATH, 200,
           helm_release(",\"annotations\":{" MARKER("[]", "{}") "}", ",\"suspend\":true", ""));
    serves("PATCH", HR_PATH, 200, helm_release("", "", ""));
    struct application app = read_app(k, true);
    assert_int_equal(engine_flux.resume(k, a, &app, &err), 0);
    json_t *body CLEANUP_JSON = sent_body("PATCH application/apply-patch+yaml ?");
    assert_null(json_value_at(body, "spec", NULL));
    assert_null(json_value_at(body, "metadata", "annotations", MARKER_ANNOTATION, NULL));
    assert_non_null(
        json_text_at(body, "metadata", "annotations", "reconcile.fluxcd.io/requestedAt", NULL));

    /* Without our marker nothing is written. */
    buf_reset(&server.sent);
    serves("GET", HR_PATH, 200, helm_release("", ",\"suspend\":true", ""));
    assert_int_equal(engine_flux.resume(k, a, &app, &err), 0);
    assert_int_equal(server.sent.n, 0);
}

static void test_argocd_hold(void **state)
{
    struct kube *k = *state;
    struct err err;
    const char *marked = ",\"annotations\":{" MARKER("[\\\"x\\\"]", "{}") "}";
    serves("GET", APP_PATH, 200, application("", AUTOMATED, ""));
    serves("PATCH", APP_PATH, 200, application(marked, DISABLED, ""));
    struct application app = read_app(k, false);
    assert_int_equal(engine_argocd.hold(k, a, &app, "g/r", "ru", &err), 0);
    json_t *body CLEANUP_JSON = sent_body("PATCH application/merge-patch+json ?");
    assert_string_equal(json_text_at(body, "metadata", "resourceVersion", NULL), "7");
    assert_string_equal(json_text_at(body, "metadata", "uid", NULL), "u2");
    assert_string_equal(
        json_text_at(body, "metadata", "annotations", "argocd.argoproj.io/refresh", NULL),
        "normal");
    assert_true(
        json_is_false(json_value_at(body, "spec", "syncPolicy", "automated", "enabled", NULL)));

    /* Not automated: the barrier and the marker, nothing else. */
    server.n = 0;
    serves("GET", APP_PATH, 200, application("", "", ""));
    serves("PATCH", APP_PATH, 200, application(marked, "", ""));
    app = read_app(k, false);
    assert_int_equal(engine_argocd.hold(k, a, &app, "g/r", "ru", &err), 0);
    json_t *barrier CLEANUP_JSON = sent_body("PATCH application/merge-patch+json ?");
    assert_null(json_value_at(barrier, "spec", NULL));
    const char *marker = json_text_at(barrier, "metadata", "annotations", MARKER_ANNOTATION, NULL);
    assert_true(str_is(raw_get(str_of(marker), "added"), "[]"));

    /* An API server that dropped the field. */
    server.n = 0;
    serves("GET", APP_PATH, 200, application("", AUTOMATED, ""));
    serves("PATCH", APP_PATH, 200, application(marked, AUTOMATED, ""));
    assert_int_equal(engine_argocd.hold(k, a, &app, "g/r", "ru", &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
}

static void test_argocd_quiet(void **state)
{
    struct kube *k = *state;
    static const struct {
        const char *annotations, *spec, *status;
        int r;
        bool quiet;
    } rows[] = {
        {MARKER("[\\\"x\\\"]", "{}"), DISABLED, "", 0, true},
        {MARKER("[\\\"x\\\"]", "{}"), DISABLED, "\"operationState\":{\"phase\":\"Failed\"}", 0,
         true},
        {MARKER("[\\\"x\\\"]", "{}"), DISABLED, "\"operationState\":{\"phase\":\"Running\"}", 0,
         false},
        {MARKER("[\\\"x\\\"]", "{}"), DISABLED, "\"operationState\":{\"phase\":\"Terminating\"}", 0,
         false},
        {MARKER("[\\\"x\\\"]", "{}") ",\"argocd.argoproj.io/refresh\":\"normal\"", DISABLED, "", 0,
         false},
        {MARKER("[\\\"x\\\"]", "{}"), AUTOMATED, "", -1, false},
        {"\"a\":\"b\"", DISABLED, "", -1, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err;
        char why[256] = "";
        bool quiet = false;
        server.n = 0;
        serves("GET", APP_PATH, 200,
               application(arena_printf(a, ",\"annotations\":{%s}", rows[i].annotations),
                           rows[i].spec, rows[i].status));
        struct application app = read_app(k, false);
        int r = engine_argocd.quiet(k, a, &app, &quiet, why, sizeof why, &err);
        if (r != rows[i].r || quiet != rows[i].quiet || (r == 0 && !quiet && !*why))
            fail_msg("row %zu: %d %d %s", i, r, quiet, r < 0 ? err.msg : why);
    }
}

static void test_argocd_resume(void **state)
{
    struct kube *k = *state;
    static const struct {
        const char *marker, *spec, *ops;
    } rows[] = {
        {MARKER("[\\\"x\\\"]", "{\\\"enabled\\\":null,\\\"owners\\\":[]}"), DISABLED,
         "test test remove add test remove "},
        {MARKER("[\\\"x\\\"]", "{\\\"enabled\\\":true,\\\"owners\\\":[]}"), DISABLED,
         "test test remove add test replace "},
        {MARKER("[]", "{\\\"enabled\\\":null}"), "", "test test remove add "},
        /* somebody enabled it meanwhile: theirs stays */
        {MARKER("[\\\"x\\\"]", "{\\\"enabled\\\":null}"), AUTOMATED, "test test remove add "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err;
        server.n = 0;
        serves("GET", APP_PATH, 200,
               application(arena_printf(a, ",\"annotations\":{%s}", rows[i].marker), rows[i].spec,
                           ""));
        serves("PATCH", APP_PATH, 200, application("", AUTOMATED, ""));
        struct application app = read_app(k, false);
        if (engine_argocd.resume(k, a, &app, &err) < 0)
            fail_msg("row %zu: %s", i, err.msg);
        json_t *body CLEANUP_JSON = sent_body("PATCH application/json-patch+json ?");
        struct buf ops CLEANUP(buf_free) = {0};
        for (size_t j = 0; j < json_array_size(body); j++)
            buf_printf(&ops, "%s ", json_text_at(json_array_get(body, j), "op", NULL));
        assert_string_equal(ops.p, rows[i].ops);
    }
}

static void test_argocd_settled_drops_trace(void **state)
{
    struct kube *k = *state;
    struct err err;
    char why[256] = "";
    bool settled = false;
    serves("GET", APP_PATH, 200,
           application(",\"managedFields\":[{\"manager\":\"gleaner\",\"operation\":\"Update\","
                       "\"fieldsV1\":{}},{\"manager\":\"kubectl\",\"operation\":\"Update\"}]",
                       AUTOMATED,
                       "\"sync\":{\"status\":\"Synced\"},\"health\":{\"status\":"
                       "\"Healthy\"}"));
    serves("PATCH", APP_PATH, 200, application("", AUTOMATED, ""));
    struct application app = read_app(k, false);
    assert_int_equal(engine_argocd.settled(k, a, &app, &settled, why, sizeof why, &err), 0);
    assert_true(settled);
    json_t *body CLEANUP_JSON = sent_body("PATCH application/merge-patch+json ?");
    json_t *left = json_value_at(body, "metadata", "managedFields", NULL);
    assert_int_equal(json_array_size(left), 1);
    assert_string_equal(json_text_at(json_array_get(left, 0), "manager", NULL), "kubectl");
}

/* Who waits for it is told what to do, unless Argo CD does it by itself. */
static void test_argocd_settled_says_to_sync(void **state)
{
    struct kube *k = *state;
    static const struct {
        const char *spec;
        bool says;
    } rows[] = {
        {AUTOMATED, true},
        {",\"syncPolicy\":{\"automated\":{\"selfHeal\":true}}", false},
        {"", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err;
        char why[256] = "";
        bool settled = true;
        serves("GET", APP_PATH, 200,
               application("", rows[i].spec,
                           "\"sync\":{\"status\":\"OutOfSync\"},\"health\":{\"status\":"
                           "\"Missing\"}"));
        struct application app = read_app(k, false);
        assert_int_equal(engine_argocd.settled(k, a, &app, &settled, why, sizeof why, &err), 0);
        assert_false(settled);
        assert_int_equal(strstr(why, "argocd app sync argocd/blog") != NULL, rows[i].says);
    }
}

/* A hold that came meanwhile is no trace to tidy up: nothing is written. */
static void test_settled_leaves_a_newer_hold(void **state)
{
    struct kube *k = *state;
    struct err err;
    char why[256] = "";
    bool settled = false;
    serves("GET", HR_PATH, 200,
           helm_release(",\"annotations\":{" MARKER(
                            "[]", "{}") ",\"reconcile.fluxcd.io/requestedAt\":\"T\"},"
                                        "\"managedFields\":[{\"manager\":\"gleaner\"}]",
                        ",\"suspend\":true", "\"lastHandledReconcileAt\":\"T\""));
    struct application app = read_app(k, true);
    buf_reset(&server.sent);
    assert_int_equal(engine_flux.settled(k, a, &app, &settled, why, sizeof why, &err), 0);
    assert_false(settled);
    assert_non_null(strstr(why, "g/r"));
    assert_int_equal(server.sent.n, 0);
}

/* Somebody enabled automation during the hold: that is what a resume gives back. */
static void test_argocd_hold_again(void **state)
{
    struct kube *k = *state;
    struct err err;
    const char *marked =
        ",\"annotations\":{" MARKER("[]", "{\\\"enabled\\\":false,\\\"owners\\\":[]}") "}";
    serves("GET", APP_PATH, 200,
           application(marked, ",\"syncPolicy\":{\"automated\":{\"enabled\":true}}", ""));
    serves("PATCH", APP_PATH, 200, application(marked, DISABLED, ""));
    struct application app = read_app(k, false);
    assert_int_equal(engine_argocd.hold(k, a, &app, "g/r", "ru", &err), 0);
    json_t *body CLEANUP_JSON = sent_body("PATCH application/merge-patch+json ?");
    const char *marker = json_text_at(body, "metadata", "annotations", MARKER_ANNOTATION, NULL);
    assert_true(str_is(raw_at(str_of(marker), "before", "enabled", NULL), "true"));
}

static void test_argocd_clear_refuses_a_sync(void **state)
{
    struct kube *k = *state;
    struct err err;
    serves("GET", APP_PATH, 200,
           application(",\"annotations\":{" MARKER("[\\\"x\\\"]", "{}") "}", DISABLED,
                       "\"operationState\":{\"phase\":\"Running\"}"));
    struct application app = read_app(k, false);
    buf_reset(&server.sent);
    assert_int_equal(engine_argocd.mark_cleared(k, a, &app, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_int_equal(server.sent.n, 0);
}

/* ---- sources ---- */

#define COMMIT_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define COMMIT_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void test_argocd_applied_revision(void **state)
{
    struct kube *k = *state;
    static const struct {
        const char *status, *commit;
    } rows[] = {
        {"\"sync\":{\"status\":\"Synced\",\"revision\":\"" COMMIT_B "\"},"
         "\"history\":[{\"revision\":\"" COMMIT_A "\"}]",
         COMMIT_B},
        /* compared with B, but made from A */
        {"\"sync\":{\"status\":\"OutOfSync\",\"revision\":\"" COMMIT_B "\"},"
         "\"history\":[{\"revision\":\"" COMMIT_B "\"},{\"revision\":\"" COMMIT_A "\"}]",
         COMMIT_A},
        {"\"sync\":{\"status\":\"OutOfSync\",\"revision\":\"" COMMIT_B "\"}", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err;
        struct sources s;
        server.n = 0;
        serves("GET", "/namespaces/argocd/secrets", 200, LIST("Secret", ""));
        serves("GET", APP_PATH, 200,
               application("", ",\"source\":{\"repoURL\":\"https://git/x\",\"path\":\".\"}",
                           rows[i].status));
        struct application app = read_app(k, false);
        assert_int_equal(engine_argocd.sources(k, a, &app, &s, &err), 0);
        assert_int_equal(s.n, 1);
        if (!streq(s.at[0].commit, rows[i].commit))
            fail_msg("row %zu: %s", i, s.at[0].commit);
    }
}

#define KS_LABELS                                                                                  \
    ",\"labels\":{\"kustomize.toolkit.fluxcd.io/name\":\"root\","                                  \
    "\"kustomize.toolkit.fluxcd.io/namespace\":\"flux-system\"},\"managedFields\":[{\"manager\":"  \
    "\"kustomize-controller\",\"operation\":\"Apply\",\"fieldsV1\":{\"f:spec\":{}}}]"

/* The reasons why a HelmRelease is not proven by its sources, one a line. */
static const char *unproven_reasons(struct kube *k)
{
    struct err err;
    struct sources s;
    struct buf b CLEANUP(buf_free) = {0};
    struct application app = read_app(k, true);
    if (engine_flux.sources(k, a, &app, &s, &err) < 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < s.n; i++)
        if (*s.at[i].unproven)
            buf_printf(&b, "%s\n", s.at[i].unproven);
    return arena_strdup(a, b.p ? b.p : "");
}

static void test_flux_proofs(void **state)
{
    struct kube *k = *state;
    static const struct {
        const char *held, *repository, *storage, *status, *want, *chart;
    } rows[] = {
        {"shop_db_helm.toolkit.fluxcd.io_HelmRelease", "", "deployed",
         "\"lastAttemptedGeneration\":2,\"history\":[{\"version\":2}]", NULL, NULL},
        /* its labels and managers name the Kustomization, whose books do not hold it any more */
        {"shop_x_helm.toolkit.fluxcd.io_HelmRelease", "", "deployed",
         "\"lastAttemptedGeneration\":2,\"history\":[{\"version\":2}]", "made by hand", NULL},
        {"shop_db_helm.toolkit.fluxcd.io_HelmRelease", "", "failed",
         "\"lastAttemptedGeneration\":2,\"history\":[{\"version\":2}]", "revision 2 is 'failed'",
         NULL},
        {"shop_db_helm.toolkit.fluxcd.io_HelmRelease", "", "deployed",
         "\"lastAttemptedGeneration\":2,\"history\":[{\"version\":1}]", "not made by Flux", NULL},
        {"shop_db_helm.toolkit.fluxcd.io_HelmRelease", "", "deployed",
         "\"lastAttemptedGeneration\":1,\"history\":[{\"version\":2}]", "has not been released",
         NULL},
        {"shop_db_helm.toolkit.fluxcd.io_HelmRelease", ",\"recurseSubmodules\":true", "deployed",
         "\"lastAttemptedGeneration\":2,\"history\":[{\"version\":2}]", "submodules", NULL},
        {"shop_db_helm.toolkit.fluxcd.io_HelmRelease",
         ",\"include\":[{\"repository\":{\"name\":\"y\"}}]", "deployed",
         "\"lastAttemptedGeneration\":2,\"history\":[{\"version\":2}]", "includes", NULL},
        {"shop_db_helm.toolkit.fluxcd.io_HelmRelease", "", "deployed",
         "\"helmChart\":\"flux-system/shop-db\",\"lastAttemptedGeneration\":2,"
         "\"history\":[{\"version\":2,\"chartVersion\":\"1+a\"}]",
         "another version of the chart", "1+b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        server.n = 0;
        secret_list(rows[i].storage);
        if (rows[i].chart)
            serves("GET", "/helmcharts/shop-db", 200,
                   arena_printf(a,
                                "{\"apiVersion\":\"source.toolkit.fluxcd.io/v1\",\"kind\":"
                                "\"HelmChart\",\"metadata\":{\"name\":\"shop-db\",\"namespace\":"
                                "\"flux-system\"},\"status\":{\"artifact\":{\"revision\":\"%s\"}}}",
                                rows[i].chart));
        serves("GET", "/kustomizations/root", 200,
               arena_printf(a,
                            "{\"apiVersion\":\"kustomize.toolkit.fluxcd.io/v1\",\"kind\":"
                            "\"Kustomization\",\"metadata\":{\"name\":\"root\",\"namespace\":"
                            "\"flux-system\",\"uid\":\"u9\"},\"spec\":{\"sourceRef\":{\"kind\":"
                            "\"GitRepository\",\"name\":\"git\"}},\"status\":{\"inventory\":{"
                            "\"entries\":[{\"id\":\"%s\",\"v\":\"v2\"}]},"
                            "\"lastAppliedRevision\":\"main@sha1:" COMMIT_A "\"}}",
                            rows[i].held));
        serves("GET", "/gitrepositories/git", 200,
               arena_printf(a,
                            "{\"apiVersion\":\"source.toolkit.fluxcd.io/v1\",\"kind\":"
                            "\"GitRepository\",\"metadata\":{\"name\":\"git\",\"namespace\":"
                            "\"flux-system\"},\"spec\":{\"url\":\"https://git/x\"%s}}",
                            rows[i].repository));
        serves("GET", HR_PATH, 200,
               helm_release(KS_LABELS,
                            ",\"chart\":{\"spec\":{\"sourceRef\":{\"kind\":\"GitRepository\","
                            "\"name\":\"git\",\"namespace\":\"flux-system\"}}}",
                            rows[i].status));
        const char *got = unproven_reasons(k);
        if (rows[i].want ? !strstr(got, rows[i].want) : *got)
            fail_msg("row %zu: %s", i, got);
    }
}

/* ChartVersion, the default, packages templates once for each version: what runs comes from the
 * commit that was looked at only if chart and release are not older than the source's artifact. */
static void test_flux_chart_of_an_older_commit(void **state)
{
    struct kube *k = *state;
    static const struct {
        const char *strategy, *fetched, *packaged, *released;
        bool proven;
    } rows[] = {
        {"ChartVersion", "01:00", "01:01", "01:02", true},
        {"ChartVersion", "02:00", "01:01", "01:02", false},
        /* packaged again, and no new version that would have been released */
        {"ChartVersion", "02:00", "02:01", "01:02", false},
        {"Revision", "02:00", "01:01", "01:02", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        server.n = 0;
        secret_list("deployed");
        serves("GET", "/helmcharts/shop-db", 200,
               arena_printf(a,
                            "{\"apiVersion\":\"source.toolkit.fluxcd.io/v1\",\"kind\":\"HelmChart\","
                            "\"metadata\":{\"name\":\"shop-db\",\"namespace\":\"flux-system\"},"
                            "\"spec\":{\"reconcileStrategy\":\"%s\"},\"status\":{"
                            "\"observedSourceArtifactRevision\":\"main@sha1:" COMMIT_A "\","
                            "\"artifact\":{\"revision\":\"1.0.0\",\"lastUpdateTime\":"
                            "\"2026-01-01T%s:00Z\"}}}",
                            rows[i].strategy, rows[i].packaged));
        serves("GET", "/kustomizations/root", 200,
               "{\"apiVersion\":\"kustomize.toolkit.fluxcd.io/v1\",\"kind\":\"Kustomization\","
               "\"metadata\":{\"name\":\"root\",\"namespace\":\"flux-system\",\"uid\":\"u9\"},"
               "\"spec\":{\"sourceRef\":{\"kind\":\"GitRepository\",\"name\":\"git\"}},"
               "\"status\":{\"inventory\":{\"entries\":[{\"id\":"
               "\"shop_db_helm.toolkit.fluxcd.io_HelmRelease\",\"v\":\"v2\"}]},"
               "\"lastAppliedRevision\":\"main@sha1:" COMMIT_A "\"}}");
        serves("GET", "/gitrepositories/git", 200,
               arena_printf(a,
                            "{\"apiVersion\":\"source.toolkit.fluxcd.io/v1\",\"kind\":"
                            "\"GitRepository\",\"metadata\":{\"name\":\"git\",\"namespace\":"
                            "\"flux-system\"},\"spec\":{\"url\":\"https://git/x\"},\"status\":"
                            "{\"artifact\":{\"lastUpdateTime\":\"2026-01-01T%s:00Z\"}}}",
                            rows[i].fetched));
        serves("GET", HR_PATH, 200,
               helm_release(KS_LABELS,
                            ",\"chart\":{\"spec\":{\"sourceRef\":{\"kind\":\"GitRepository\","
                            "\"name\":\"git\",\"namespace\":\"flux-system\"}}}",
                            arena_printf(a,
                                         "\"helmChart\":\"flux-system/shop-db\","
                                         "\"lastAttemptedGeneration\":2,\"history\":[{\"version\":2,"
                                         "\"chartVersion\":\"1.0.0\",\"lastDeployed\":"
                                         "\"2026-01-01T%s:00Z\"}]",
                                         rows[i].released)));
        const char *got = unproven_reasons(k);
        if (rows[i].proven ? *got : !strstr(got, "packaged from an earlier commit"))
            fail_msg("row %zu: %s", i, got);
    }
}

/* What a plugin renders, or takes from a URL, no commit proves. */
static void test_argocd_made_elsewhere(void **state)
{
    struct kube *k = *state;
#define REPO(name, rest) "{\"repoURL\":\"https://git/" name "\",\"path\":\".\"" rest "}"
    static const struct {
        const char *spec, *status;
        const char *want; /* in the last source's reason; NULL: there is none */
    } rows[] = {
        {",\"source\":" REPO("x", ""), "\"sourceType\":\"Kustomize\"", NULL},
        {",\"source\":" REPO("x", ""), "\"sourceType\":\"Plugin\"", "plugin"},
        {",\"source\":" REPO("x", ",\"plugin\":{\"name\":\"vault\"}"), "\"x\":1", "plugin"},
        {",\"sources\":[" REPO("x", "") "," REPO("y", "") "]",
         "\"sourceTypes\":[\"Helm\",\"Plugin\"]", "plugin"},
        {",\"sources\":[" REPO("x", "") "," REPO("y", "") "]",
         "\"sourceTypes\":[\"Helm\",\"Directory\"]", NULL},
        {",\"source\":" REPO("x", ",\"helm\":{\"valueFiles\":[\"a.yaml\",\"$ref/b.yaml\"]}"),
         "\"sourceType\":\"Helm\"", NULL},
        {",\"source\":" REPO("x", ",\"helm\":{\"valueFiles\":[\"a.yaml\",\"https://h/b.yaml\"]}"),
         "\"sourceType\":\"Helm\"", "URL"},
        {",\"source\":" REPO("x", ",\"helm\":{\"fileParameters\":[{\"name\":\"f\",\"path\":"
                                  "\"https://h/c\"}]}"),
         "\"sourceType\":\"Helm\"", "URL"},
    };
#undef REPO
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err;
        struct sources s;
        server.n = 0;
        serves("GET", "/namespaces/argocd/secrets", 200, LIST("Secret", ""));
        serves("GET", APP_PATH, 200, application("", rows[i].spec, rows[i].status));
        struct application app = read_app(k, false);
        assert_int_equal(engine_argocd.sources(k, a, &app, &s, &err), 0);
        const char *got = s.at[s.n - 1].unproven;
        if (rows[i].want ? !strstr(got, rows[i].want) : *got)
            fail_msg("row %zu: %s", i, got);
    }
}

static void test_engine_of_kind(void **state)
{
    (void)state;
    const struct engine *e;
    const struct kube_type *t;
    struct err err;
    assert_int_equal(engine_of_kind("Application", &e, &t, &err), 0);
    assert_ptr_equal(e, &engine_argocd);
    assert_int_equal(engine_of_kind("Deployment", &e, &t, &err), -1);
    assert_non_null(strstr(err.msg, "HelmRelease, Kustomization, Application"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_flux_refuses),
        TEST(test_argocd_refuses),
        TEST(test_argocd_parent_replaces),
        TEST(test_flux_hold),
        TEST(test_flux_hold_not_kept),
        TEST(test_flux_quiet),
        TEST(test_flux_resume),
        TEST(test_argocd_hold),
        TEST(test_argocd_quiet),
        TEST(test_argocd_resume),
        TEST(test_argocd_settled_drops_trace),
        TEST(test_argocd_settled_says_to_sync),
        TEST(test_settled_leaves_a_newer_hold),
        TEST(test_argocd_hold_again),
        TEST(test_argocd_clear_refuses_a_sync),
        TEST(test_argocd_applied_revision),
        TEST(test_argocd_made_elsewhere),
        TEST(test_flux_proofs),
        TEST(test_flux_chart_of_an_older_commit),
        TEST(test_engine_of_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
