/* The engines from a shell, for tests/e2e/15-engines.sh: gitops_tool VERB KIND NAMESPACE NAME. */
#include <stdio.h>

#include "core/clock.h"
#include "core/codec.h"
#include "gitops/engine.h"
#include "gitops/frame.h"
#include "gitops/git.h"
#include "worker/worker.h"

#include <poll.h>

enum { POLL_MS = 100, PATIENCE_MS = 120000, TOOL_RETRIES = 10 };

struct tool {
    struct kube *k;
    struct arena *a;
    const struct engine *engine;
    struct application app;
};

static int print_entry(void *ctx, const struct book_entry *e, struct err *err)
{
    (void)ctx;
    (void)err;
    printf("%s/%s %s/%s%s%s%s\n", e->group, e->kind, e->ns, e->name,
           e->manifest.p ? " manifest" : "", e->seed ? " seed: " : "", e->seed ? e->seed : "");
    return 0;
}

static int print_application(void *ctx, const struct application *app, struct err *err)
{
    (void)ctx;
    (void)err;
    printf("%s %s/%s content=%s release=%s %s%s: %s\n", app->type->kind, app->object.ns,
           app->object.name, app->content_ns, app->release, app->suspended ? "suspended " : "",
           app->ready ? "ready" : "not ready", app->ready_text);
    return 0;
}

static int print_sources(struct tool *t, struct err *err)
{
    struct sources s;
    if (t->engine->sources(t->k, t->a, &t->app, &s, err) < 0)
        return -1;
    for (size_t i = 0; i < s.n; i++) {
        const struct source *row = &s.at[i];
        enum reachable reachable = REACHABLE_UNKNOWN;
        const char *why = row->unproven;
        struct git_question q = {.url = row->url, .ref = row->ref, .commit = row->commit};
        if (!*why && git_reachable(t->a, worker_program(), &q, &reachable, &why, err) < 0)
            return -1;
        printf("%s %s/%s %s %s %s: %s%s%s\n", row->kind, row->ns, row->name, row->url, row->ref,
               row->revision, reachable_name(reachable), *why ? ": " : "", why);
    }
    return 0;
}

typedef int done_fn(struct kube *k, struct arena *a, const struct application *app, bool *ret,
                    char *why, size_t why_n, struct err *err);

static int await(struct tool *t, done_fn *done, struct err *err)
{
    int64_t start = clock_mono_ms();
    char why[256] = "";
    for (bool is = false; clock_mono_ms() - start < PATIENCE_MS; poll(NULL, 0, POLL_MS)) {
        int r = done(t->k, t->a, &t->app, &is, why, sizeof why, err);
        if (r < 0 && err->kind != ERR_CONFLICT)
            return -1;
        if (r == 0 && is) {
            printf("after %lld ms\n", (long long)(clock_mono_ms() - start));
            return 0;
        }
    }
    return err_set(err, ERR_TIMEOUT, "%s", why);
}

static int hold(struct tool *t, struct err *err)
{
    for (int tries = 0; tries < TOOL_RETRIES; tries++) {
        int r = t->engine->hold(t->k, t->a, &t->app, "test/restore", "11111111-restore", err);
        if (r == 0 || err->kind != ERR_CONFLICT)
            return r;
    }
    return -1;
}

static int run(struct tool *t, const char *verb, struct err *err)
{
    if (streq(verb, "show"))
        return print_application(NULL, &t->app, err);
    if (streq(verb, "books"))
        return t->engine->books(t->k, t->a, &t->app, print_entry, NULL, err);
    if (streq(verb, "sources"))
        return print_sources(t, err);
    if (streq(verb, "parents"))
        return application_parents(t->k, t->a, &t->app, print_application, NULL, err);
    if (streq(verb, "may-hold"))
        return t->engine->may_hold(t->k, t->a, &t->app, err);
    if (streq(verb, "hold"))
        return hold(t, err);
    if (streq(verb, "quiet"))
        return await(t, t->engine->quiet, err);
    if (streq(verb, "mark-cleared"))
        return t->engine->mark_cleared(t->k, t->a, &t->app, err);
    if (streq(verb, "resume"))
        return t->engine->resume(t->k, t->a, &t->app, err);
    if (streq(verb, "settled"))
        return await(t, t->engine->settled, err);
    return err_set(err, ERR_INVALID, "no verb '%s'", verb);
}

int main(int argc, char **argv)
{
    if (argc > 1 && streq(argv[1], "worker"))
        return worker_main(argc - 1, argv + 1);
    struct kube_config *config;
    struct kube *k CLEANUP(kube_free_p) = NULL;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct err err;
    if (kube_config_load(NULL, NULL, &config, &err) < 0 || kube_new(config, &k, &err) < 0)
        goto failed;
    if (argc == 2 && streq(argv[1], "all")) {
        if (applications_each(k, a, print_application, NULL, &err) < 0)
            goto failed;
        return 0;
    }
    const struct kube_type *type;
    struct tool t = {.k = k, .a = a};
    if (argc != 5) {
        fprintf(stderr, "usage: gitops_tool VERB KIND NAMESPACE NAME | gitops_tool all\n");
        return 2;
    }
    if (engine_of_kind(argv[2], &t.engine, &type, &err) < 0 ||
        t.engine->read(k, a, type, argv[3], argv[4], &t.app, &err) < 0 ||
        run(&t, argv[1], &err) < 0)
        goto failed;
    return 0;
failed:
    fprintf(stderr, "%s: %s\n", err_kind_name(err.kind), err.msg);
    return 1;
}
