#include "reconciler/schedule/cron.h"

#include <strings.h>
#include <time.h>

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                          "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct field {
    const char *what;
    unsigned low, high;
    const char *const *names;
    size_t names_n;
    unsigned first_name; /* value of names[0] */
};

static const struct field fields[] = {
    {"minute", 0, 59, NULL, 0, 0},
    {"hour", 0, 23, NULL, 0, 0},
    {"day of month", 1, 31, NULL, 0, 0},
    {"month", 1, 12, month_names, ARRAY_LEN(month_names), 1},
    {"day of week", 0, 7, day_names, ARRAY_LEN(day_names), 0},
};

static bool parse_value(const struct field *f, str text, unsigned *ret)
{
    uint64_t v;
    if (str_u64(text, &v)) {
        if (v < f->low || v > f->high)
            return false;
        *ret = (unsigned)v;
        return true;
    }
    for (size_t i = 0; i < f->names_n; i++) {
        if (text.n == 3 && strncasecmp(text.p, f->names[i], 3) == 0) {
            *ret = f->first_name + (unsigned)i;
            return true;
        }
    }
    return false;
}

/* "*", "a", "a-b", each with an optional "/step"; "a/step" means from a to the end. */
static bool parse_range(const struct field *f, str text, uint64_t *bits, bool *any)
{
    uint64_t step = 1;
    str range = str_cut(&text, '/');
    bool has_step = text.p != NULL;
    if (has_step && (!str_u64(text, &step) || step == 0))
        return false;
    unsigned from = f->low, to = f->high;
    if (str_is(range, "*") || str_is(range, "?")) {
        *any = *any || step == 1;
    } else {
        str first = str_cut(&range, '-');
        if (!parse_value(f, first, &from))
            return false;
        to = has_step ? f->high : from;
        if (range.p && (!parse_value(f, range, &to) || to < from))
            return false;
    }
    for (uint64_t v = from; v <= to; v += step)
        *bits |= (uint64_t)1 << v;
    return true;
}

static int parse_field(const struct field *f, str text, uint64_t *bits, bool *any, struct err *err)
{
    str rest = text;
    *bits = 0;
    *any = false;
    do {
        str part = str_cut(&rest, ',');
        if (!parse_range(f, part, bits, any))
            return err_set(err, ERR_INVALID,
                           "schedule: %s '%.*s' is not valid: use %u-%u, lists, ranges and steps",
                           f->what, STR_FMT(text), f->low, f->high);
    } while (rest.p);
    return 0;
}

static str expand(str text)
{
    static const struct {
        const char *word, *fields;
    } words[] = {
        {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
        {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
        {"@hourly", "0 * * * *"},
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_is(text, words[i].word))
            return str_of(words[i].fields);
    return text;
}

int cron_parse(str text, struct cron *ret, struct err *err)
{
    str rest = expand(str_trim(text)), parts[ARRAY_LEN(fields)];
    size_t n = 0;
    while (rest.p) {
        str part = str_cut(&rest, ' ');
        if (part.n == 0)
            continue;
        if (n == ARRAY_LEN(fields)) {
            n++;
            break;
        }
        parts[n++] = part;
    }
    if (n != ARRAY_LEN(fields))
        return err_set(err, ERR_INVALID,
                       "schedule '%.*s' does not have five fields (minute hour day month weekday)",
                       STR_FMT(text));
    struct cron c = {0};
    bool ignored;
    if (parse_field(&fields[0], parts[0], &c.minutes, &ignored, err) < 0 ||
        parse_field(&fields[1], parts[1], &c.hours, &ignored, err) < 0 ||
        parse_field(&fields[2], parts[2], &c.days, &c.any_day, err) < 0 ||
        parse_field(&fields[3], parts[3], &c.months, &ignored, err) < 0 ||
        parse_field(&fields[4], parts[4], &c.weekdays, &c.any_weekday, err) < 0)
        return -1;
    if (c.weekdays & 1u << 7)
        c.weekdays |= 1;
    *ret = c;
    return 0;
}

static bool day_fits(const struct cron *c, const struct tm *tm)
{
    bool day = c->days >> tm->tm_mday & 1, weekday = c->weekdays >> tm->tm_wday & 1;
    return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

int64_t cron_next(const struct cron *c, int64_t after_ms)
{
    enum { MINUTE = 60, DAY = 86400, LAST_DAY = 5 * 366 };
    time_t t = (time_t)(after_ms / 60000 + 1) * MINUTE, limit = t + (time_t)LAST_DAY * DAY;
    while (t < limit) {
        struct tm tm;
        gmtime_r(&t, &tm);
        if (!(c->months >> (tm.tm_mon + 1) & 1) || !day_fits(c, &tm))
            t += DAY - (tm.tm_hour * 3600 + tm.tm_min * MINUTE);
        else if (!(c->hours >> tm.tm_hour & 1))
            t += 3600 - tm.tm_min * MINUTE;
        else if (!(c->minutes >> tm.tm_min & 1))
            t += MINUTE;
        else
            return (int64_t)t * 1000;
    }
    return -1;
}
