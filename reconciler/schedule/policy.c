#include "reconciler/schedule/policy.h"

#include "core/jsonscan.h"

enum { COUNT_MAX = 1000000 };

static const struct word {
    const char *name;
    bool span;
    size_t at;
} words[] = {
#define COUNT(word, member)                                                                        \
    {                                                                                              \
        word, false, offsetof(struct retention_policy, member)                                     \
    }
#define SPAN(word, member)                                                                         \
    {                                                                                              \
        word, true, offsetof(struct retention_policy, member)                                      \
    }
    COUNT("last", last),
    COUNT("hourly", hourly),
    COUNT("daily", daily),
    COUNT("weekly", weekly),
    COUNT("monthly", monthly),
    COUNT("yearly", yearly),
    SPAN("within", within),
    SPAN("withinHourly", within_hourly),
    SPAN("withinDaily", within_daily),
    SPAN("withinWeekly", within_weekly),
    SPAN("withinMonthly", within_monthly),
    SPAN("withinYearly", within_yearly),
};

static const struct word *find(str name)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_is(name, words[i].name))
            return &words[i];
    return NULL;
}

static int take(const struct word *w, str value, struct retention_policy *p, struct err *err)
{
    void *at = (char *)p + w->at;
    int n = 0;
    if (w->span)
        return retention_parse_span(value, at, err) < 0 ? err_wrap(err, "retention.%s", w->name)
                                                        : 0;
    if (retention_parse_count(value, &n, err) < 0)
        return err_wrap(err, "retention.%s", w->name);
    if (n < 0 || n > COUNT_MAX)
        return err_set(err, ERR_INVALID, "retention.%s: give a number up to %d", w->name,
                       COUNT_MAX);
    memcpy(at, &n, sizeof n);
    return 0;
}

int schedule_policy_read(struct arena *a, str retention, struct retention_policy *ret,
                         struct err *err)
{
    struct retention_policy p = {0};
    struct raw_iter it = raw_iter(retention);
    str key, value;
    while (raw_next(&it, &key, &value)) {
        str name = raw_string(a, key), text = raw_string(a, value);
        const struct word *w = find(name);
        if (!w)
            return err_set(err, ERR_INVALID, "retention has no word '%.*s'", (int)MIN(name.n, 40u),
                           name.p ? name.p : "");
        if (take(w, text.p ? text : value, &p, err) < 0)
            return -1;
    }
    *ret = p;
    return 0;
}

int schedule_policy_parse(struct arena *a, str text, str *ret_retention, struct err *err)
{
    struct retention_policy p = {0};
    struct buf out CLEANUP(buf_free) = {0};
    uint64_t seen = 0;
    buf_putc(&out, '{');
    for (str rest = text; rest.p;) {
        str value = str_trim(str_cut(&rest, ','));
        str name = str_trim(str_cut(&value, '='));
        value = str_trim(value);
        const struct word *w = find(name);
        if (!w || !value.p)
            return err_set(err, ERR_INVALID,
                           "'%.*s': give words like last=3,daily=7,withinWeekly=1y; there are "
                           "last, hourly, daily, weekly, monthly, yearly, within, withinHourly, "
                           "withinDaily, withinWeekly, withinMonthly, withinYearly",
                           (int)MIN(name.n, 40u), name.p ? name.p : "");
        uint64_t bit = (uint64_t)1 << (w - words);
        if (seen & bit)
            return err_set(err, ERR_INVALID, "'%s' stands there twice", w->name);
        if (take(w, value, &p, err) < 0)
            return -1;
        buf_printf(&out, "%s\"%s\":%s%.*s%s", seen ? "," : "", w->name, w->span ? "\"" : "",
                   STR_FMT(value), w->span ? "\"" : "");
        seen |= bit;
    }
    buf_putc(&out, '}');
    if (retention_policy_is_empty(&p))
        return err_set(err, ERR_INVALID, "it would keep nothing: give at least one number above 0");
    *ret_retention = arena_str(a, buf_view(&out));
    return 0;
}
