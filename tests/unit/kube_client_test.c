/* kube: the synchronous client against the fake API server, with faults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/json.h"
#include "fake_child.h"
#include "kube/discovery.h"
#include "kube/event.h"

struct world {
    struct fake_child *fake;
    struct kube *k;
    struct arena *a;
    struct err err;
};

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->fake = fake_start(NULL);
    w->k = fake_client(w->fake);
    w->a = arena_new();
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kube_free(w->k);
    arena_free(w->a);
    fake_stop(w->fake);
    free(w);
    return 0;
}

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, w->err.msg);                                                 \
    } while (0)

#define FAILS(call, want)                                                                          \
    do {                                                                                           \
        w->err = (struct err){0};                                                                  \
        assert_int_equal(call, -1);                                                                \
        if (w->err.kind != (want))                                                                 \
            fail_msg("%s: %s: %s", #call, err_kind_name(w->err.kind), w->err.msg);                 \
    } while (0)

static struct kube_object make_map(struct world *w, const char *name)
{
    struct kube_object o;
    char *body = arena_printf(w->a,
                              "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":"
                              "{\"name\":\"%s\"},\"data\":{\"a\":\"1\"}}",
                              name);
    OK(kube_create(w->k, w->a, &KUBE_CONFIGMAP, "default", str_of(body), NULL, &o, &w->err));
    return o;
}

static json_int_t mutating(struct world *w)
{
    json_t *state CLEANUP_JSON = fake_get(w->fake, "state");
    return json_integer_value(json_value_at(state, "mutating", NULL));
}

/* ---- lists ---- */

static int keep_name(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    assert_string_equal(o->kind, "ConfigMap");
    assert_string_equal(o->api_version, "v1");
    assert_true(str_starts(o->raw, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\","));
    buf_printf(ctx, "%s ", o->name);
    return 0;
}

static void make_maps(struct world *w, int n)
{
    for (int i = 0; i < n; i++)
        make_map(w, arena_printf(w->a, "m%02d", i));
}

static void test_list_pages(void **state)
{
    struct world *w = *state;
    struct buf names CLEANUP(buf_free) = {0};
    struct kube_listed listed;
    struct kube_list opts = {.ns = "default", .page = 3};
    make_maps(w, 7);
    OK(kube_list(w->k, &KUBE_CONFIGMAP, &opts, keep_name, &names, &listed, &w->err));
    assert_string_equal(names.p, "m00 m01 m02 m03 m04 m05 m06 ");
    assert_int_equal(listed.count, 7);
    assert_false(listed.inconsistent);
    assert_true(listed.resource_version[0]);
    opts = (struct kube_list){.field_selector = "metadata.name=m03"};
    buf_reset(&names);
    OK(kube_list(w->k, &KUBE_CONFIGMAP, &opts, keep_name, &names, NULL, &w->err));
    assert_string_equal(names.p, "m03 ");
}

struct compacting {
    struct world *w;
    struct buf names;
};

static int compact_at_second(void *ctx, const struct kube_object *o, struct err *err)
{
    struct compacting *c = ctx;
    if (streq(o->name, "m01")) {
        assert_int_equal(kube_delete(c->w->k, &KUBE_CONFIGMAP, "default", "m03", NULL, err), 0);
        fake_post(c->w->fake, "compact", "{}");
    }
    return keep_name(&c->names, o, err);
}

static void test_list_expires(void **state)
{
    struct world *w = *state;
    struct compacting c = {.w = w};
    struct kube_listed listed;
    struct kube_list opts = {.page = 2};
    make_maps(w, 5);
    OK(kube_list(w->k, &KUBE_CONFIGMAP, &opts, compact_at_second, &c, &listed, &w->err));
    assert_string_equal(c.names.p, "m00 m01 m02 m04 ");
    assert_true(listed.inconsistent);
    buf_free(&c.names);
}

static int stop_here(void *ctx, const struct kube_object *o, struct err *err)
{
    ++*(int *)ctx;
    return err_set(err, ERR_REFUSED, "enough at %s", o->name);
}

static void test_list_stopped_and_broken(void **state)
{
    struct world *w = *state;
    struct buf names CLEANUP(buf_free) = {0};
    int n = 0;
    make_maps(w, 20);
    FAILS(kube_list(w->k, &KUBE_CONFIGMAP, NULL, stop_here, &n, NULL, &w->err), ERR_REFUSED);
    assert_string_equal(w->err.msg, "enough at m00");
    assert_int_equal(n, 1);
    /* Half a page: what came is not told twice, and the list is no success. */
    fake_post(w->fake, "faults", "{\"match\":{\"path\":\"/configmaps\"},\"do\":\"truncate\"}");
    FAILS(kube_list(w->k, &KUBE_CONFIGMAP, NULL, keep_name, &names, NULL, &w->err),
          ERR_UNAVAILABLE);
    assert_non_null(strstr(names.p, "m05"));
    assert_null(strstr(strstr(names.p, "m05") + 3, "m05"));
    /* Nothing has come: asked again. */
    fake_post(w->fake, "faults", "{\"match\":{\"path\":\"/configmaps\"},\"do\":\"reset\"}");
    buf_reset(&names);
    OK(kube_list(w->k, &KUBE_CONFIGMAP, NULL, keep_name, &names, NULL, &w->err));
    assert_int_equal(names.n, 20 * 4);
}

/* ---- broken connections, refusals, time ---- */

static void test_get_is_repeated(void **state)
{
    struct world *w = *state;
    struct kube_object o;
    make_map(w, "a");
    fake_post(w->fake, "faults", "{\"match\":{\"method\":\"GET\"},\"do\":\"reset\",\"times\":2}");
    OK(kube_get(w->k, w->a, &KUBE_CONFIGMAP, "default", "a", &o, &w->err));
    fake_post(w->fake, "faults", "{\"match\":{\"method\":\"GET\"},\"do\":\"truncate\"}");
    OK(kube_get(w->k, w->a, &KUBE_CONFIGMAP, "default", "a", &o, &w->err));
    assert_true(str_ends(o.raw, "}"));
    fake_post(w->fake, "faults", "{\"match\":{\"method\":\"GET\"},\"do\":\"reset\",\"times\":9}");
    FAILS(kube_get(w->k, w->a, &KUBE_CONFIGMAP, "default", "a", &o, &w->err), ERR_UNAVAILABLE);
}

static void test_writes_are_not_repeated(void **state)
{
    static const char *const faults[] = {"reset", "resetAfter"};
    struct world *w = *state;
    make_map(w, "a");
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        char body[96];
        struct kube_object o;
        json_int_t before = mutating(w);
        snprintf(body, sizeof body, "{\"match\":{\"mutating\":true},\"do\":\"%s\"}", faults[i]);
        fake_post(w->fake, "faults", body);
        snprintf(body, sizeof body, "{\"data\":{\"%s\":\"1\"}}", faults[i]);
        FAILS(kube_patch(w->k, w->a, &KUBE_CONFIGMAP, "default", "a", KUBE_PATCH_MERGE,
                         str_of(body), NULL, &o, &w->err),
              ERR_UNAVAILABLE);
        assert_int_equal(mutating(w), before + 1);
        OK(kube_get(w->k, w->a, &KUBE_CONFIGMAP, "default", "a", &o, &w->err));
        bool done = raw_at(o.raw, "data", faults[i], NULL).p != NULL;
        assert_int_equal(done, streq(faults[i], "resetAfter"));
    }
    /* A delete with nothing of its own to send, either. */
    json_int_t before = mutating(w);
    fake_post(w->fake, "faults", "{\"match\":{\"method\":\"DELETE\"},\"do\":\"resetAfter\"}");
    FAILS(kube_delete(w->k, &KUBE_CONFIGMAP, "default", "a", NULL, &w->err), ERR_UNAVAILABLE);
    assert_int_equal(mutating(w), before + 1);
}

static void test_busy_is_waited_for(void **state)
{
    struct world *w = *state;
    make_map(w, "a");
    fake_post(
        w->fake, "faults",
        "{\"match\":{\"method\":\"DELETE\"},\"do\":\"status\",\"code\":429,\"retryAfter\":1}");
    OK(kube_delete(w->k, &KUBE_CONFIGMAP, "default", "a", NULL, &w->err));
    fake_post(w->fake, "faults",
              "{\"match\":{\"method\":\"DELETE\"},\"do\":\"status\",\"code\":503}");
    FAILS(kube_delete(w->k, &KUBE_CONFIGMAP, "default", "a", NULL, &w->err), ERR_UNAVAILABLE);
    assert_int_equal(w->err.http, 503);
    assert_string_equal(w->err.msg, "an injected fault");
}

static void test_unauthorized_reads_the_token_again(void **state)
{
    struct world *w = *state;
    struct kube_object o;
    make_map(w, "a");
    fake_post(w->fake, "faults", "{\"do\":\"status\",\"code\":401}");
    OK(kube_get(w->k, w->a, &KUBE_CONFIGMAP, "default", "a", &o, &w->err));
    fake_post(w->fake, "faults", "{\"do\":\"status\",\"code\":401,\"times\":2}");
    FAILS(kube_get(w->k, w->a, &KUBE_CONFIGMAP, "default", "a", &o, &w->err), ERR_UNAUTHORIZED);
}

static void test_deadline(void **state)
{
    struct world *w = *state;
    struct kube_object o;
    make_map(w, "a");
    kube_set_timeout(w->k, 50);
    fake_post(w->fake, "faults", "{\"match\":{\"method\":\"GET\"},\"do\":\"delay\",\"ms\":400}");
    FAILS(kube_get(w->k, w->a, &KUBE_CONFIGMAP, "default", "a", &o, &w->err), ERR_TIMEOUT);
}

static void *cancel_when_paused(void *ctx)
{
    struct world *w = ((void **)ctx)[0];
    atomic_bool *flag = ((void **)ctx)[1];
    json_t *paused CLEANUP_JSON = fake_get(w->fake, "paused");
    assert_true(json_is_true(json_value_at(paused, "paused", NULL)));
    atomic_store(flag, true);
    return NULL;
}

static void test_cancel(void **state)
{
    struct world *w = *state;
    struct kube_object o;
    atomic_bool flag = false;
    pthread_t thread;
    void *both[] = {w, &flag};
    make_map(w, "a");
    kube_cancel_on(w->k, &flag);
    fake_post(w->fake, "faults", "{\"match\":{\"method\":\"GET\"},\"do\":\"pauseBefore\"}");
    assert_int_equal(pthread_create(&thread, NULL, cancel_when_paused, both), 0);
    FAILS(kube_get(w->k, w->a, &KUBE_CONFIGMAP, "default", "a", &o, &w->err), ERR_CANCELLED);
    pthread_join(thread, NULL);
    FAILS(kube_delete(w->k, &KUBE_CONFIGMAP, "default", "a", NULL, &w->err), ERR_CANCELLED);
    fake_post(w->fake, "resume", "{}");
}

static void test_no_server(void **state)
{
    struct world *w = *state;
    struct kube_object o;
    struct fake_child *other = fake_start(NULL);
    struct kube *k = fake_client(other);
    fake_stop(other);
    FAILS(kube_get(k, w->a, &KUBE_CONFIGMAP, "default", "a", &o, &w->err), ERR_UNAVAILABLE);
    assert_non_null(strstr(w->err.msg, "/api/v1/namespaces/default/configmaps/a"));
    kube_free(k);
}

static void test_too_large(void **state)
{
    struct world *w = *state;
    struct buf b CLEANUP(buf_free) = {0};
    struct kube_object o;
    buf_puts(&b, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"big\"},"
                 "\"data\":{\"a\":\"");
    for (int i = 0; i < 9 << 20; i++)
        buf_putc(&b, 'x');
    buf_puts(&b, "\"}}");
    fake_post(w->fake, "objects", b.p);
    FAILS(kube_get(w->k, w->a, &KUBE_CONFIGMAP, "default", "big", &o, &w->err), ERR_TOO_LARGE);
    buf_reset(&b);
    FAILS(kube_list(w->k, &KUBE_CONFIGMAP, NULL, keep_name, &b, NULL, &w->err), ERR_TOO_LARGE);
}

static void *read_often(void *ctx)
{
    struct world *w = ctx;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct err err;
    uintptr_t good = 0;
    for (int i = 0; i < 50; i++) {
        struct kube_object o;
        good += kube_get(w->k, a, &KUBE_CONFIGMAP, "default", "a", &o, &err) == 0;
    }
    return (void *)good;
}

static void test_threads(void **state)
{
    struct world *w = *state;
    pthread_t threads[8];
    make_map(w, "a");
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_often, w), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *good;
        pthread_join(threads[i], &good);
        assert_int_equal((uintptr_t)good, 50);
    }
}

/* ---- writes ---- */

static void test_conflicts(void **state)
{
    struct world *w = *state;
    struct kube_object old = make_map(w, "a"), o;
    const struct kube_type *t = &KUBE_CONFIGMAP;
    FAILS(kube_create(w->k, w->a, t, "default", old.raw, NULL, &o, &w->err), ERR_INVALID);
    FAILS(kube_create(w->k, w->a, t, "default",
                      STR("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
                          "\"a\"}}"),
                      NULL, &o, &w->err),
          ERR_EXISTS);
    FAILS(kube_create(w->k, w->a, t, "none",
                      STR("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
                          "\"a\"}}"),
                      NULL, &o, &w->err),
          ERR_NOT_FOUND);
    OK(kube_patch(w->k, w->a, t, "default", "a", KUBE_PATCH_MERGE, STR("{\"data\":{\"b\":\"2\"}}"),
                  NULL, NULL, &w->err));
    FAILS(kube_replace(w->k, w->a, t, "default", "a", old.raw, NULL, &o, &w->err), ERR_CONFLICT);
    FAILS(kube_patch(w->k, w->a, t, "default", "a", KUBE_PATCH_JSON,
                     STR("[{\"op\":\"test\",\"path\":\"/data/b\",\"value\":\"3\"},"
                         "{\"op\":\"remove\",\"path\":\"/data/b\"}]"),
                     NULL, &o, &w->err),
          ERR_INVALID);
    OK(kube_patch(w->k, w->a, t, "default", "a", KUBE_PATCH_JSON,
                  STR("[{\"op\":\"test\",\"path\":\"/data/b\",\"value\":\"2\"},"
                      "{\"op\":\"remove\",\"path\":\"/data/b\"}]"),
                  &(struct kube_write){.dry_run = true}, &o, &w->err));
    assert_null(raw_at(o.raw, "data", "b", NULL).p);
    OK(kube_get(w->k, w->a, t, "default", "a", &o, &w->err));
    assert_non_null(raw_at(o.raw, "data", "b", NULL).p);
    OK(kube_replace(w->k, w->a, t, "default", "a", o.raw, NULL, &o, &w->err));
}

static void test_delete(void **state)
{
    struct world *w = *state;
    const struct kube_type *t = &KUBE_CONFIGMAP;
    struct kube_object o = make_map(w, "a");
    struct kube_delete with = {.uid = "other", .grace_seconds = -1};
    FAILS(kube_delete(w->k, t, "default", "a", &with, &w->err), ERR_CONFLICT);
    with = (struct kube_delete){.resource_version = "1", .grace_seconds = -1};
    FAILS(kube_delete(w->k, t, "default", "a", &with, &w->err), ERR_CONFLICT);
    with = (struct kube_delete){.uid = o.uid, .dry_run = true, .grace_seconds = 0};
    OK(kube_delete(w->k, t, "default", "a", &with, &w->err));
    OK(kube_patch(w->k, w->a, t, "default", "a", KUBE_PATCH_MERGE,
                  STR("{\"metadata\":{\"finalizers\":[\"x/y\"]}}"), NULL, NULL, &w->err));
    with.dry_run = false;
    OK(kube_delete(w->k, t, "default", "a", &with, &w->err));
    OK(kube_get(w->k, w->a, t, "default", "a", &o, &w->err));
    assert_non_null(raw_at(o.raw, "metadata", "deletionTimestamp", NULL).p);
    OK(kube_patch(w->k, w->a, t, "default", "a", KUBE_PATCH_MERGE,
                  STR("{\"metadata\":{\"finalizers\":null}}"), NULL, NULL, &w->err));
    FAILS(kube_get(w->k, w->a, t, "default", "a", &o, &w->err), ERR_NOT_FOUND);
    FAILS(kube_delete(w->k, t, "default", "a", NULL, &w->err), ERR_NOT_FOUND);
}

static void test_apply_hold_and_resume(void **state)
{
    struct world *w = *state;
    struct kube_object o;
    const struct kube_type *t = &KUBE_HELMRELEASE;
    struct kube_write force = {.force = true};
    fake_post(w->fake, "objects",
              "{\"apiVersion\":\"helm.toolkit.fluxcd.io/v2\",\"kind\":\"HelmRelease\",\"metadata\":"
              "{\"name\":\"shop\",\"namespace\":\"apps\",\"managedFields\":[{\"manager\":\"flux\","
              "\"operation\":\"Apply\",\"apiVersion\":\"helm.toolkit.fluxcd.io/v2\",\"fieldsType\":"
              "\"FieldsV1\",\"fieldsV1\":{\"f:spec\":{\"f:interval\":{},\"f:suspend\":{}}}}]},"
              "\"spec\":{\"interval\":\"10s\",\"suspend\":false}}");
#define HELD(spec)                                                                                 \
    STR("{\"apiVersion\":\"helm.toolkit.fluxcd.io/v2\",\"kind\":\"HelmRelease\",\"metadata\":"     \
        "{\"name\":\"shop\",\"annotations\":{\"a/b\":\"c\"}}," spec "}")
    FAILS(kube_apply(w->k, w->a, t, "apps", "shop", HELD("\"spec\":{\"suspend\":true}"), NULL, &o,
                     &w->err),
          ERR_CONFLICT);
    assert_non_null(strstr(w->err.msg, "conflict with \"flux\""));
    OK(kube_apply(w->k, w->a, t, "apps", "shop", HELD("\"spec\":{\"suspend\":true}"), &force, &o,
                  &w->err));
    assert_true(raw_true(raw_at(o.raw, "spec", "suspend", NULL)));
    assert_string_equal(kube_annotation(w->a, &o, "a/b"), "c");
    const char *held_version = o.resource_version;
    OK(kube_apply(w->k, w->a, t, "apps", "shop", HELD("\"spec\":{\"suspend\":true}"), &force, &o,
                  &w->err));
    assert_string_equal(o.resource_version, held_version); /* nothing new: nothing written */
    FAILS(kube_apply(w->k, w->a, t, "apps", "shop", HELD("\"spec\":{\"values\":[1]}"), &force, &o,
                     &w->err),
          ERR_INVALID);
    assert_non_null(strstr(w->err.msg, "does not implement"));
    OK(kube_apply(w->k, w->a, t, "apps", "shop",
                  STR("{\"apiVersion\":\"helm.toolkit.fluxcd.io/v2\",\"kind\":\"HelmRelease\","
                      "\"metadata\":{\"name\":\"shop\"}}"),
                  &force, &o, &w->err));
    assert_null(raw_at(o.raw, "spec", "suspend", NULL).p);
    assert_null(raw_at(o.raw, "metadata", "annotations", NULL).p);
    assert_null(strstr(raw_at(o.raw, "metadata", "managedFields", NULL).p, "gleaner"));
}

static void test_managers_are_put_back(void **state)
{
    struct world *w = *state;
    struct kube_object o = make_map(w, "a");
    str managed = raw_at(o.raw, "metadata", "managedFields", NULL);
    assert_non_null(strstr(managed.p, "\"manager\":\"gleaner\""));
    OK(kube_patch(w->k, w->a, &KUBE_CONFIGMAP, "default", "a", KUBE_PATCH_MERGE,
                  STR("{\"metadata\":{\"managedFields\":[{\"manager\":\"helm\",\"operation\":"
                      "\"Update\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":"
                      "{\"f:data\":{\"f:a\":{}}}}]}}"),
                  NULL, &o, &w->err));
    assert_null(strstr(o.raw.p, "gleaner"));
    assert_non_null(strstr(o.raw.p, "\"manager\":\"helm\""));
}

static void test_subresources(void **state)
{
    struct world *w = *state;
    struct kube_object o;
    struct kube_write status = {.subresource = "status"}, scale = {.subresource = "scale"};
    const struct kube_type *t = &KUBE_STATEFULSET;
    OK(kube_create(
        w->k, w->a, t, "default",
        STR("{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\",\"metadata\":{\"name\":"
            "\"s\"},\"spec\":{\"replicas\":2},\"status\":{\"replicas\":7}}"),
        NULL, &o, &w->err));
    assert_null(raw_get(o.raw, "status").p);
    OK(kube_patch(w->k, w->a, t, "default", "s", KUBE_PATCH_MERGE,
                  STR("{\"spec\":{\"replicas\":9},\"status\":{\"replicas\":2}}"), &status, &o,
                  &w->err));
    assert_true(str_is(raw_at(o.raw, "spec", "replicas", NULL), "2"));
    assert_true(str_is(raw_at(o.raw, "status", "replicas", NULL), "2"));
    assert_true(str_is(raw_at(o.raw, "metadata", "generation", NULL), "1"));
    OK(kube_patch(w->k, w->a, t, "default", "s", KUBE_PATCH_MERGE,
                  STR("{\"spec\":{\"replicas\":0}}"), &scale, &o, &w->err));
    assert_string_equal(o.kind, "Scale");
    str body;
    OK(kube_get_path(w->k, w->a, kube_path(w->a, t, "default", "s", "scale"), &body, &w->err));
    assert_true(str_is(raw_at(body, "spec", "replicas", NULL), "0"));
    OK(kube_get(w->k, w->a, t, "default", "s", &o, &w->err));
    assert_true(str_is(raw_at(o.raw, "metadata", "generation", NULL), "2"));
}

/* A review has no name, and is nowhere kept. */
static void test_review(void **state)
{
    struct world *w = *state;
    struct kube_object o;
    fake_post(w->fake, "tokens",
              "{\"t\":{\"user\":{\"username\":\"mover\"},\"audiences\":[\"gleaner-gateway\"]}}");
    OK(kube_create(w->k, w->a, &KUBE_TOKENREVIEW, NULL,
                   STR("{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\","
                       "\"spec\":{\"token\":\"t\",\"audiences\":[\"gleaner-gateway\"]}}"),
                   NULL, &o, &w->err));
    assert_true(raw_true(raw_at(o.raw, "status", "authenticated", NULL)));
    OK(kube_create(w->k, w->a, &KUBE_TOKENREVIEW, NULL,
                   STR("{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\","
                       "\"spec\":{\"token\":\"t\",\"audiences\":[\"other\"]}}"),
                   NULL, &o, &w->err));
    assert_false(raw_true(raw_at(o.raw, "status", "authenticated", NULL)));
}

static int count_event(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    str count = raw_at(o->raw, "series", "count", NULL);
    if (!count.p)
        count = STR("1");
    buf_printf(ctx, "%s x%.*s ", raw_text(a, o->raw, "reason", NULL), STR_FMT(count));
    return 0;
}

static void test_events(void **state)
{
    struct world *w = *state;
    struct buf got CLEANUP(buf_free) = {0};
    struct kube_object o = make_map(w, "a");
    struct kube_events *e = kube_events_new(w->k, "gleaner", "pod-1");
    for (int i = 0; i < 3; i++)
        OK(kube_event_emit(e, &o, true, "Held", "Restore", "the same note", &w->err));
    OK(kube_list(w->k, &KUBE_EVENT, NULL, count_event, &got, NULL, &w->err));
    assert_string_equal(got.p, "Held x3 ");
    for (int i = 0; i < 60; i++)
        OK(kube_event_emit(e, &o, false, "Step", "Restore", arena_printf(w->a, "note %d", i),
                           &w->err));
    struct kube_listed listed;
    OK(kube_list(w->k, &KUBE_EVENT, NULL, count_event, &got, &listed, &w->err));
    assert_int_equal(listed.count, 23); /* 25 writes: 3 of them in one series */
    kube_events_free(e);
}

static void test_discovery(void **state)
{
    struct world *w = *state;
    struct kube_discovery *d;
    fake_post(w->fake, "types",
              "{\"group\":\"g.io\",\"version\":\"v1\",\"resource\":\"things\",\"kind\":\"Thing\"}");
    fake_post(w->fake, "types",
              "{\"group\":\"s.io\",\"version\":\"v1\",\"resource\":\"olds\",\"kind\":\"Old\","
              "\"stale\":true}");
    OK(kube_discover(w->k, &d, &w->err));
    const struct kube_type *t = kube_discovery_kind(d, STR("g.io"), NULL, "Thing");
    assert_non_null(t);
    assert_true(t->namespaced);
    assert_int_equal(t->verbs, 63);
    assert_string_equal(kube_discovery_stale(d), "s.io/v1");
    assert_null(kube_discovery_kind(d, STR("s.io"), NULL, "Old"));
    assert_false(kube_discovery_kind(d, STR(""), NULL, "Namespace")->namespaced);
    kube_discovery_free(d);
}

int main(void)
{
#define WITH_FAKE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FAKE(test_list_pages),
        WITH_FAKE(test_list_expires),
        WITH_FAKE(test_list_stopped_and_broken),
        WITH_FAKE(test_get_is_repeated),
        WITH_FAKE(test_writes_are_not_repeated),
        WITH_FAKE(test_busy_is_waited_for),
        WITH_FAKE(test_unauthorized_reads_the_token_again),
        WITH_FAKE(test_deadline),
        WITH_FAKE(test_cancel),
        WITH_FAKE(test_no_server),
        WITH_FAKE(test_too_large),
        WITH_FAKE(test_threads),
        WITH_FAKE(test_conflicts),
        WITH_FAKE(test_delete),
        WITH_FAKE(test_apply_hold_and_resume),
        WITH_FAKE(test_managers_are_put_back),
        WITH_FAKE(test_subresources),
        WITH_FAKE(test_review),
        WITH_FAKE(test_events),
        WITH_FAKE(test_discovery),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
