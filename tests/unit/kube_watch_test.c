/* kube: watches against the fake API server: what they tell, whatever happens to the connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "fake_child.h"
#include "kube/watch.h"

enum { PATIENCE_MS = 20000 };

struct world {
    struct fake_child *fake;
    struct kube *k;
    uv_loop_t loop;
    uv_timer_t patience;
    struct kube_watch *watch;
    struct buf told; /* "A:name M:name D:name d:name S " (d: without text) */
    unsigned failures;
    const char *stop_at; /* stops the watch from within when that is told */
    struct err err;
};

static void out_of_patience(uv_timer_t *t)
{
    struct world *w = t->data;
    fprintf(stderr, "told so far: %s\n", w->told.p ? w->told.p : "");
    abort();
}

static void on_event(void *ctx, enum kube_event event, const struct kube_object *o)
{
    struct world *w = ctx;
    char c = "AMDS"[event];
    if (event == KUBE_SYNCED) {
        assert_null(o);
        buf_puts(&w->told, "S ");
        return;
    }
    if (event == KUBE_DELETED && !o->raw.p)
        c = 'd';
    assert_true(o->uid[0]);
    assert_string_equal(o->kind, "ConfigMap");
    buf_printf(&w->told, "%c:%s ", c, o->name);
    if (streq(w->stop_at, o->name))
        kube_watch_stop(w->watch);
}

static void on_failed(void *ctx, const struct kube_type *t, const struct err *err)
{
    struct world *w = ctx;
    (void)t;
    assert_true(err->kind != ERR_NONE);
    w->failures++;
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->fake = fake_start(NULL);
    w->k = fake_client(w->fake);
    uv_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->patience);
    uv_unref((uv_handle_t *)&w->patience);
    w->patience.data = w;
    *state = w;
    return 0;
}

/* The loop must end by itself: nothing of the watch is left open. */
static int tear_down(void **state)
{
    struct world *w = *state;
    kube_watch_stop(w->stop_at ? NULL : w->watch);
    uv_close((uv_handle_t *)&w->patience, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    kube_free(w->k);
    fake_stop(w->fake);
    buf_free(&w->told);
    free(w);
    return 0;
}

static void start(struct world *w, const struct kube_watch_options *opts)
{
    struct kube_watch_options o = opts ? *opts : (struct kube_watch_options){0};
    o.failed = on_failed;
    assert_int_equal(
        kube_watch_start(&w->loop, w->k, &KUBE_CONFIGMAP, &o, on_event, w, &w->watch, &w->err), 0);
}

static void run_until(struct world *w, const char *told)
{
    uv_timer_start(&w->patience, out_of_patience, PATIENCE_MS, 0);
    while (!w->told.p || !strstr(w->told.p, told))
        uv_run(&w->loop, UV_RUN_ONCE);
    uv_timer_stop(&w->patience);
}

static void put(struct world *w, const char *name, const char *label)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    char *body =
        arena_printf(a,
                     "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
                     "\"%s\",\"labels\":{\"l\":\"%s\"}}}",
                     name, label);
    if (kube_create(w->k, a, &KUBE_CONFIGMAP, "default", str_of(body), NULL, NULL, &w->err) < 0)
        fail_msg("%s", w->err.msg);
}

static void label(struct world *w, const char *name, const char *value)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    char *body = arena_printf(a, "{\"metadata\":{\"labels\":{\"l\":\"%s\"}}}", value);
    if (kube_patch(w->k, a, &KUBE_CONFIGMAP, "default", name, KUBE_PATCH_MERGE, str_of(body), NULL,
                   NULL, &w->err) < 0)
        fail_msg("%s", w->err.msg);
}

static void drop(struct world *w, const char *name)
{
    if (kube_delete(w->k, &KUBE_CONFIGMAP, "default", name, NULL, &w->err) < 0)
        fail_msg("%s", w->err.msg);
}

static void test_list_then_follow(void **state)
{
    struct world *w = *state;
    put(w, "a", "1");
    start(w, NULL);
    run_until(w, "S ");
    assert_string_equal(w->told.p, "A:a S ");
    put(w, "b", "1");
    label(w, "a", "2");
    drop(w, "a");
    put(w, "a", "3");
    run_until(w, "D:a A:a ");
    assert_string_equal(w->told.p, "A:a S A:b M:a D:a A:a ");
    assert_int_equal(w->failures, 0);
}

static void test_selector(void **state)
{
    struct world *w = *state;
    struct kube_watch_options o = {.ns = "default", .label_selector = "l=yes"};
    put(w, "a", "yes");
    put(w, "b", "no");
    start(w, &o);
    run_until(w, "S ");
    label(w, "b", "yes");
    label(w, "a", "no");
    run_until(w, "D:a ");
    assert_string_equal(w->told.p, "A:a S A:b D:a ");
}

static void test_goes_on_after_a_drop(void **state)
{
    struct world *w = *state;
    put(w, "a", "1");
    start(w, NULL);
    run_until(w, "S ");
    put(w, "b", "1");
    run_until(w, "A:b ");
    fake_post(w->fake, "drop-watches", "{}");
    drop(w, "a");
    put(w, "c", "1");
    run_until(w, "A:c ");
    /* With its text: it was followed, not found out by a new list. */
    assert_string_equal(w->told.p, "A:a S A:b D:a A:c ");
}

static void test_gone_lists_again(void **state)
{
    struct world *w = *state;
    put(w, "a", "1");
    put(w, "b", "1");
    start(w, NULL);
    run_until(w, "S ");
    put(w, "c", "1");
    run_until(w, "A:c "); /* the stream stands */
    fake_post(w->fake, "drop-watches", "{}");
    drop(w, "a");
    label(w, "b", "2");
    put(w, "d", "1");
    drop(w, "c");
    put(w, "c", "1");
    fake_post(w->fake, "compact", "{}");
    run_until(w, "d:a ");
    assert_string_equal(w->told.p, "A:a A:b S A:c M:b d:c A:c A:d d:a ");
    put(w, "e", "1");
    run_until(w, "A:e ");
}

static void test_gone_as_a_status(void **state)
{
    struct world *w = *state;
    fake_post(w->fake, "faults", "{\"match\":{\"watch\":true},\"do\":\"status\",\"code\":410}");
    put(w, "a", "1");
    start(w, NULL);
    run_until(w, "S ");
    put(w, "b", "1");
    run_until(w, "A:b ");
    assert_string_equal(w->told.p, "A:a S A:b ");
    assert_int_equal(w->failures, 0);
}

static void test_list_fails_first(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 40; i++) {
        char name[8];
        snprintf(name, sizeof name, "m%02d", i);
        put(w, name, "1");
    }
    fake_post(w->fake, "faults", "{\"match\":{\"method\":\"GET\"},\"do\":\"truncate\"}");
    start(w, NULL);
    run_until(w, "S ");
    assert_int_equal(w->failures, 1);
    const char *at = strstr(w->told.p, "A:m05 ");
    assert_non_null(at);
    assert_null(strstr(at + 1, "A:m05 ")); /* the half list's objects are told once */
    assert_non_null(strstr(w->told.p, "A:m39 S "));
}

static void test_unauthorized_reads_the_token_again(void **state)
{
    struct world *w = *state;
    fake_post(w->fake, "faults", "{\"do\":\"status\",\"code\":401}");
    fake_post(w->fake, "faults", "{\"match\":{\"watch\":true},\"do\":\"status\",\"code\":401}");
    start(w, NULL);
    run_until(w, "S ");
    put(w, "a", "1");
    run_until(w, "A:a ");
    assert_int_equal(w->failures, 0);
}

static void test_resets(void **state)
{
    struct world *w = *state;
    fake_post(w->fake, "faults", "{\"match\":{\"watch\":true},\"do\":\"reset\",\"times\":2}");
    start(w, NULL);
    run_until(w, "S ");
    put(w, "a", "1");
    run_until(w, "A:a ");
    assert_in_range(w->failures, 1, 2); /* libcurl repeats a GET on a kept connection once */
}

static void test_many_pages(void **state)
{
    struct world *w = *state;
    struct buf b CLEANUP(buf_free) = {0};
    buf_putc(&b, '[');
    for (int i = 0; i < 1200; i++)
        buf_printf(&b,
                   "%s{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
                   "\"m%04d\"}}",
                   i ? "," : "", i);
    buf_putc(&b, ']');
    fake_post(w->fake, "objects", b.p);
    start(w, NULL);
    run_until(w, "S ");
    assert_int_equal(w->told.n, 1200 * 8 + 2);
    put(w, "z", "1");
    run_until(w, "A:z ");
}

static void test_not_served(void **state)
{
    struct world *w = *state;
    static const struct kube_type unknown = {.group = "no.io",
                                             .version = "v1",
                                             .resource = "nothings",
                                             .kind = "Nothing",
                                             .namespaced = true};
    struct kube_watch_options o = {.failed = on_failed};
    assert_int_equal(
        kube_watch_start(&w->loop, w->k, &unknown, &o, on_event, w, &w->watch, &w->err), 0);
    run_until(w, "S ");
    assert_int_equal(w->failures, 1);
}

static void test_stop_from_within(void **state)
{
    struct world *w = *state;
    put(w, "a", "1");
    put(w, "b", "1");
    w->stop_at = "a"; /* in the middle of a list */
    start(w, NULL);
    run_until(w, "A:a ");
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_string_equal(w->told.p, "A:a ");
}

static void test_stop_from_a_stream(void **state)
{
    struct world *w = *state;
    start(w, NULL);
    run_until(w, "S ");
    w->stop_at = "a";
    put(w, "a", "1");
    put(w, "b", "1");
    run_until(w, "A:a ");
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_string_equal(w->told.p, "S A:a ");
}

static void test_stop_at_once(void **state)
{
    struct world *w = *state;
    start(w, NULL); /* tear_down stops it before the loop ever ran */
    assert_int_equal(w->told.n, 0);
}

int main(void)
{
#define WITH_FAKE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_FAKE(test_list_then_follow),
        WITH_FAKE(test_selector),
        WITH_FAKE(test_goes_on_after_a_drop),
        WITH_FAKE(test_gone_lists_again),
        WITH_FAKE(test_gone_as_a_status),
        WITH_FAKE(test_list_fails_first),
        WITH_FAKE(test_unauthorized_reads_the_token_again),
        WITH_FAKE(test_resets),
        WITH_FAKE(test_many_pages),
        WITH_FAKE(test_not_served),
        WITH_FAKE(test_stop_from_within),
        WITH_FAKE(test_stop_from_a_stream),
        WITH_FAKE(test_stop_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
