/* gleaner get KINDS: our resources, as a table or as JSON. */
#include <stdio.h>

#include "cli/cli.h"

enum { COLUMNS = 7, PATH = 4 };

/* A column is the text at a path, or, at a path of one word, the status of the condition of that
 * name. NAME stands before them, READY and AGE behind. The columns of kubectl (manifests/crd) that
 * mean the same have the same names. */
static const struct view {
    const char *word;
    const struct kube_type *type;
    struct {
        const char *title, *path[PATH];
    } column[COLUMNS];
} views[] = {
    {"backups",
     &KUBE_BACKUP,
     {{"KIND", {"spec", "target", "kind"}},
      {"TARGET-NAMESPACE", {"spec", "target", "namespace"}},
      {"TARGET", {"spec", "target", "name"}},
      {"PHASE", {"status", "phase"}},
      {"SNAPSHOT", {"status", "snapshot"}}}},
    {"restores",
     &KUBE_RESTORE,
     {{"BACKUP", {"spec", "backupRef", "name"}},
      {"KIND", {"status", "target", "kind"}},
      {"TARGET-NAMESPACE", {"status", "target", "namespace"}},
      {"TARGET", {"status", "target", "name"}},
      {"PHASE", {"status", "phase"}}}},
    {"schedules",
     &KUBE_SCHEDULE,
     {{"SCHEDULE", {"spec", "schedule"}},
      {"KIND", {"spec", "template", "target", "kind"}},
      {"TARGET-NAMESPACE", {"spec", "template", "target", "namespace"}},
      {"TARGET", {"spec", "template", "target", "name"}},
      {"LAST", {"status", "lastScheduleTime"}},
      {"NEXT", {"status", "nextScheduleTime"}},
      {"BACKUP", {"status", "lastBackup"}}}},
    {"stores",
     &KUBE_BACKUPSTORE,
     {{"DEFAULT", {"spec", "default"}}, {"PLACE", {"status", "place"}}, {"CHECKED", {"Checked"}}}},
};

struct listing {
    struct arena *a;
    const struct view *view;
    struct cli_table table;
    struct buf items; /* JSON, without the brackets */
};

static const char *cell(struct arena *a, str raw, const char *const path[PATH])
{
    if (!path[1])
        return raw_text(a, kube_condition(raw, path[0]), "status", NULL);
    str v = raw;
    for (size_t i = 0; i < PATH && path[i]; i++)
        v = raw_get(v, path[i]);
    if (!v.p)
        return NULL;
    return *v.p == '"' ? raw_string(a, v).p : arena_str(a, v).p;
}

static size_t column_count(const struct view *v)
{
    size_t n = 0;
    while (n < COLUMNS && v->column[n].title)
        n++;
    return n;
}

static int add(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct listing *l = ctx;
    const char *cells[COLUMNS + 3] = {arena_strdup(l->a, o->name)};
    size_t n = column_count(l->view);
    for (size_t i = 0; i < n; i++)
        cells[i + 1] = cell(l->a, o->raw, l->view->column[i].path);
    cells[n + 1] = cell(l->a, o->raw, (const char *[PATH]){"Ready"});
    cells[n + 2] = cli_age(l->a, raw_text(l->a, o->raw, "metadata", "creationTimestamp", NULL));
    cli_table_row(&l->table, cells);
    if (l->items.n)
        buf_putc(&l->items, ',');
    buf_str(&l->items, o->raw);
    return 0;
}

static void add_titles(struct listing *l)
{
    const char *titles[COLUMNS + 3] = {"NAME"};
    size_t n = column_count(l->view);
    for (size_t i = 0; i < n; i++)
        titles[i + 1] = l->view->column[i].title;
    titles[n + 1] = "READY";
    titles[n + 2] = "AGE";
    l->table.columns = n + 3;
    cli_table_row(&l->table, titles);
}

static const struct view *find_view(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(views); i++) {
        size_t n = strlen(views[i].word);
        if (streq(word, views[i].word) || streq(word, views[i].type->resource) ||
            (strlen(word) == n - 1 && strncmp(word, views[i].word, n - 1) == 0))
            return &views[i];
    }
    return NULL;
}

int cli_get(int argc, char **argv)
{
    struct cli_cluster c CLEANUP(cli_disconnect) = {0};
    const char *output = NULL;
    const struct cli_option options[] = {
        {"output", 'o', "json", "print a JSON list of the whole resources", &output},
        CLI_CLUSTER_OPTIONS(&c),
    };
    const struct cli_usage usage = {"get", "backups|restores|schedules|stores",
                                    "Lists gleaner's resources and how they stand.", options,
                                    ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    const struct view *view = argc - first == 1 ? find_view(argv[first]) : NULL;
    if (!view)
        return cli_usage_error(&usage, "give one of backups, restores, schedules, stores");
    if (output && !streq(output, "json"))
        return cli_usage_error(&usage, "-o %s: only json is known", output);

    struct err err;
    if (cli_connect(&c, &err) < 0)
        return cli_fail("get", &err);
    struct listing l = {.a = c.arena, .view = view};
    add_titles(&l);
    struct kube_list opts = {.ns = view->type->namespaced ? c.cx.ns : NULL};
    int r = kube_list(c.cx.kube, view->type, &opts, add, &l, NULL, &err);
    if (r < 0)
        code = cli_fail("get", &err);
    else if (output)
        printf("{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[%s]}\n",
               l.items.p ? l.items.p : "");
    else
        cli_table_print(&l.table);
    cli_table_free(&l.table);
    buf_free(&l.items);
    return r < 0 ? code : CLI_OK;
}
