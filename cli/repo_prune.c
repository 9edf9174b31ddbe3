/* gleaner repo prune: removes what no snapshot uses. */
#include "cli/repo_prune.h"

#include <stdio.h>
#include <stdlib.h>

#include "store/check.h"
#include "store/prune.h"

enum { PER_PERCENT = 10, ALL_THOUSANDTHS = 1000 };

/* "5%", "0.5%", "0", "unlimited" to thousandths. */
static int parse_unused(const char *text, int *ret, struct err *err)
{
    char *end;
    *ret = 0;
    if (!text)
        return 0;
    double percent = strtod(text, &end);
    if (streq(text, "unlimited"))
        *ret = PRUNE_UNUSED_ANY;
    else if (streq(text, "0") || streq(text, "0%"))
        *ret = PRUNE_UNUSED_NONE;
    else if (end > text && streq(end, "%") && percent > 0 && percent < 100)
        *ret = MAX((int)(percent * PER_PERCENT), 1);
    else
        return err_set(err, ERR_INVALID,
                       "--max-unused %s: give a percentage such as 5%%, 0 or unlimited", text);
    return 0;
}

static int parse_repack(const char *text, uint64_t *ret, struct err *err)
{
    struct check_subset size;
    *ret = 0;
    if (!text)
        return 0;
    if (check_parse_subset(str_of(text), &size, err) < 0 || size.what != CHECK_BYTES)
        return err_set(err, ERR_INVALID, "--max-repack-size %s: give a size such as 500M", text);
    *ret = size.bytes;
    return 0;
}

int repo_prune_check(const struct repo_pruning *p, struct err *err)
{
    int unused;
    uint64_t repack;
    return parse_unused(p->max_unused, &unused, err) < 0 ||
                   parse_repack(p->max_repack, &repack, err) < 0
               ? -1
               : 0;
}

static int show(void *ctx, enum prune_phase phase, uint64_t done, uint64_t total, struct err *err)
{
    static const char *const names[] = {[PRUNE_WALK] = "snapshots",
                                        [PRUNE_COPY] = "bytes copied",
                                        [PRUNE_LOCKED] = "packs and index files"};
    return progress_show(ctx, names[phase], done, total, err);
}

static void print_count(struct arena *a, const char *name, const struct prune_count *c)
{
    printf("%-13s %10llu blobs / %s\n", name, (unsigned long long)c->blobs, repo_size(a, c->bytes));
}

static void print_text(const struct prune_result *r, bool dry)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct prune_count left = {
        r->used.blobs + r->unused.blobs + r->duplicate.blobs - r->removed.blobs,
        r->used.bytes + r->unused.bytes + r->duplicate.bytes - r->removed.bytes};
    print_count(a, "used:", &r->used);
    if (r->duplicate.blobs)
        print_count(a, "duplicates:", &r->duplicate);
    print_count(a, "unused:", &r->unused);
    print_count(a, dry ? "to repack:" : "repacked:", &r->repacked);
    print_count(a, dry ? "this removes:" : "removed:", &r->removed);
    print_count(a, "remaining:", &left);
    printf("packs: %llu; %s %llu repacked, %llu removed, %llu that were in no index (%s)\n",
           (unsigned long long)r->packs_before, dry ? "would be" : "of them",
           (unsigned long long)r->packs_repacked, (unsigned long long)r->packs_removed,
           (unsigned long long)r->packs_unindexed, repo_size(a, r->unindexed_bytes));
    if (!dry)
        printf("the repository was locked for %llu ms\n", (unsigned long long)r->exclusive_ms);
}

static void print_json(const struct prune_result *r, bool dry)
{
    json_t *j CLEANUP_JSON = json_pack(
        "{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "message_type", "summary",
        "dry_run", dry, "used_bytes", (json_int_t)r->used.bytes, "unused_bytes",
        (json_int_t)r->unused.bytes, "duplicate_bytes", (json_int_t)r->duplicate.bytes,
        "repacked_bytes", (json_int_t)r->repacked.bytes, "removed_bytes",
        (json_int_t)r->removed.bytes, "packs_repacked", (json_int_t)r->packs_repacked,
        "packs_removed", (json_int_t)r->packs_removed, "packs_unindexed",
        (json_int_t)r->packs_unindexed, "packs_refused", (json_int_t)r->packs_refused);
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, j);
    puts(text.p);
}

int repo_prune(struct repo_session *s, const struct repo_place *place, const struct repo_pruning *p,
               struct err *err)
{
    struct prune_options options = {
        .lock = repo_lock_options(s), .dry_run = p->dry_run, .progress = show};
    struct prune_result result = {0};
    int r;
    if (parse_unused(p->max_unused, &options.max_unused, err) < 0 ||
        parse_repack(p->max_repack, &options.max_repack, err) < 0)
        return -1;
    do
        r = prune_run(s->repo, &options, &result, err);
    while (r < 0 && repo_wait_for_lock(s, err));
    if (r < 0)
        return -1;
    progress_clear();
    if (result.packs_refused)
        fprintf(stderr, "%llu packs could not be deleted, the next run tries again: %s\n",
                (unsigned long long)result.packs_refused, result.refusal.msg);
    if (place->json)
        print_json(&result, p->dry_run);
    else if (!place->quiet)
        print_text(&result, p->dry_run);
    return 0;
}

int cli_repo_prune(int argc, char **argv)
{
    struct repo_place place = {0};
    struct repo_pruning how = {0};
    const struct cli_option options[] = {
        {"dry-run", 'n', NULL, "tell what would be done, and do nothing", &how.dry_run},
        REPO_PRUNE_OPTIONS(&how),
        REPO_OPTIONS(&place)};
    const struct cli_usage usage = {
        "repo prune", "",
        "Removes data that no snapshot uses. Works beside backups; the repository is locked for "
        "its end\nonly. What is killed leaves the repository whole, and the next run goes on.",
        options, ARRAY_LEN(options)};
    struct err err;
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (first < argc)
        return cli_usage_error(&usage, "%s: no argument is expected", argv[first]);
    if (repo_prune_check(&how, &err) < 0)
        return cli_usage_error(&usage, "%s", err.msg);
    struct repo_session s CLEANUP(repo_close) = {0};
    if (repo_open(&s, &place, how.dry_run && place.no_lock ? REPO_UNLOCKED : REPO_DELETE, &err) <
            0 ||
        repo_prune(&s, &place, &how, &err) < 0)
        return repo_fail(&s, "repo prune", &err);
    return CLI_OK;
}
