/* gleaner repo diff: what changed from one snapshot to another. */
#include <stdio.h>

#include "cli/repo.h"
#include "store/diff.h"
#include "store/gojson.h"

static void print_change(void *ctx, const char *path, const char *modifier)
{
    const struct repo_place *place = ctx;
    if (place->json) {
        struct buf text CLEANUP(buf_free) = {0};
        gojson_string(&text, str_of(path));
        printf("{\"message_type\":\"change\",\"path\":%s,\"modifier\":\"%s\"}\n", text.p, modifier);
    } else if (!place->quiet) {
        printf("%-5s%s\n", modifier, path);
    }
}

static void print_head(const struct snapshot *one, const struct snapshot *two)
{
    char before[STORE_ID_HEX], after[STORE_ID_HEX];
    store_id_hex(&one->id, before);
    store_id_hex(&two->id, after);
    printf("comparing snapshot %.8s to %.8s:\n\n", before, after);
}

static void print_stat_json(const char *name, const struct diff_stat *s)
{
    printf(",\"%s\":{\"files\":%llu,\"dirs\":%llu,\"others\":%llu,\"data_blobs\":%llu,"
           "\"tree_blobs\":%llu,\"bytes\":%llu}",
           name, (unsigned long long)s->files, (unsigned long long)s->dirs,
           (unsigned long long)s->others, (unsigned long long)s->data_blobs,
           (unsigned long long)s->tree_blobs, (unsigned long long)s->bytes);
}

static void print_json(char **names, const struct diff_result *r)
{
    struct buf before CLEANUP(buf_free) = {0}, after CLEANUP(buf_free) = {0};
    gojson_string(&before, str_of(names[0]));
    gojson_string(&after, str_of(names[1]));
    printf("{\"message_type\":\"statistics\",\"source_snapshot\":%s,\"target_snapshot\":%s,"
           "\"changed_files\":%llu",
           before.p, after.p, (unsigned long long)r->changed_files);
    print_stat_json("added", &r->added);
    print_stat_json("removed", &r->removed);
    puts("}");
}

static void print_text(struct arena *a, const struct diff_result *r)
{
    const struct diff_stat *added = &r->added, *removed = &r->removed;
    printf("\nFiles:       %5llu new, %5llu removed, %5llu changed\n",
           (unsigned long long)added->files, (unsigned long long)removed->files,
           (unsigned long long)r->changed_files);
    printf("Dirs:        %5llu new, %5llu removed\n", (unsigned long long)added->dirs,
           (unsigned long long)removed->dirs);
    printf("Others:      %5llu new, %5llu removed\n", (unsigned long long)added->others,
           (unsigned long long)removed->others);
    printf("Data Blobs:  %5llu new, %5llu removed\n", (unsigned long long)added->data_blobs,
           (unsigned long long)removed->data_blobs);
    printf("Tree Blobs:  %5llu new, %5llu removed\n", (unsigned long long)added->tree_blobs,
           (unsigned long long)removed->tree_blobs);
    printf("  Added:   %s\n  Removed: %s\n", repo_size(a, added->bytes),
           repo_size(a, removed->bytes));
}

int cli_repo_diff(int argc, char **argv)
{
    struct repo_place place = {0};
    bool metadata = false;
    const struct cli_option options[] = {
        {"metadata", 0, NULL, "tell changes of metadata too", &metadata}, REPO_OPTIONS(&place)};
    const struct cli_usage usage = {
        "repo diff", "SNAPSHOT[:FOLDER] SNAPSHOT[:FOLDER]",
        "Tells what changed from one snapshot to another: + added, - removed, M content, T type,\n"
        "U metadata, M? content though nothing else (bit rot?).",
        options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (argc - first != 2)
        return cli_usage_error(&usage, "give two snapshots");
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    struct snapshot one, two;
    struct store_id before, after;
    struct diff_result result;
    struct err err;
    if (repo_open(&s, &place, REPO_READ, &err) < 0 ||
        repo_find_tree(&s, NULL, argv[first], a, &one, &before, NULL, &err) < 0 ||
        repo_find_tree(&s, NULL, argv[first + 1], a, &two, &after, NULL, &err) < 0)
        return repo_fail(&s, "repo diff", &err);
    if (!place.json && !place.quiet)
        print_head(&one, &two);
    if (diff_trees(s.repo, &before, &after, metadata, print_change, &place, &result, &err) < 0)
        return repo_fail(&s, "repo diff", &err);
    if (place.json)
        print_json(argv + first, &result);
    else
        print_text(a, &result);
    return CLI_OK;
}
