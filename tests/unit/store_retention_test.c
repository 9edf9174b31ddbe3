/* store: which snapshots a policy keeps. The judge is stock restic, asked for many policies drawn
 * at random over many snapshots at random times; TESTS_RETENTION_POLICIES sets how many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_support.h"

#include "core/json.h"
#include "core/proc.h"
#include "store/gojson.h"
#include "store/retention.h"

/* ---- words ---- */

static void counts_are_numbers_or_unlimited(void **state)
{
    (void)state;
    int n = 7;
    struct err err;
    assert_int_equal(retention_parse_count(STR("3"), &n, &err), 0);
    assert_int_equal(n, 3);
    assert_int_equal(retention_parse_count(STR("0"), &n, &err), 0);
    assert_int_equal(n, 0);
    assert_int_equal(retention_parse_count(STR("unlimited"), &n, &err), 0);
    assert_int_equal(n, RETENTION_ALL);
    static const char *const wrong[] = {"", "-1", "3 ", "+3", "99999999999", "all", "0x3"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(retention_parse_count(str_of(wrong[i]), &n, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
        assert_int_equal(n, RETENTION_ALL);
    }
}

static void spans_are_years_months_days_hours(void **state)
{
    (void)state;
    struct retention_span s = {0};
    struct err err;
    assert_int_equal(retention_parse_span(STR(" 1y5m7d2h\n"), &s, &err), 0);
    assert_true(s.years == 1 && s.months == 5 && s.days == 7 && s.hours == 2);
    assert_int_equal(retention_parse_span(STR("2h3d2h"), &s, &err), 0);
    assert_true(s.years == 0 && s.months == 0 && s.days == 3 && s.hours == 2);
    static const char *const wrong[] = {"", "3", "d", "3w", "-3d", "3d4", "1y 2m", "12345678h"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(retention_parse_span(str_of(wrong[i]), &s, &err), -1);
        assert_int_equal(err.kind, ERR_INVALID);
        assert_int_equal(s.days, 3);
    }
}

/* ---- rules, one by one ---- */

static struct snapshot at(const char *time)
{
    struct snapshot s = {0};
    if (!gojson_parse_zoned_time(str_of(time), &s.time, &s.zone))
        fail_msg("'%s' is not a time", time);
    return s;
}

#define NOW "2100-01-01T00:00:00Z"

/* The reasons of snapshots at these times, oldest first, one for each line. */
static void expect_reasons(const struct retention_policy *p, const char *const (*rows)[2], size_t n)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct snapshot snapshots[16];
    struct retention_verdict verdicts[16];
    assert_true(n <= ARRAY_LEN(snapshots));
    for (size_t i = 0; i < n; i++)
        snapshots[i] = at(rows[i][0]);
    retention_apply(p, snapshots, n, at(NOW).time, a, verdicts);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(verdicts[i].reason, rows[i][1]);
        assert_int_equal(verdicts[i].keep, *rows[i][1] != '\0');
    }
}

#define EXPECT(policy, ...)                                                                        \
    do {                                                                                           \
        static const char *const rows_[][2] = {__VA_ARGS__};                                       \
        expect_reasons(&(struct retention_policy)policy, rows_, ARRAY_LEN(rows_));                 \
    } while (0)
#define P(...)                                                                                     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void an_empty_policy_keeps_all(void **state)
{
    (void)state;
    assert_true(retention_policy_is_empty(&(struct retention_policy){0}));
    assert_false(retention_policy_is_empty(&(struct retention_policy){.last = RETENTION_ALL}));
    assert_false(retention_policy_is_empty(&(struct retention_policy){.within_yearly.hours = 1}));
    EXPECT(P(0), {"2024-01-01T00:00:00Z", "policy is empty"},
           {"2024-01-02T00:00:00Z", "policy is empty"});
}

static void weeks_are_iso_weeks(void **state)
{
    (void)state;
    /* Sunday 2024-12-29 ends a week; Monday 2024-12-30 to Sunday 2025-01-05 is one week. */
    EXPECT(P(.weekly = 2), {"2024-12-23T10:00:00Z", ""},
           {"2024-12-29T23:59:59Z", "weekly snapshot"}, {"2024-12-30T00:00:00Z", ""},
           {"2025-01-05T23:59:59Z", "weekly snapshot"});
    EXPECT(P(.weekly = 3), {"1969-12-22T00:00:00Z", "oldest weekly snapshot"},
           {"1969-12-28T23:00:00Z", "weekly snapshot"}, {"1969-12-29T00:00:00Z", ""},
           {"1970-01-01T00:00:00Z", "weekly snapshot"});
}

static void the_oldest_stays_while_counts_are_left(void **state)
{
    (void)state;
    EXPECT(P(.daily = 5), {"2024-01-01T08:00:00Z", "oldest daily snapshot"},
           {"2024-01-01T09:00:00Z", "daily snapshot"}, {"2024-01-02T09:00:00Z", "daily snapshot"});
    EXPECT(P(.daily = 2), {"2024-01-01T08:00:00Z", ""}, {"2024-01-01T09:00:00Z", "daily snapshot"},
           {"2024-01-02T09:00:00Z", "daily snapshot"});
    EXPECT(P(.within_daily.days = 9), {"2024-01-01T08:00:00Z", "oldest daily within 9d"},
           {"2024-01-01T09:00:00Z", "daily within 9d"},
           {"2024-01-02T09:00:00Z", "daily within 9d"});
}

static void hours_are_those_of_the_snapshots_zone(void **state)
{
    (void)state;
    EXPECT(P(.daily = 2), {"2024-01-01T12:00:00Z", "daily snapshot"},
           {"2024-01-02T00:30:00+02:00", ""}, {"2024-01-02T12:00:00Z", "daily snapshot"});
}

static void spans_count_back_from_the_newest_by_the_calendar(void **state)
{
    (void)state;
    /* A month before 31 March is 31 February, which is 3 March. The end itself is outside. */
    EXPECT(P(.within.months = 1), {"2025-03-03T00:00:00Z", ""},
           {"2025-03-03T00:00:01Z", "within 1m"}, {"2025-03-31T00:00:00Z", "within 1m"});
    EXPECT(P(.within = {1, 0, 2, 3}), {"2024-02-28T21:00:00Z", ""},
           {"2024-02-28T21:00:00.000000001Z", "within 1y2d3h"},
           {"2025-03-02T00:00:00Z", "within 1y2d3h"});
}

/* As in restic: one snapshot of a clock that was wrong must not make all others look old. */
static void spans_do_not_count_from_the_future(void **state)
{
    (void)state;
    EXPECT(P(.within = {.days = 7}, .within_daily = {.days = 8}), {"2099-12-20T12:00:00Z", ""},
           {"2099-12-23T00:00:00Z", "daily within 8d"},
           {"2099-12-30T12:00:00Z", "within 7d, daily within 8d"},
           {"2100-01-01T00:00:00Z", "within 7d, daily within 8d"},
           {"2101-01-01T12:00:00Z", "within 7d, daily within 8d"});
    /* No newest: all are within. */
    EXPECT(P(.within = {.days = 7}), {"2100-01-01T12:00:00Z", "within 7d"},
           {"2101-01-01T12:00:00Z", "within 7d"});
}

static void tags_keep_what_has_all_of_one_list(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    static const char *const lists[] = {"a,b", "c", ""};
    static const char *const ab[] = {"b", "x", "a"}, *const just_a[] = {"a"}, *const c[] = {"c"};
    struct snapshot s[4] = {at("2024-01-01T00:00:00Z"), at("2024-01-02T00:00:00Z"),
                            at("2024-01-03T00:00:00Z"), at("2024-01-04T00:00:00Z")};
    s[0].tags = ab, s[0].tags_n = 3;
    s[1].tags = just_a, s[1].tags_n = 1;
    s[2].tags = c, s[2].tags_n = 1;
    struct retention_verdict v[4];
    retention_apply(&(struct retention_policy){.tags = lists, .tags_n = 3}, s, 4, at(NOW).time, a,
                    v);
    assert_string_equal(v[0].reason, "has tags [a, b]");
    assert_false(v[1].keep);
    assert_string_equal(v[2].reason, "has tags [c]");
    assert_string_equal(v[3].reason, "has tags []");
}

/* ---- against stock restic ---- */

static const char *restic_path = "/usr/bin/restic"; /* or TESTS_RESTIC */

static uint64_t rand_state;

static unsigned rand_below(unsigned n)
{
    uint64_t v;
    fill_splitmix(rand_state++ * 0x9e3779b97f4a7c15u, (uint8_t *)&v, sizeof v);
    return (unsigned)(v % n);
}

/* Times in bursts, so that hours, days and weeks have one or many; some share a second. */
static void write_snapshots(struct repository *repo, size_t n)
{
    static const char *const tags[] = {"", "\"a\"", "\"b\"", "\"a\",\"b\"", "\"c\",\"a\""};
    static const int zones[] = {0, 0, 0, 7200, -19800};
    int64_t t = 1704067200 - 400 * 86400;
    for (size_t i = 0; i < n; i++) {
        static const unsigned steps[] = {1, 60, 3600, 5 * 3600, 86400, 9 * 86400, 40 * 86400};
        struct buf text CLEANUP(buf_free) = {0}, time CLEANUP(buf_free) = {0};
        struct store_id id;
        struct err err;
        t += rand_below(steps[rand_below(ARRAY_LEN(steps))] + 1);
        int zone = zones[rand_below(ARRAY_LEN(zones))];
        gojson_time(&time, (struct timespec){t + zone, (long)rand_below(3) * 123456789});
        buf_printf(&text, "{\"time\":%.*s", (int)time.n - 2, time.p);
        if (zone)
            buf_printf(&text, "%c%02d:%02d", zone < 0 ? '-' : '+', abs(zone) / 3600,
                       abs(zone) / 60 % 60);
        else
            buf_putc(&text, 'Z');
        buf_printf(&text,
                   "\",\"tree\":\"%064zu\",\"paths\":[\"/plan\"],\"hostname\":\"h\",\"tags\":[%s]}",
                   i, tags[rand_below(ARRAY_LEN(tags))]);
        if (repository_save_file(repo, BACKEND_SNAPSHOT, buf_view(&text), &id, &err) < 0)
            fail_msg("%s", err.msg);
    }
}

/* One policy: ours, and restic's words for it. */
struct drawn {
    struct retention_policy policy;
    const char *tags[3];
    const char *argv[64];
    size_t argc;
};

static const char *word(struct drawn *d, struct arena *a, const char *flag, const char *value)
{
    d->argv[d->argc++] = arena_printf(a, "--keep-%s", flag);
    return d->argv[d->argc++] = arena_strdup(a, value);
}

static void draw_count(struct drawn *d, struct arena *a, const char *flag, int *ret)
{
    struct err err;
    if (rand_below(3))
        return;
    const char *text = word(d, a, flag, arena_printf(a, "%u", 1 + rand_below(12)));
    if (retention_parse_count(str_of(text), ret, &err) < 0)
        fail_msg("%s", err.msg);
}

static void draw_span(struct drawn *d, struct arena *a, const char *flag,
                      struct retention_span *ret)
{
    struct err err;
    struct buf text CLEANUP(buf_free) = {0};
    if (rand_below(5))
        return;
    static const struct {
        char unit;
        unsigned below;
    } units[] = {{'y', 2}, {'m', 14}, {'d', 40}, {'h', 50}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (rand_below(2))
            buf_printf(&text, "%u%c", rand_below(units[i].below), units[i].unit);
    if (text.n == 0)
        buf_puts(&text, "1d");
    word(d, a, flag, text.p);
    if (retention_parse_span(buf_view(&text), ret, &err) < 0)
        fail_msg("%s", err.msg);
}

static void draw_policy(struct drawn *d, struct arena *a)
{
    struct retention_policy *p = &d->policy;
    static const char *const lists[] = {"a", "a,b", "c", "b,c", ""};
    do {
        d->argc = 0;
        *p = (struct retention_policy){.tags = d->tags};
        draw_count(d, a, "last", &p->last);
        draw_count(d, a, "hourly", &p->hourly);
        draw_count(d, a, "daily", &p->daily);
        draw_count(d, a, "weekly", &p->weekly);
        draw_count(d, a, "monthly", &p->monthly);
        draw_count(d, a, "yearly", &p->yearly);
        draw_span(d, a, "within", &p->within);
        draw_span(d, a, "within-hourly", &p->within_hourly);
        draw_span(d, a, "within-daily", &p->within_daily);
        draw_span(d, a, "within-weekly", &p->within_weekly);
        draw_span(d, a, "within-monthly", &p->within_monthly);
        draw_span(d, a, "within-yearly", &p->within_yearly);
        while (p->tags_n < 2 && rand_below(5) == 0)
            d->tags[p->tags_n++] = word(d, a, "tag", lists[rand_below(ARRAY_LEN(lists))]);
    } while (retention_policy_is_empty(p));
}

static json_t *run_restic(const struct drawn *d, const char *folder)
{
    const char *argv[96] = {restic_path, "--no-cache", "--no-lock", "-r",         folder,
                            "forget",    "--dry-run",  "--json",    "--group-by", ""};
    static const char *const env[] = {"RESTIC_PASSWORD=p", "TZ=UTC", "HOME=/nonexistent", NULL};
    size_t n = 10;
    struct err err;
    struct proc_result result;
    for (size_t i = 0; i < d->argc; i++)
        argv[n++] = d->argv[i];
    if (proc_run(&(struct proc_request){.argv = argv, .env = env}, &result, &err) < 0)
        fail_msg("%s", err.msg);
    if (result.exit_code != 0)
        fail_msg("restic: %s", result.errors.p);
    json_error_t why;
    json_t *json = json_loadb(result.output.p, result.output.n, 0, &why);
    if (!json)
        fail_msg("restic's answer: %s: %s", why.text, result.output.p);
    proc_result_free(&result);
    return json;
}

/* Reasons as older restics gave them: they had no rule for the oldest snapshot. */
static void as_older(const char *reasons, struct buf *out)
{
    str rest = str_of(reasons);
    while (rest.p && rest.n) {
        bool tags = str_starts(rest, "has tags");
        const char *end = strstr(tags ? strchr(rest.p, ']') : rest.p, ", ");
        str one = {rest.p, end ? (size_t)(end - rest.p) : rest.n};
        rest = end ? str_of(end + 2) : (str){0};
        if (!str_starts(one, "oldest "))
            buf_printf(out, "%s%.*s", out->n ? ", " : "", STR_FMT(one));
    }
}

static char *theirs(const json_t *matches)
{
    struct buf out = {0};
    for (size_t i = 0; i < json_array_size(matches); i++)
        buf_printf(&out, "%s%s", i ? ", " : "", json_string_value(json_array_get(matches, i)));
    return buf_take(&out);
}

/* Compares; counts what only newer restics say. */
static size_t compare(const struct drawn *d, const struct snapshot_list *list,
                      const struct retention_verdict *verdicts, const json_t *answer)
{
    const json_t *group = json_array_get(answer, 0);
    const json_t *keep = json_object_get(group, "keep"),
                 *reasons = json_object_get(group, "reasons");
    size_t next = 0, newer = 0;
    for (size_t i = list->n; i-- > 0;) {
        struct buf older CLEANUP(buf_free) = {0};
        char hex[STORE_ID_HEX], *their CLEANUP(free_p) = NULL;
        store_id_hex(&list->p[i].id, hex);
        const json_t *kept = json_array_get(keep, next);
        if (kept && streq(json_string_value(json_object_get(kept, "id")), hex))
            their = theirs(json_object_get(json_array_get(reasons, next++), "matches"));
        else
            their = xstrdup("");
        if (streq(verdicts[i].reason, their))
            continue;
        if (i == 0)
            as_older(verdicts[i].reason, &older);
        newer++;
        if (streq(older.p ? older.p : "", their))
            continue;
        for (size_t k = 0; k < d->argc; k++)
            print_message("%s ", d->argv[k]);
        fail_msg("snapshot %zu of %zu, %.8s: ours '%s', restic's '%s'", i, list->n, hex,
                 verdicts[i].reason, their);
    }
    assert_int_equal(next, json_array_size(keep));
    return newer;
}

/* restic's own order of snapshots of the same time is that of its listing; ours is by id. */
static void drop_same_times(struct snapshot_list *list, struct backend *b)
{
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        struct err err;
        if (n && memcmp(&list->p[i].time, &list->p[n - 1].time, sizeof list->p[i].time) == 0) {
            if (backend_remove(b, &(struct backend_file){BACKEND_SNAPSHOT, list->p[i].id}, &err) <
                0)
                fail_msg("%s", err.msg);
        } else {
            list->p[n++] = list->p[i];
        }
    }
    list->n = n;
}

static void same_as_restic_for_random_policies(void **state)
{
    (void)state;
    if (getenv("TESTS_RESTIC"))
        restic_path = getenv("TESTS_RESTIC");
    if (access(restic_path, X_OK) != 0)
        fail_msg("this test needs %s", restic_path);
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    char *folder = make_folder();
    struct backend *b CLEANUP(backend_close_p) = NULL;
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    struct repository_key key = cheap_key("p");
    struct snapshot_list list;
    struct err err;
    const char *seed = getenv("TESTS_SEED"), *many = getenv("TESTS_RETENTION_POLICIES");
    rand_state = seed ? strtoull(seed, NULL, 10) : 1;
    if (backend_open_local(folder, &b, &err) < 0 || repository_init(b, &key, 1, NULL, &err) < 0 ||
        repository_open(b, "p", NULL, &repo, &err) < 0)
        fail_msg("%s", err.msg);
    write_snapshots(repo, 150);
    if (snapshot_list_all(repo, NULL, a, &list, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    drop_same_times(&list, b);
    struct retention_verdict *verdicts = arena_alloc(a, list.n * sizeof *verdicts);
    size_t policies = many ? strtoul(many, NULL, 10) : 40, kept = 0, newer = 0;
    for (size_t i = 0; i < policies; i++) {
        struct drawn d = {0};
        draw_policy(&d, a);
        retention_apply(&d.policy, list.p, list.n, at(NOW).time, a, verdicts);
        json_t *answer = run_restic(&d, folder);
        newer += compare(&d, &list, verdicts, answer);
        json_decref(answer);
        for (size_t k = 0; k < list.n; k++)
            kept += verdicts[k].keep;
    }
    print_message("%zu policies over %zu snapshots: %zu kept, %zu reasons as newer restics give\n",
                  policies, list.n, kept, newer);
    assert_true(kept > policies && kept < policies * list.n);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_numbers_or_unlimited),
        cmocka_unit_test(spans_are_years_months_days_hours),
        cmocka_unit_test(an_empty_policy_keeps_all),
        cmocka_unit_test(weeks_are_iso_weeks),
        cmocka_unit_test(the_oldest_stays_while_counts_are_left),
        cmocka_unit_test(hours_are_those_of_the_snapshots_zone),
        cmocka_unit_test(spans_count_back_from_the_newest_by_the_calendar),
        cmocka_unit_test(spans_do_not_count_from_the_future),
        cmocka_unit_test(tags_keep_what_has_all_of_one_list),
        cmocka_unit_test(same_as_restic_for_random_policies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
