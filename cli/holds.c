/* gleaner holds: every application that is held and every workload that is stopped; --free gives
 * them back. Works without a controller: what an undo needs stands on the objects themselves. */
#include <stdio.h>

#include "cli/cli.h"
#include "reconciler/holds.h"

struct found {
    struct arena *a;
    VEC(struct held) rows;
};

static int collect(void *ctx, const struct held *h, struct err *err)
{
    (void)err;
    struct found *f = ctx;
    struct held *row = vec_add(&f->rows);
    *row = *h;
    row->ns = arena_strdup(f->a, h->ns);
    row->name = arena_strdup(f->a, h->name);
    row->object_uid = arena_strdup(f->a, h->object_uid);
    row->restore = arena_strdup(f->a, h->restore);
    row->uid = arena_strdup(f->a, h->uid);
    row->state = arena_strdup(f->a, h->state);
    row->phase = arena_strdup(f->a, h->phase);
    return 0;
}

static const char *phase_of(const struct held *h)
{
    return *h->phase ? h->phase : "gone";
}

static void print_table(const struct found *f)
{
    struct cli_table t = {.columns = 6};
    cli_table_row(&t, (const char *[]){"KIND", "NAMESPACE", "NAME", "STATE", "RESTORE", "PHASE"});
    for (size_t i = 0; i < f->rows.n; i++) {
        const struct held *h = &f->rows.p[i];
        cli_table_row(
            &t, (const char *[]){h->type->kind, h->ns, h->name, h->state, h->restore, phase_of(h)});
    }
    cli_table_print(&t);
    cli_table_free(&t);
}

static void print_json(const struct found *f)
{
    json_t *all CLEANUP_JSON = json_array();
    for (size_t i = 0; i < f->rows.n; i++) {
        const struct held *h = &f->rows.p[i];
        json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "kind",
                                             h->type->kind, "namespace", h->ns, "name", h->name,
                                             "state", h->state, "restore", h->restore, "phase",
                                             h->phase, "orphan", h->orphan));
    }
    char *text CLEANUP(free_p) = json_dumps(all, JSON_INDENT(2));
    puts(text ? text : "[]");
}

/* Frees what it may; how many are left. */
static size_t free_all(struct cli_cluster *c, const struct found *f, bool force)
{
    size_t left = 0;
    for (size_t i = 0; i < f->rows.n; i++) {
        const struct held *h = &f->rows.p[i];
        struct err err;
        if (holds_free(c->cx.kube, c->arena, h, force, &err) < 0) {
            (void)cli_fail("holds", &err);
            left++;
        } else {
            printf("%s %s/%s is given back\n", h->type->kind, h->ns, h->name);
        }
    }
    return left;
}

static int run(struct cli_cluster *c, struct found *f, const char *output, bool free_them,
               bool force)
{
    struct err err;
    if (cli_connect(c, &err) < 0)
        return cli_fail("holds", &err);
    f->a = c->arena;
    if (holds_each(c->cx.kube, c->arena, collect, f, &err) < 0)
        return cli_fail("holds", &err);
    if (free_them)
        return free_all(c, f, force) ? CLI_HELD : CLI_OK;
    if (output)
        print_json(f);
    else if (f->rows.n == 0)
        puts("nothing is held");
    else
        print_table(f);
    return f->rows.n ? CLI_HELD : CLI_OK;
}

int cli_holds(int argc, char **argv)
{
    struct cli_cluster c CLEANUP(cli_disconnect) = {0};
    const char *output = NULL;
    bool free_them = false, force = false;
    const struct cli_option options[] = {
        {"output", 'o', "json", "print JSON", &output},
        {"free", 0, NULL, "give back what no Restore is working on", &free_them},
        {"force", 0, NULL, "with --free: also what a Restore is working on", &force},
        CLI_CLUSTER_OPTIONS(&c),
    };
    const struct cli_usage usage = {
        "holds", "",
        "Lists what is held in the whole cluster; the exit code is 4 if something is. A hold in\n"
        "state 'cleared' stands over data that was being replaced: look at the volumes before you\n"
        "free it, because the engine then starts the application on them.",
        options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (first < argc)
        return cli_usage_error(&usage, "%s: no argument is expected", argv[first]);
    if (output && !streq(output, "json"))
        return cli_usage_error(&usage, "-o %s: only json is known", output);
    if (force && !free_them)
        return cli_usage_error(&usage, "--force goes with --free");
    struct found f = {0};
    code = run(&c, &f, output, free_them, force);
    vec_free(&f.rows);
    return code;
}
