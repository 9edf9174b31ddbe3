#include "store/retention.h"

#include "store/gojson.h"

#include <limits.h>

/* ---- words ---- */

static bool span_is_zero(const struct retention_span *s)
{
    return !s->years && !s->months && !s->days && !s->hours;
}

bool retention_policy_is_empty(const struct retention_policy *p)
{
    return !p->last && !p->hourly && !p->daily && !p->weekly && !p->monthly && !p->yearly &&
           span_is_zero(&p->within) && span_is_zero(&p->within_hourly) &&
           span_is_zero(&p->within_daily) && span_is_zero(&p->within_weekly) &&
           span_is_zero(&p->within_monthly) && span_is_zero(&p->within_yearly) && p->tags_n == 0;
}

int retention_parse_count(str text, int *ret, struct err *err)
{
    uint64_t n;
    if (str_is(text, "unlimited")) {
        *ret = RETENTION_ALL;
        return 0;
    }
    if (!str_u64(text, &n) || n > INT_MAX)
        return err_set(err, ERR_INVALID,
                       "'%.*s' is no count of snapshots: give a number, or 'unlimited'",
                       (int)MIN(text.n, 100u), text.p ? text.p : "");
    *ret = (int)n;
    return 0;
}

static int *unit_of(struct retention_span *s, char unit)
{
    switch (unit) {
    case 'y':
        return &s->years;
    case 'm':
        return &s->months;
    case 'd':
        return &s->days;
    case 'h':
        return &s->hours;
    default:
        return NULL;
    }
}

int retention_parse_span(str text, struct retention_span *ret, struct err *err)
{
    struct retention_span s = {0};
    str rest = str_trim(text);
    bool ok = rest.n > 0;
    while (ok && rest.n) {
        size_t digits = 0;
        uint64_t n = 0;
        while (digits < rest.n && rest.p[digits] >= '0' && rest.p[digits] <= '9')
            digits++;
        int *unit = digits < rest.n ? unit_of(&s, rest.p[digits]) : NULL;
        ok = unit && digits <= 7 && str_u64((str){rest.p, digits}, &n);
        if (ok)
            *unit = (int)n;
        rest.p += digits + 1, rest.n -= MIN(rest.n, digits + 1);
    }
    if (!ok)
        return err_set(err, ERR_INVALID,
                       "'%.*s' is no span of time: give years, months, days, hours as in 1y2m3d4h",
                       (int)MIN(text.n, 100u), text.p ? text.p : "");
    *ret = s;
    return 0;
}

static void add_span(struct buf *out, const struct retention_span *s)
{
    const int values[] = {s->years, s->months, s->days, s->hours};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (values[i])
            buf_printf(out, "%d%c", values[i], "ymdh"[i]);
}

/* ---- time ---- */

/* The clock on the wall where the snapshot was made: restic sorts into hours and days by it. */
struct local {
    int64_t days; /* since 1970-01-01 */
    int64_t second;
    int64_t year;
    unsigned month, day;
};

static struct local local_of(const struct snapshot *s)
{
    struct local l;
    int64_t t = (int64_t)s->time.tv_sec + s->zone;
    l.days = t / 86400;
    l.second = t % 86400;
    if (l.second < 0) {
        l.second += 86400;
        l.days--;
    }
    gojson_date_from_days(l.days, &l.year, &l.month, &l.day);
    return l;
}

/* The moment a span before the snapshot. The calendar part as Go's Time.AddDate: a day that the
 * month does not have is one of the next month. */
static struct timespec span_before(const struct snapshot *s, const struct retention_span *span)
{
    struct local l = local_of(s);
    int64_t months = l.year * 12 + (int64_t)l.month - 1 - (int64_t)span->years * 12 - span->months;
    int64_t year = months / 12, month = months % 12;
    if (month < 0) {
        month += 12;
        year--;
    }
    int64_t days =
        gojson_days_from_date(year, (unsigned)month + 1, 1) + (int64_t)l.day - 1 - span->days;
    return (struct timespec){
        (time_t)(days * 86400 + l.second - s->zone - (int64_t)span->hours * 3600), s->time.tv_nsec};
}

static bool is_after(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* ---- buckets: snapshots of the same hour, day, ... have the same number ---- */

enum period { ALWAYS, HOUR, DAY, WEEK, MONTH, YEAR };

static int64_t bucket_of(enum period period, const struct local *l, size_t number)
{
    switch (period) {
    case ALWAYS:
        return (int64_t)number;
    case HOUR:
        return l->days * 24 + l->second / 3600;
    case DAY:
        return l->days;
    case WEEK: /* ISO: Monday to Sunday, which is the same as week and year by its Thursday */
        return l->days + 3 >= 0 ? (l->days + 3) / 7 : -((6 - (l->days + 3)) / 7);
    case MONTH:
        return l->year * 12 + (int64_t)l->month;
    case YEAR:
        return l->year;
    }
    return 0;
}

#define NO_BUCKET INT64_MIN

struct count_rule {
    const char *reason;
    enum period period;
    int left; /* or RETENTION_ALL */
    int64_t last;
};

struct span_rule {
    const char *reason;
    enum period period;
    const struct retention_span *span;
    struct timespec from;
    int64_t last;
};

struct rules {
    const struct retention_policy *policy;
    struct timespec within_from;
    struct count_rule counts[6];
    struct span_rule spans[5];
};

/* newest: NULL if there is none that spans could count back from. */
static struct timespec from_of(const struct snapshot *newest, const struct retention_span *span)
{
    return newest ? span_before(newest, span) : (struct timespec){INT64_MIN, 0};
}

static void begin(struct rules *r, const struct retention_policy *p, const struct snapshot *newest)
{
    *r = (struct rules){.policy = p,
                        .within_from = from_of(newest, &p->within),
                        .counts = {{"last snapshot", ALWAYS, p->last, NO_BUCKET},
                                   {"hourly snapshot", HOUR, p->hourly, NO_BUCKET},
                                   {"daily snapshot", DAY, p->daily, NO_BUCKET},
                                   {"weekly snapshot", WEEK, p->weekly, NO_BUCKET},
                                   {"monthly snapshot", MONTH, p->monthly, NO_BUCKET},
                                   {"yearly snapshot", YEAR, p->yearly, NO_BUCKET}},
                        .spans = {{"hourly within", HOUR, &p->within_hourly, {0}, NO_BUCKET},
                                  {"daily within", DAY, &p->within_daily, {0}, NO_BUCKET},
                                  {"weekly within", WEEK, &p->within_weekly, {0}, NO_BUCKET},
                                  {"monthly within", MONTH, &p->within_monthly, {0}, NO_BUCKET},
                                  {"yearly within", YEAR, &p->within_yearly, {0}, NO_BUCKET}}};
    for (size_t i = 0; i < ARRAY_LEN(r->spans); i++)
        r->spans[i].from = from_of(newest, r->spans[i].span);
}

static void begin_reason(struct buf *reasons)
{
    if (reasons->n)
        buf_puts(reasons, ", ");
}

/* "a,b": all of them; an empty tag stands for no tags at all. */
static void apply_tags(const struct snapshot *s, const char *tags, struct buf *reasons)
{
    struct buf words CLEANUP(buf_free) = {0};
    str rest = str_of(tags);
    bool all = true, none = false;
    do {
        str tag = str_trim(str_cut(&rest, ','));
        bool has = false;
        for (size_t i = 0; i < s->tags_n; i++)
            has = has || str_is(tag, s->tags[i]);
        none = none || (tag.n == 0 && s->tags_n == 0 && all);
        all = all && has;
        buf_printf(&words, "%s%.*s", words.n ? ", " : "", STR_FMT(tag));
    } while (rest.p);
    if (!all && !none)
        return;
    begin_reason(reasons);
    buf_printf(reasons, "has tags [%s]", words.p ? words.p : "");
}

static void apply_counts(struct rules *r, const struct local *l, size_t number, bool oldest,
                         struct buf *reasons)
{
    for (size_t i = 0; i < ARRAY_LEN(r->counts); i++) {
        struct count_rule *c = &r->counts[i];
        if (c->left == 0)
            continue;
        int64_t bucket = bucket_of(c->period, l, number);
        if (bucket == c->last && !oldest)
            continue;
        begin_reason(reasons);
        buf_printf(reasons, "%s%s", bucket == c->last ? "oldest " : "", c->reason);
        c->last = bucket;
        if (c->left > 0)
            c->left--;
    }
}

static void apply_spans(struct rules *r, const struct snapshot *s, const struct local *l,
                        bool oldest, struct buf *reasons)
{
    for (size_t i = 0; i < ARRAY_LEN(r->spans); i++) {
        struct span_rule *w = &r->spans[i];
        if (span_is_zero(w->span) || !is_after(&s->time, &w->from))
            continue;
        int64_t bucket = bucket_of(w->period, l, 0);
        if (bucket == w->last && !oldest)
            continue;
        begin_reason(reasons);
        buf_printf(reasons, "%s%s ", bucket == w->last ? "oldest " : "", w->reason);
        add_span(reasons, w->span);
        w->last = bucket;
    }
}

/* number counts from the newest. The reasons come in restic's order. */
static void judge(struct rules *r, const struct snapshot *s, size_t number, bool oldest,
                  struct buf *reasons)
{
    const struct retention_policy *p = r->policy;
    struct local l = local_of(s);
    for (size_t i = 0; i < p->tags_n; i++)
        apply_tags(s, p->tags[i], reasons);
    if (!span_is_zero(&p->within) && is_after(&s->time, &r->within_from)) {
        begin_reason(reasons);
        buf_puts(reasons, "within ");
        add_span(reasons, &p->within);
    }
    apply_counts(r, &l, number, oldest, reasons);
    apply_spans(r, s, &l, oldest, reasons);
}

void retention_apply(const struct retention_policy *policy, const struct snapshot *snapshots,
                     size_t n, struct timespec now, struct arena *a,
                     struct retention_verdict *ret_verdicts)
{
    struct buf reasons CLEANUP(buf_free) = {0};
    struct rules rules;
    size_t past = n;
    if (n == 0)
        return;
    while (past && !is_after(&now, &snapshots[past - 1].time))
        past--;
    begin(&rules, policy, past ? &snapshots[past - 1] : NULL);
    bool empty = retention_policy_is_empty(policy);
    for (size_t number = 0; number < n; number++) {
        size_t i = n - 1 - number;
        buf_reset(&reasons);
        if (empty)
            buf_puts(&reasons, "policy is empty");
        else
            judge(&rules, &snapshots[i], number, i == 0, &reasons);
        ret_verdicts[i] = (struct retention_verdict){
            .keep = reasons.n > 0,
            .reason = reasons.n ? arena_strndup(a, reasons.p, reasons.n) : ""};
    }
}
