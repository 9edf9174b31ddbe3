/* gleaner repo ls */
#include <stdio.h>

#include "cli/repo.h"

struct listing {
    struct arena *a;
    bool json, details, recursive;
    const char *const *dirs; /* as cleaned; none: all */
    size_t dirs_n;
};

static bool is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* restic's rule: what lies directly in a named directory, or anywhere below it with --recursive;
 * the directory itself too. */
static bool is_wanted(const struct listing *l, const char *path)
{
    for (size_t i = 0; i < l->dirs_n; i++) {
        if (!is_below(path, l->dirs[i]))
            continue;
        const char *rest = path + strlen(l->dirs[i]);
        if (l->recursive || !*rest || !strchr(rest + 1, '/'))
            return true;
    }
    return l->dirs_n == 0;
}

/* That something wanted may lie below. */
static bool leads_on(const struct listing *l, const char *path)
{
    for (size_t i = 0; i < l->dirs_n; i++)
        if (is_below(l->dirs[i], path) ||
            (is_below(path, l->dirs[i]) && (l->recursive || streq(path, l->dirs[i]))))
            return true;
    return l->dirs_n == 0;
}

static void print_details(struct arena *a, const char *path, const struct node *node)
{
    char mode[REPO_MODE_TEXT];
    repo_mode(node->mode, mode);
    printf("%s %5u %5u %6llu %s %s", mode, node->uid, node->gid, (unsigned long long)node->size,
           repo_time(a, node->mtime), path);
    if (node->type == NODE_SYMLINK)
        printf(" -> %.*s", STR_FMT(node->link_target));
    putchar('\n');
}

static int print_node(void *ctx, const char *path, const struct node *node, struct err *err)
{
    (void)err;
    const struct listing *l = ctx;
    if (is_wanted(l, path)) {
        if (l->json) {
            struct buf text CLEANUP(buf_free) = {0};
            repo_node_json(&text, path, node);
            printf("%s,\"message_type\":\"node\",\"struct_type\":\"node\"}\n", text.p);
        } else if (l->details) {
            struct arena *a CLEANUP(arena_free_p) = arena_new();
            print_details(a, path, node);
        } else {
            puts(path);
        }
    }
    return node->type == NODE_DIR && !leads_on(l, path) ? TREE_WALK_SKIP : TREE_WALK_ON;
}

static void print_head(const struct listing *l, const struct snapshot *s, bool quiet)
{
    char hex[STORE_ID_HEX];
    struct buf text CLEANUP(buf_free) = {0};
    store_id_hex(&s->id, hex);
    if (l->json) {
        repo_snapshot_json(&text, s);
        text.p[text.n - 1] = '\0';
        printf("%s,\"message_type\":\"snapshot\",\"struct_type\":\"snapshot\"}\n", text.p);
        return;
    }
    for (size_t i = 0; i < s->paths_n; i++)
        buf_printf(&text, "%s%s", i ? " " : "", s->paths[i]);
    if (!quiet)
        printf("snapshot %.8s of [%s] at %s:\n", hex, text.p ? text.p : "",
               repo_time(l->a, s->time));
}

/* Directories below each other need a '/' in front and none behind; the root is none at all. */
static void clean_dirs(struct listing *l, char **dirs, size_t n)
{
    const char **clean = arena_alloc(l->a, (n + 1) * sizeof *clean);
    for (size_t i = 0; i < n; i++) {
        char *dir = arena_printf(l->a, "%s%s", *dirs[i] == '/' ? "" : "/", dirs[i]);
        for (size_t m = strlen(dir); m > 0 && dir[m - 1] == '/'; m--)
            dir[m - 1] = '\0';
        clean[l->dirs_n++] = dir;
    }
    l->dirs = clean;
}

int cli_repo_ls(int argc, char **argv)
{
    struct repo_place place = {0};
    struct repo_filter filter CLEANUP(repo_filter_free) = {0};
    struct listing l = {0};
    const struct cli_option options[] = {
        {"long", 'l', NULL, "with mode, owner, size and time", &l.details},
        {"recursive", 0, NULL, "also what lies deeper in the directories that are named",
         &l.recursive},
        REPO_FILTER_OPTIONS(&filter),
        REPO_OPTIONS(&place)};
    const struct cli_usage usage = {
        "repo ls", "SNAPSHOT[:FOLDER] [DIRECTORY...]",
        "Lists the files of a snapshot: 'latest', an id or the beginning of one. Of a directory "
        "that is\nnamed, what lies in it.",
        options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (first == argc)
        return cli_usage_error(&usage, "give a snapshot, and perhaps directories in it");
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    struct snapshot snapshot;
    struct store_id tree;
    struct err err;
    l.a = a;
    l.json = place.json;
    clean_dirs(&l, argv + first + 1, (size_t)(argc - first - 1));
    if (repo_open(&s, &place, REPO_READ, &err) < 0 ||
        repo_find_tree(&s, &filter, argv[first], a, &snapshot, &tree, NULL, &err) < 0)
        return repo_fail(&s, "repo ls", &err);
    print_head(&l, &snapshot, place.quiet);
    struct tree_visitor visitor = {.node = print_node, .ctx = &l};
    return tree_walk(s.repo, &tree, &visitor, &err) < 0 ? repo_fail(&s, "repo ls", &err) : CLI_OK;
}
