/* gleaner repo stats: how much the snapshots hold. */
#include <stdio.h>

#include "cli/repo.h"
#include "store/stats.h"

enum { PERCENT = 100 };

struct ratios {
    double ratio, progress, saving;
};

static struct ratios ratios_of(const struct stats *s)
{
    struct ratios r = {0};
    if (s->compressed)
        r.ratio = (double)s->compressed_plain / (double)s->compressed;
    if (s->plain_size) {
        r.progress = (double)s->compressed_plain / (double)s->plain_size * PERCENT;
        r.saving = (1 - (double)s->size / (double)s->plain_size) * PERCENT;
    }
    return r;
}

static void print_json(const struct stats *s, size_t snapshots)
{
    struct ratios r = ratios_of(s);
    printf("{\"total_size\":%llu", (unsigned long long)s->size);
    if (s->plain_size)
        printf(",\"total_uncompressed_size\":%llu", (unsigned long long)s->plain_size);
    if (r.ratio > 0)
        printf(",\"compression_ratio\":%.17g", r.ratio);
    if (r.progress > 0)
        printf(",\"compression_progress\":%.17g", r.progress);
    if (r.saving > 0 || r.saving < 0)
        printf(",\"compression_space_saving\":%.17g", r.saving);
    if (s->files)
        printf(",\"total_file_count\":%llu", (unsigned long long)s->files);
    if (s->blobs)
        printf(",\"total_blob_count\":%llu", (unsigned long long)s->blobs);
    printf(",\"snapshots_count\":%zu}\n", snapshots);
}

static void print_text(struct arena *a, const char *mode, const struct stats *s, size_t snapshots)
{
    struct ratios r = ratios_of(s);
    printf("Stats in %s mode:\n     Snapshots processed:  %zu\n", mode, snapshots);
    if (s->blobs)
        printf("        Total Blob Count:  %llu\n", (unsigned long long)s->blobs);
    if (s->files)
        printf("        Total File Count:  %llu\n", (unsigned long long)s->files);
    if (s->plain_size)
        printf(" Total Uncompressed Size:  %s\n", repo_size(a, s->plain_size));
    printf("              Total Size:  %s\n", repo_size(a, s->size));
    if (r.progress > 0)
        printf("    Compression Progress:  %.2f%%\n", r.progress);
    if (r.ratio > 0)
        printf("       Compression Ratio:  %.2fx\n", r.ratio);
    if (r.saving > 0)
        printf("Compression Space Saving:  %.2f%%\n", r.saving);
}

static int count(struct repo_session *s, const struct snapshot_list *list, enum stats_mode mode,
                 struct arena *a, struct stats *ret, struct err *err)
{
    struct store_id *trees = arena_alloc(a, (list->n + 1) * sizeof *trees);
    for (size_t i = 0; i < list->n; i++)
        trees[i] = list->p[i].tree;
    return stats_count(s->repo, mode, trees, list->n, ret, err);
}

int cli_repo_stats(int argc, char **argv)
{
    struct repo_place place = {0};
    struct repo_filter filter CLEANUP(repo_filter_free) = {0};
    const char *word = "restore-size";
    enum stats_mode mode;
    const struct cli_option options[] = {
        {"mode", 0, "MODE", "restore-size, files-by-contents, blobs-per-file or raw-data", &word},
        REPO_FILTER_OPTIONS(&filter),
        REPO_OPTIONS(&place)};
    const struct cli_usage usage = {"repo stats", "[SNAPSHOT...]",
                                    "Counts what the snapshots hold; by default all of them.",
                                    options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (!stats_parse_mode(word, &mode))
        return cli_usage_error(&usage, "--mode %s: no such mode", word);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    struct snapshot_list list;
    struct stats stats;
    size_t unreadable = 0;
    struct err err;
    if (repo_open(&s, &place, REPO_READ, &err) < 0 ||
        repo_choose(&s, &filter, argv + first, (size_t)(argc - first), a, &list, &unreadable,
                    &err) < 0 ||
        repository_load_index(s.repo, &err) < 0 || count(&s, &list, mode, a, &stats, &err) < 0)
        return repo_fail(&s, "repo stats", &err);
    if (place.json)
        print_json(&stats, list.n);
    else
        print_text(a, word, &stats, list.n);
    return unreadable || s.ignored ? CLI_PARTIAL : CLI_OK;
}
