/* gleaner repo snapshots */
#include <stdio.h>

#include "cli/repo.h"

static const char *join(struct arena *a, const char *const *texts, size_t n)
{
    struct buf b CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s%s", i ? "," : "", texts[i]);
    return arena_strndup(a, b.p ? b.p : "", b.n);
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
                      (const char *[]){arena_strndup(a, id, 8), repo_time(a, s->time), s->hostname,
                                       join(a, s->tags, s->tags_n), join(a, s->paths, s->paths_n)});
    }
    cli_table_print(&table);
    cli_table_free(&table);
    printf("%zu snapshots\n", list->n);
}

static void print_json(const struct snapshot_list *list)
{
    struct buf text CLEANUP(buf_free) = {0};
    buf_putc(&text, '[');
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            buf_putc(&text, ',');
        repo_snapshot_json(&text, &list->p[i]);
    }
    buf_putc(&text, ']');
    puts(text.p);
}

/* The newest `most` of each host and set of paths, as restic's --latest; the list stays in order.
 */
static void keep_latest(struct snapshot_list *list, uint64_t most)
{
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        const struct snapshot *s = &list->p[i];
        uint64_t newer = 0;
        for (size_t j = i + 1; j < list->n; j++) {
            const struct snapshot *t = &list->p[j];
            bool same = s->paths_n == t->paths_n &&
                        streq(s->hostname ? s->hostname : "", t->hostname ? t->hostname : "");
            for (size_t k = 0; same && k < s->paths_n; k++)
                same = streq(s->paths[k], t->paths[k]);
            newer += same;
        }
        if (newer < most)
            list->p[n++] = *s;
    }
    list->n = n;
}

int cli_repo_snapshots(int argc, char **argv)
{
    struct repo_place place = {0};
    struct repo_filter filter CLEANUP(repo_filter_free) = {0};
    const char *latest = NULL;
    const struct cli_option options[] = {
        {"latest", 0, "N", "only the newest N of each host and set of paths", &latest},
        REPO_FILTER_OPTIONS(&filter),
        REPO_OPTIONS(&place)};
    const struct cli_usage usage = {"repo snapshots", "[SNAPSHOT...]",
                                    "Lists the snapshots, oldest first.", options,
                                    ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    uint64_t most = 0;
    if (latest && (!str_u64(str_of(latest), &most) || most == 0))
        return cli_usage_error(&usage, "--latest %s: give a number above 0", latest);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    struct snapshot_list list;
    size_t unreadable = 0;
    struct err err;
    if (repo_open(&s, &place, REPO_READ, &err) < 0 ||
        repo_choose(&s, &filter, argv + first, (size_t)(argc - first), a, &list, &unreadable,
                    &err) < 0)
        return repo_fail(&s, "repo snapshots", &err);
    if (most)
        keep_latest(&list, most);
    if (place.json)
        print_json(&list);
    else
        print_table(a, &list);
    if (unreadable)
        fprintf(stderr,
                "%s repo snapshots: %zu snapshot files cannot be read; '%s repo check' says more\n",
                cli_program, unreadable, cli_program);
    return unreadable || s.ignored ? CLI_PARTIAL : CLI_OK;
}
