/* gleaner repo forget: removes snapshots, by a policy or by name. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/repo_prune.h"
#include "core/clock.h"
#include "store/gojson.h"
#include "store/prune.h"
#include "store/retention.h"

struct forgetting {
    struct repo_place place;
    struct repo_filter filter;
    struct repo_pruning pruning;
    struct cli_list keep_tags;
    const char *counts[6], *spans[6]; /* last, hourly... ; within, within-hourly... */
    const char *group_by;
    bool prune, remove_all;
    struct retention_policy policy;
    bool by_host, by_paths, by_tags;

    struct arena *a;
    struct buf json; /* the groups */
    struct store_ids remove;
};

static void forgetting_free(struct forgetting *f)
{
    repo_filter_free(&f->filter);
    vec_free(&f->keep_tags);
    vec_free(&f->remove);
    buf_free(&f->json);
}

/* ---- the policy ---- */

static int parse_policy(struct forgetting *f, struct err *err)
{
    struct retention_policy *p = &f->policy;
    int *const counts[] = {&p->last, &p->hourly, &p->daily, &p->weekly, &p->monthly, &p->yearly};
    struct retention_span *const spans[] = {&p->within,         &p->within_hourly,
                                            &p->within_daily,   &p->within_weekly,
                                            &p->within_monthly, &p->within_yearly};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        if (f->counts[i] && retention_parse_count(str_of(f->counts[i]), counts[i], err) < 0)
            return err_wrap(err, "--keep-...");
        if (f->spans[i] && retention_parse_span(str_of(f->spans[i]), spans[i], err) < 0)
            return err_wrap(err, "--keep-within...");
    }
    p->tags = f->keep_tags.p;
    p->tags_n = f->keep_tags.n;
    return 0;
}

static int parse_groups(struct forgetting *f, struct err *err)
{
    for (str rest = str_of(f->group_by); rest.p;) {
        str word = str_cut(&rest, ',');
        if (str_is(word, "host") || str_is(word, "hosts"))
            f->by_host = true;
        else if (str_is(word, "path") || str_is(word, "paths"))
            f->by_paths = true;
        else if (str_is(word, "tag") || str_is(word, "tags"))
            f->by_tags = true;
        else if (word.n)
            return err_set(err, ERR_INVALID, "--group-by %s: host, paths and tags are known",
                           f->group_by);
    }
    return 0;
}

/* ---- groups ---- */

static int text_cmp(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* A JSON list of the texts, sorted; "null" for none. */
static void add_sorted(struct arena *a, struct buf *out, const char *const *texts, size_t n)
{
    const char **sorted = arena_alloc(a, (n + 1) * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = texts[i];
    if (n)
        qsort(sorted, n, sizeof *sorted, text_cmp);
    buf_puts(out, n ? "[" : "null");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(out, ',');
        gojson_string(out, str_of(sorted[i]));
    }
    if (n)
        buf_putc(out, ']');
}

/* What a snapshot's group is called: the head of its JSON object. */
static const char *group_key(struct forgetting *f, const struct snapshot *s)
{
    struct buf key CLEANUP(buf_free) = {0};
    buf_puts(&key, "{\"tags\":");
    add_sorted(f->a, &key, s->tags, f->by_tags ? s->tags_n : 0);
    buf_puts(&key, ",\"host\":");
    gojson_string(&key, str_of(f->by_host && s->hostname ? s->hostname : ""));
    buf_puts(&key, ",\"paths\":");
    add_sorted(f->a, &key, s->paths, f->by_paths ? s->paths_n : 0);
    return arena_strndup(f->a, key.p, key.n);
}

/* ---- telling ---- */

/* "last snapshot, has tags [a, b]" to a JSON list of its reasons. */
static void add_reasons(struct buf *out, const char *reasons)
{
    unsigned depth = 0;
    const char *start = reasons;
    buf_putc(out, '[');
    for (const char *p = reasons;; p++) {
        depth += *p == '[';
        depth -= *p == ']' && depth;
        if (*p && !(p[0] == ',' && p[1] == ' ' && depth == 0))
            continue;
        gojson_string(out, (str){start, (size_t)(p - start)});
        if (!*p)
            break;
        buf_putc(out, ',');
        start = ++p + 1;
    }
    buf_putc(out, ']');
}

static void add_snapshots(struct buf *out, const char *name, const struct snapshot *list, size_t n,
                          const struct retention_verdict *verdicts, bool keep)
{
    size_t count = 0;
    buf_printf(out, ",\"%s\":", name);
    for (size_t i = n; i-- > 0;)
        if (verdicts[i].keep == keep) {
            buf_putc(out, count++ ? ',' : '[');
            repo_snapshot_json(out, &list[i]);
        }
    buf_puts(out, count ? "]" : "null");
}

static void add_group_json(struct forgetting *f, const char *key, const struct snapshot *list,
                           size_t n, const struct retention_verdict *verdicts)
{
    size_t count = 0;
    buf_printf(&f->json, "%s%s", f->json.n ? "," : "", key);
    add_snapshots(&f->json, "keep", list, n, verdicts, true);
    add_snapshots(&f->json, "remove", list, n, verdicts, false);
    buf_puts(&f->json, ",\"reasons\":");
    for (size_t i = n; i-- > 0;) {
        if (!verdicts[i].keep)
            continue;
        buf_puts(&f->json, count++ ? ",{\"snapshot\":" : "[{\"snapshot\":");
        repo_snapshot_json(&f->json, &list[i]);
        buf_puts(&f->json, ",\"matches\":");
        add_reasons(&f->json, verdicts[i].reason);
        buf_putc(&f->json, '}');
    }
    buf_puts(&f->json, count ? "]}" : "null}");
}

static void print_group(struct forgetting *f, const struct snapshot *list, size_t n,
                        const struct retention_verdict *verdicts)
{
    struct cli_table table = {.columns = 6};
    cli_table_row(&table, (const char *[]){"", "ID", "TIME", "HOST", "PATH", "REASONS"});
    for (size_t i = 0; i < n; i++) {
        const struct snapshot *s = &list[i];
        char hex[STORE_ID_HEX];
        store_id_hex(&s->id, hex);
        cli_table_row(&table, (const char *[]){verdicts[i].keep ? "keep" : "remove",
                                               arena_strndup(f->a, hex, 8),
                                               repo_time(f->a, s->time), s->hostname,
                                               s->paths_n ? s->paths[0] : "", verdicts[i].reason});
    }
    cli_table_print(&table);
    cli_table_free(&table);
}

/* ---- choosing ---- */

static int judge_group(struct forgetting *f, const char *key, const struct snapshot *list, size_t n,
                       struct err *err)
{
    struct retention_verdict *verdicts = arena_alloc(f->a, n * sizeof *verdicts);
    bool empty = retention_policy_is_empty(&f->policy);
    size_t kept = 0;
    int64_t now = clock_wall_ms();
    retention_apply(&f->policy, list, n, (struct timespec){now / 1000, now % 1000 * 1000000}, f->a,
                    verdicts);
    for (size_t i = 0; i < n; i++) {
        if (empty) /* --unsafe-allow-remove-all */
            verdicts[i] = (struct retention_verdict){false, ""};
        kept += verdicts[i].keep;
        if (!verdicts[i].keep)
            *vec_add(&f->remove) = list[i].id;
    }
    if (!empty && kept == 0)
        return err_set(err, ERR_REFUSED,
                       "the policy keeps no snapshot of %s}: the last ones are not removed", key);
    if (f->place.json)
        add_group_json(f, key, list, n, verdicts);
    else if (!f->place.quiet)
        print_group(f, list, n, verdicts);
    return 0;
}

static int judge_all(struct forgetting *f, const struct snapshot_list *list, struct err *err)
{
    const char **keys = arena_alloc(f->a, (list->n + 1) * sizeof *keys);
    struct snapshot *group = arena_alloc(f->a, (list->n + 1) * sizeof *group);
    for (size_t i = 0; i < list->n; i++)
        keys[i] = group_key(f, &list->p[i]);
    for (size_t i = 0; i < list->n; i++) {
        size_t n = 0;
        const char *key = keys[i];
        for (size_t j = i; key && j < list->n; j++) {
            if (!streq(keys[j], key))
                continue;
            group[n++] = list->p[j];
            keys[j] = NULL;
        }
        if (n && judge_group(f, key, group, n, err) < 0)
            return -1;
    }
    return 0;
}

static int choose(struct forgetting *f, struct repo_session *s, char **ids, size_t n,
                  struct err *err)
{
    struct snapshot_list list;
    size_t unreadable = 0;
    if (repo_choose(s, &f->filter, ids, n, f->a, &list, &unreadable, err) < 0)
        return -1;
    if (unreadable)
        fprintf(stderr, "%zu snapshot files cannot be read; they are left alone\n", unreadable);
    if (n == 0)
        return judge_all(f, &list, err);
    for (size_t i = 0; i < list.n; i++)
        *vec_add(&f->remove) = list.p[i].id;
    return 0;
}

static int remove_chosen(struct forgetting *f, struct repo_session *s, struct err *err)
{
    struct lock_options lock = repo_lock_options(s);
    size_t removed = 0;
    int r;
    if (f->pruning.dry_run) {
        if (!f->place.json && !f->place.quiet)
            printf("%zu snapshots would be removed\n", f->remove.n);
        return 0;
    }
    do
        r = forget_snapshots(s->repo, &lock, f->remove.p, f->remove.n, &removed, err);
    while (r < 0 && repo_wait_for_lock(s, err));
    if (!f->place.json && !f->place.quiet)
        printf("%zu snapshots are removed\n", removed);
    return r;
}

/* The groups are all of the JSON: one text. */
static int prune(const struct forgetting *f, struct repo_session *s, struct err *err)
{
    struct repo_place place = f->place;
    place.quiet |= place.json;
    place.json = false;
    return repo_prune(s, &place, &f->pruning, err);
}

static int run(struct forgetting *f, char **ids, size_t n)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repo_session s CLEANUP(repo_close) = {0};
    bool dry = f->pruning.dry_run;
    struct err err;
    f->a = a;
    if (repo_open(&s, &f->place, dry ? REPO_READ : REPO_DELETE, &err) < 0 ||
        choose(f, &s, ids, n, &err) < 0 || remove_chosen(f, &s, &err) < 0)
        return repo_fail(&s, "repo forget", &err);
    if (f->place.json)
        printf("[%s]\n", f->json.p ? f->json.p : "");
    if (f->prune && f->remove.n && dry)
        fprintf(stderr, "--dry-run: prune is left out, it cannot know what would be unused\n");
    else if (f->prune && f->remove.n && prune(f, &s, &err) < 0)
        return repo_fail(&s, "repo forget", &err);
    return s.ignored ? CLI_PARTIAL : CLI_OK;
}

static int check_usage(struct forgetting *f, const struct cli_usage *usage, int ids)
{
    struct err err;
    if (parse_policy(f, &err) < 0 || parse_groups(f, &err) < 0 ||
        repo_prune_check(&f->pruning, &err) < 0)
        return cli_usage_error(usage, "%s", err.msg);
    bool empty = retention_policy_is_empty(&f->policy);
    if (f->place.no_lock && !f->pruning.dry_run)
        return cli_usage_error(usage, "--no-lock goes with --dry-run only");
    if (ids && !empty)
        return cli_usage_error(usage, "give either snapshots or a policy");
    if (ids || !empty)
        return CLI_OK;
    if (!f->remove_all)
        return cli_usage_error(usage, "no policy is given: nothing would be kept");
    if (repo_filter_is_empty(&f->filter))
        return cli_usage_error(usage, "--unsafe-allow-remove-all needs --host, --tag or --path");
    return CLI_OK;
}

int cli_repo_forget(int argc, char **argv)
{
    struct forgetting f CLEANUP(forgetting_free) = {.group_by = "host,paths"};
    const struct cli_option options[] = {
        {"keep-last", 'l', "N", "keep the N newest; unlimited: all", &f.counts[0]},
        {"keep-hourly", 'H', "N", "keep the newest of each of N hours", &f.counts[1]},
        {"keep-daily", 'd', "N", "of each of N days", &f.counts[2]},
        {"keep-weekly", 'w', "N", "of each of N weeks", &f.counts[3]},
        {"keep-monthly", 'm', "N", "of each of N months", &f.counts[4]},
        {"keep-yearly", 'y', "N", "of each of N years", &f.counts[5]},
        {"keep-within", 0, "SPAN", "keep all of the last 1y5m7d2h before the newest", &f.spans[0]},
        {"keep-within-hourly", 0, "SPAN", "hourly ones in this time", &f.spans[1]},
        {"keep-within-daily", 0, "SPAN", "daily ones in this time", &f.spans[2]},
        {"keep-within-weekly", 0, "SPAN", "weekly ones in this time", &f.spans[3]},
        {"keep-within-monthly", 0, "SPAN", "monthly ones in this time", &f.spans[4]},
        {"keep-within-yearly", 0, "SPAN", "yearly ones in this time", &f.spans[5]},
        {"keep-tag", 0, "TAG[,TAG]...", "keep those with all of these tags", &f.keep_tags},
        {"unsafe-allow-remove-all", 0, NULL, "without a policy: remove all that match the filter",
         &f.remove_all},
        {"host", 0, "HOST...", "only snapshots of this host ($RESTIC_HOST; '': of all)",
         &f.filter.hosts},
        {"tag", 0, "TAG[,TAG]...", "only with all of these tags", &f.filter.tags},
        {"path", 0, "PATH...", "only with this path", &f.filter.paths},
        {"group-by", 'g', "WORDS", "apply the policy to each host, paths, tags (host,paths)",
         &f.group_by},
        {"dry-run", 'n', NULL, "tell what would be done, and do nothing", &f.pruning.dry_run},
        {"prune", 0, NULL, "then remove the data that nothing uses", &f.prune},
        {"compact", 'c', NULL, NULL, &f.place.ignored},
        REPO_PRUNE_OPTIONS(&f.pruning),
        REPO_OPTIONS(&f.place)};
    const struct cli_usage usage = {
        "repo forget", "[SNAPSHOT...]",
        "Removes snapshots: those that are named, or those that a policy does not keep. Their data "
        "stays\nuntil prune.",
        options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    code = check_usage(&f, &usage, argc - first);
    return code ? code : run(&f, argv + first, (size_t)(argc - first));
}
