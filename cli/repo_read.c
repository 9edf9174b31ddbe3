#include <stdio.h>

#include "cli/repo.h"
#include "core/clock.h"
#include "store/snapshot.h"
#include "store/tree.h"

static const char *join(struct arena *a, const char *const *texts, size_t n)
{
    struct buf b CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? "," : "", texts[i]);
    return arena_strndup(a, b.p ? b.p : "", b.n);
}

static const char *time_text(struct arena *a, struct timespec t)
{
    char *text = arena_alloc(a, CLOCK_RFC3339);
    clock_format((int64_t)t.tv_sec * 1000, text);
    return text;
}

static void print_table(struct arena *a, const struct snapshot_list *list)
{
    struct cli_table table = {.columns = 5};
    cli_table_row(&table, (const char *[]){"ID", "TIME", "HOST", "TAGS", "PATHS"});
    for (size_t i = 0; i < list->n; i++) {
        const struct snapshot *s = &list->p[i];
        char id[STORE_ID_HEX];
        store_id_hex(&s->id, id);
        cli_table_row(&table,
                      (const char *[]){arena_strndup(a, id, 8), time_text(a, s->time), s->hostname,
                                       join(a, s->tags, s->tags_n), join(a, s->paths, s->paths_n)});
    }
    cli_table_print(&table);
    cli_table_free(&table);
}

static json_t *text_array(const char *const *texts, size_t n)
{
    json_t *j = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(j, json_string(texts[i]));
    return j;
}

static void print_json(struct arena *a, const struct snapshot_list *list)
{
    json_t *all CLEANUP_JSON = json_array();
    for (size_t i = 0; i < list->n; i++) {
        const struct snapshot *s = &list->p[i];
        char id[STORE_ID_HEX], tree[STORE_ID_HEX];
        store_id_hex(&s->id, id);
        store_id_hex(&s->tree, tree);
        json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "id", id, "time",
                                             time_text(a, s->time), "tree", tree, "hostname",
                                             s->hostname ? s->hostname : "", "tags",
                                             text_array(s->tags, s->tags_n), "paths",
                                             text_array(s->paths, s->paths_n)));
    }
    char *text CLEANUP(free_p) = json_dumps(all, JSON_INDENT(2));
    puts(text ? text : "[]");
}

int cli_repo_snapshots(int argc, char **argv)
{
    struct repo_place place = {0};
    const char *output = NULL;
    const struct cli_option options[] = {{"output", 'o', "json", "print JSON", &output},
                                         REPO_OPTIONS(&place)};
    const struct cli_usage usage = {"repo snapshots", "", "Lists the snapshots, oldest first.",
                                    options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (first < argc)
        return cli_usage_error(&usage, "%s: no argument is expected", argv[first]);
    if (output && !streq(output, "json"))
        return cli_usage_error(&usage, "-o %s: only json is known", output);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    struct snapshot_list list;
    size_t unreadable = 0;
    struct err err;
    if (repo_open(&s, &place, false, &err) < 0 ||
        snapshot_list_all(s.repo, NULL, a, &list, &unreadable, &err) < 0)
        return cli_fail("repo snapshots", &err);
    if (output)
        print_json(a, &list);
    else
        print_table(a, &list);
    if (!unreadable)
        return CLI_OK;
    fprintf(stderr,
            "%s repo snapshots: %zu snapshot files cannot be read; check the repository with "
            "'restic check'\n",
            cli_program, unreadable);
    return CLI_PARTIAL;
}

static int print_node(void *ctx, const char *path, const struct node *node, struct err *err)
{
    (void)err;
    const char *below = ctx;
    if (node->type == NODE_SYMLINK)
        printf("%s%s -> %.*s\n", below, path, STR_FMT(node->link_target));
    else
        printf("%s%s%s\n", below, path, node->type == NODE_DIR ? "/" : "");
    return TREE_WALK_ON;
}

int cli_repo_ls(int argc, char **argv)
{
    struct repo_place place = {0};
    const struct cli_option options[] = {REPO_OPTIONS(&place)};
    const struct cli_usage usage = {
        "repo ls", "SNAPSHOT [DIRECTORY]",
        "Lists the files of a snapshot: 'latest', an id or the beginning of one.", options,
        ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (argc - first < 1 || argc - first > 2)
        return cli_usage_error(&usage, "give a snapshot, and perhaps a directory in it");
    const char *dir = argc - first == 2 ? argv[first + 1] : "/";
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    struct snapshot snapshot;
    struct store_id tree;
    struct err err;
    if (repo_open(&s, &place, false, &err) < 0 ||
        snapshot_find(s.repo, argv[first], NULL, a, &snapshot, &err) < 0 ||
        repository_load_index(s.repo, &err) < 0 ||
        tree_find_dir(s.repo, &snapshot.tree, dir, &tree, &err) < 0)
        return cli_fail("repo ls", &err);
    char *below = arena_strdup(a, dir);
    for (size_t n = strlen(below); n > 0 && below[n - 1] == '/'; n--)
        below[n - 1] = '\0';
    struct tree_visitor visitor = {.node = print_node, .ctx = below};
    return tree_walk(s.repo, &tree, &visitor, &err) < 0 ? cli_fail("repo ls", &err) : CLI_OK;
}
