/* gleaner repo check: whether a repository is whole. */
#include <stdio.h>

#include "cli/repo.h"
#include "store/check.h"
#include "store/gojson.h"

struct checking {
    struct repo_place place;
    bool pruning_helps; /* there were hints */
};

static void print_finding(void *ctx, const struct check_finding *f)
{
    static const char *const types[] = {
        [CHECK_HINT] = "hint", [CHECK_DAMAGE] = "error", [CHECK_HURT] = "hurt_snapshot"};
    struct checking *c = ctx;
    bool hint = f->severity == CHECK_HINT;
    c->pruning_helps |= hint;
    if (c->place.quiet && hint)
        return;
    if (c->place.json) {
        struct buf text CLEANUP(buf_free) = {0};
        gojson_string(&text, str_of(f->text));
        fprintf(stderr, "{\"message_type\":\"%s\",\"message\":%s}\n", types[f->severity], text.p);
        return;
    }
    progress_clear();
    fprintf(hint ? stdout : stderr, "%s: %s\n", hint ? "hint" : "error", f->text);
}

static json_t *id_list(const struct store_id *ids, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        char hex[STORE_ID_HEX];
        store_id_hex(&ids[i], hex);
        json_array_append_new(list, json_string(hex));
    }
    return list;
}

static void print_json(const struct check_result *r, bool hints)
{
    json_t *broken = r->broken_n ? id_list(r->broken, r->broken_n) : json_null();
    json_t *j CLEANUP_JSON =
        json_pack("{s:s, s:I, s:o, s:b, s:b, s:o, s:I, s:I, s:I}", "message_type", "summary",
                  "num_errors", (json_int_t)r->damages, "broken_packs", broken,
                  "suggest_repair_index", r->index_wrong, "suggest_prune", hints, "hurt_snapshots",
                  id_list(r->hurt, r->hurt_n), "snapshots", (json_int_t)r->snapshots, "packs_read",
                  (json_int_t)r->packs_read, "bytes_read", (json_int_t)r->bytes_read);
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, j);
    puts(text.p);
    if (r->damages)
        fprintf(stderr,
                "{\"message_type\":\"exit_error\",\"code\":%d,\"message\":\"the repository "
                "contains errors\"}\n",
                CLI_FAILED);
}

static void print_text(const struct check_result *r, bool quiet)
{
    if (!quiet)
        printf("%llu snapshots, %llu trees, %llu blobs, %llu packs; %llu packs were read whole "
               "(%llu bytes)\n",
               (unsigned long long)r->snapshots, (unsigned long long)r->trees,
               (unsigned long long)r->blobs, (unsigned long long)r->packs,
               (unsigned long long)r->packs_read, (unsigned long long)r->bytes_read);
    if (r->damages == 0) {
        if (!quiet)
            puts("no errors were found");
        return;
    }
    printf("%llu errors were found; snapshots that cannot be restored whole:%s\n",
           (unsigned long long)r->damages, r->hurt_n ? "" : " none");
    for (size_t i = 0; i < r->hurt_n; i++) {
        char hex[STORE_ID_HEX];
        store_id_hex(&r->hurt[i], hex);
        printf("  %s\n", hex);
    }
}

int cli_repo_check(int argc, char **argv)
{
    struct checking c = {0};
    bool all = false;
    const char *part = NULL;
    const struct cli_option options[] = {{"read-data", 0, NULL, "read and verify every pack", &all},
                                         {"read-data-subset", 0, "PART",
                                          "of the packs: n/t, a percentage, or a size such as 500M",
                                          &part},
                                         REPO_OPTIONS(&c.place)};
    const struct cli_usage usage = {
        "repo check", "",
        "Proves that every snapshot can be restored: index, packs, trees; with --read-data every "
        "byte.\nNames what is damaged and which snapshots it touches; the exit code is 1 then.",
        options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (first < argc)
        return cli_usage_error(&usage, "%s: no argument is expected", argv[first]);
    if (all && part)
        return cli_usage_error(&usage, "give one of --read-data and --read-data-subset");
    struct check_options how = {.finding = print_finding, .progress = progress_show, .ctx = &c};
    struct check_result result = {0};
    struct repo_session s CLEANUP(repo_close) = {0};
    struct err err;
    if (all)
        how.read.what = CHECK_ALL;
    if (part && check_parse_subset(str_of(part), &how.read, &err) < 0)
        return cli_usage_error(&usage, "--read-data-subset: %s", err.msg);
    if (repo_open(&s, &c.place, REPO_READ_EXCLUSIVE, &err) < 0 ||
        check_run(s.repo, &how, &result, &err) < 0)
        return repo_fail(&s, "repo check", &err);
    progress_clear();
    if (c.place.json)
        print_json(&result, c.pruning_helps);
    else
        print_text(&result, c.place.quiet);
    code = result.damages ? CLI_FAILED : CLI_OK;
    check_result_free(&result);
    return code;
}
