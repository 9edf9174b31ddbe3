/* gleaner repo find: which snapshots hold a file, a blob or a tree. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cli/pattern.h"
#include "cli/repo.h"
#include "store/gojson.h"

struct finding {
    struct repo_place place;
    struct repo_filter filter;
    struct cli_list snapshots;
    const char *oldest, *newest;
    bool fold, details, blob, tree, reverse;
    struct timespec from, to; /* of modification; {0}: not asked */
    struct patterns patterns;
    char **ids; /* with blob or tree: what is looked for */
    size_t ids_n;

    struct arena *a;
    const struct snapshot *snapshot; /* the one at hand */
    const char *hex;
    uint64_t hits, snapshots_hit; /* in it; with one at least */
};

/* ---- by name ---- */

static void add_text(struct buf *out, const char *key, str value)
{
    if (value.n == 0)
        return;
    buf_printf(out, ",\"%s\":", key);
    gojson_string(out, value);
}

static void add_number(struct buf *out, const char *key, uint64_t value)
{
    if (value)
        buf_printf(out, ",\"%s\":%llu", key, (unsigned long long)value);
}

static void print_match_json(struct finding *f, const char *path, const struct node *node)
{
    struct buf text CLEANUP(buf_free) = {0};
    char mode[REPO_MODE_TEXT];
    repo_mode(node->mode, mode);
    buf_puts(&text, "{\"path\":");
    gojson_string(&text, str_of(path));
    buf_printf(&text, ",\"permissions\":\"%s\",\"type\":\"%s\"", mode, node_type_name(node->type));
    add_number(&text, "mode", node->mode);
    buf_puts(&text, ",\"mtime\":");
    gojson_time(&text, node->mtime);
    buf_puts(&text, ",\"atime\":");
    gojson_time(&text, node->atime);
    buf_puts(&text, ",\"ctime\":");
    gojson_time(&text, node->ctime);
    buf_printf(&text, ",\"uid\":%u,\"gid\":%u", node->uid, node->gid);
    add_text(&text, "user", node->user);
    add_text(&text, "group", node->group);
    add_number(&text, "inode", node->inode);
    add_number(&text, "device_id", node->device_id);
    add_number(&text, "size", node->size);
    add_number(&text, "links", node->links);
    add_text(&text, "linktarget", node->link_target);
    printf("%s%s}",
           f->hits            ? ","
           : f->snapshots_hit ? ",{\"matches\":["
                              : "{\"matches\":[",
           text.p);
}

static void print_match(struct finding *f, const char *path, const struct node *node)
{
    if (f->place.json) {
        print_match_json(f, path, node);
        return;
    }
    if (f->hits == 0 && !f->place.quiet)
        printf("%sFound matching entries in snapshot %.8s from %s\n", f->snapshots_hit ? "\n" : "",
               f->hex, repo_time(f->a, f->snapshot->time));
    if (f->details) {
        char mode[REPO_MODE_TEXT];
        repo_mode(node->mode, mode);
        printf("%s %5u %5u %6llu %s ", mode, node->uid, node->gid, (unsigned long long)node->size,
               repo_time(f->a, node->mtime));
    }
    puts(path);
}

static bool in_time(const struct finding *f, const struct node *node)
{
    return !(f->oldest && node->mtime.tv_sec < f->from.tv_sec) &&
           !(f->newest && (node->mtime.tv_sec > f->to.tv_sec ||
                           (node->mtime.tv_sec == f->to.tv_sec && node->mtime.tv_nsec > 0)));
}

static int visit_name(void *ctx, const char *path, const struct node *node, struct err *err)
{
    struct finding *f = ctx;
    bool below, matches = patterns_match(&f->patterns, path, &below);
    (void)err;
    if (matches && in_time(f, node)) {
        print_match(f, path, node);
        f->snapshots_hit += f->hits++ == 0;
        return TREE_WALK_ON;
    }
    return below ? TREE_WALK_ON : TREE_WALK_SKIP;
}

/* ---- by id ---- */

static bool is_looked_for(const struct finding *f, const struct store_id *id,
                          char hex[STORE_ID_HEX])
{
    store_id_hex(id, hex);
    for (size_t i = 0; i < f->ids_n; i++)
        if (str_starts(str_of(hex), f->ids[i]))
            return true;
    return false;
}

static void print_object(struct finding *f, const char *kind, const char *hex, const char *path)
{
    if (!f->place.json) {
        printf("Found %s %s\n ... %s %s\n ... in snapshot %.8s (%s)\n", kind, hex,
               streq(kind, "blob") ? "in file" : "path", path, f->hex,
               repo_time(f->a, f->snapshot->time));
        return;
    }
    struct buf text CLEANUP(buf_free) = {0};
    gojson_string(&text, str_of(path));
    buf_printf(&text, ",\"snapshot\":\"%s\",\"time\":", f->hex);
    gojson_time(&text, f->snapshot->time);
    printf("%s{\"object_type\":\"%s\",\"id\":\"%s\",\"path\":%s}", f->snapshots_hit ? "," : "",
           kind, hex, text.p);
}

static int visit_id(void *ctx, const char *path, const struct node *node, struct err *err)
{
    struct finding *f = ctx;
    char hex[STORE_ID_HEX];
    (void)err;
    for (size_t i = 0; f->blob && i < node->content_n; i++)
        if (is_looked_for(f, &node->content[i], hex)) {
            print_object(f, "blob", hex, path);
            f->snapshots_hit++;
        }
    if (f->tree && node->type == NODE_DIR && is_looked_for(f, &node->subtree, hex)) {
        print_object(f, "tree", hex, path);
        f->snapshots_hit++;
    }
    return TREE_WALK_ON;
}

/* ---- the snapshots ---- */

static int search_one(struct finding *f, struct repository *repo, const struct snapshot *s,
                      struct err *err)
{
    const struct tree_visitor visitor = {.node = f->blob || f->tree ? visit_id : visit_name,
                                         .ctx = f};
    char hex[STORE_ID_HEX], tree[STORE_ID_HEX];
    store_id_hex(&s->id, hex);
    f->snapshot = s;
    f->hex = hex;
    f->hits = 0;
    if (f->tree && is_looked_for(f, &s->tree, tree)) {
        print_object(f, "tree", tree, "/");
        f->snapshots_hit++;
    }
    if (tree_walk(repo, &s->tree, &visitor, err) < 0)
        return -1;
    if (f->place.json && f->hits)
        printf("],\"hits\":%llu,\"snapshot\":\"%s\"}", (unsigned long long)f->hits, hex);
    return 0;
}

static int search(struct finding *f)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    struct snapshot_list list;
    size_t unreadable = 0;
    struct err err;
    f->a = a;
    if (repo_open(&s, &f->place, REPO_READ, &err) < 0 ||
        repo_choose(&s, &f->filter, (char **)f->snapshots.p, f->snapshots.n, a, &list, &unreadable,
                    &err) < 0 ||
        repository_load_index(s.repo, &err) < 0)
        return repo_fail(&s, "repo find", &err);
    if (f->place.json)
        putchar('[');
    for (size_t i = 0; i < list.n; i++) {
        const struct snapshot *snapshot = &list.p[f->reverse ? i : list.n - 1 - i];
        if (search_one(f, s.repo, snapshot, &err) < 0)
            return repo_fail(&s, "repo find", &err);
    }
    if (f->place.json)
        puts("]");
    return unreadable || s.ignored ? CLI_PARTIAL : CLI_OK;
}

static void finding_free(struct finding *f)
{
    repo_filter_free(&f->filter);
    vec_free(&f->snapshots);
    patterns_free(&f->patterns);
}

int cli_repo_find(int argc, char **argv)
{
    struct finding f CLEANUP(finding_free) = {0};
    const struct cli_option options[] = {
        {"ignore-case", 'i', NULL, "upper and lower case are the same", &f.fold},
        {"long", 'l', NULL, "with mode, owner, size and time", &f.details},
        {"snapshot", 's', "SNAPSHOT...", "search only this one", &f.snapshots},
        {"oldest", 'O', "TIME", "modified then or later: 2026-01-02, 2026-01-02 15:04", &f.oldest},
        {"newest", 'N', "TIME", "modified then or before", &f.newest},
        {"blob", 0, NULL, "what is looked for are ids of blobs", &f.blob},
        {"tree", 0, NULL, "what is looked for are ids of trees", &f.tree},
        {"reverse", 'R', NULL, "the oldest snapshot first", &f.reverse},
        REPO_FILTER_OPTIONS(&f.filter),
        REPO_OPTIONS(&f.place)};
    const struct cli_usage usage = {"repo find", "PATTERN...",
                                    "Names the snapshots that hold a file or directory, and where.",
                                    options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (first == argc)
        return cli_usage_error(&usage, "give a pattern");
    if ((f.oldest && !repo_parse_time(f.oldest, &f.from)) ||
        (f.newest && !repo_parse_time(f.newest, &f.to)))
        return cli_usage_error(&usage, "a time is such as '2026-01-02 15:04:05'");
    f.ids = argv + first;
    f.ids_n = (size_t)(argc - first);
    struct err err;
    for (int i = first; i < argc; i++) /* restic's find finds all by '', --include nothing */
        if (patterns_add(&f.patterns, "PATTERN", *argv[i] ? argv[i] : "*", f.fold, &err) < 0)
            return repo_fail(&(struct repo_session){.json = f.place.json}, "repo find", &err);
    return search(&f);
}
