/* Times of gojson.h. Own calendar arithmetic: timegm and gmtime take the C library's locale and
 * errno along and are no faster. */
#include "store/gojson.h"

int64_t gojson_days_from_date(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void gojson_date_from_days(int64_t days, int64_t *y, unsigned *m, unsigned *d)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    *d = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
    *m = (unsigned)(month < 10 ? month + 3 : month - 9);
    *y = year + era * 400 + (*m <= 2);
}

void gojson_time(struct buf *out, struct timespec t)
{
    int64_t days = t.tv_sec / 86400, second = t.tv_sec % 86400, year;
    unsigned month, day;
    if (second < 0) {
        second += 86400;
        days--;
    }
    gojson_date_from_days(days, &year, &month, &day);
    year = MAX(0, MIN(9999, year)); /* restic moves the year and leaves the day */
    buf_printf(out, "\"%04d-%02u-%02uT%02d:%02d:%02d", (int)year, month, day, (int)(second / 3600),
               (int)(second / 60 % 60), (int)(second % 60));
    if (t.tv_nsec > 0 && t.tv_nsec < 1000000000) {
        char digits[10];
        long v = t.tv_nsec;
        for (int i = 8; i >= 0; i--, v /= 10)
            digits[i] = (char)('0' + v % 10);
        size_t n = 9;
        while (digits[n - 1] == '0')
            n--;
        buf_putc(out, '.');
        buf_add(out, digits, n);
    }
    buf_puts(out, "Z\"");
}

/* Takes n digits off the front; -1 if they are not there. */
static int take_number(str *s, size_t n)
{
    int v = 0;
    if (s->n < n)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return -1;
        v = v * 10 + (s->p[i] - '0');
    }
    s->p += n, s->n -= n;
    return v;
}

static bool take_byte(str *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    s->p++, s->n--;
    return true;
}

/* Zone: "Z" or +hh:mm, in seconds. */
static bool take_zone(str *s, int *ret)
{
    *ret = 0;
    if (take_byte(s, 'Z'))
        return s->n == 0;
    int sign = take_byte(s, '+') ? 1 : take_byte(s, '-') ? -1 : 0;
    int h = take_number(s, 2);
    if (sign == 0 || h < 0 || h > 23 || !take_byte(s, ':'))
        return false;
    int m = take_number(s, 2);
    *ret = sign * (h * 60 + m) * 60;
    return m >= 0 && m < 60 && s->n == 0;
}

bool gojson_parse_time(str s, struct timespec *ret)
{
    int zone;
    return gojson_parse_zoned_time(s, ret, &zone);
}

bool gojson_parse_zoned_time(str s, struct timespec *ret, int *ret_zone)
{
    int y = take_number(&s, 4);
    bool ok = take_byte(&s, '-');
    int mo = take_number(&s, 2);
    ok &= take_byte(&s, '-');
    int d = take_number(&s, 2);
    ok &= take_byte(&s, 'T');
    int h = take_number(&s, 2);
    ok &= take_byte(&s, ':');
    int mi = take_number(&s, 2);
    ok &= take_byte(&s, ':');
    int sec = take_number(&s, 2), zone;
    if (!ok || y < 0 || mo < 1 || mo > 12 || d < 1 || d > 31 || h < 0 || h > 23 || mi < 0 ||
        mi > 59 || sec < 0 || sec > 60)
        return false;
    long nsec = 0;
    if (take_byte(&s, '.')) {
        long unit = 100000000;
        int digit, digits = 0;
        for (; (digit = take_number(&s, 1)) >= 0; digits++, unit /= 10)
            nsec += digit * unit;
        if (digits == 0)
            return false;
    }
    if (!take_zone(&s, &zone))
        return false;
    ret->tv_sec = gojson_days_from_date(y, (unsigned)mo, (unsigned)d) * 86400 + h * 3600 + mi * 60 +
                  sec - zone;
    ret->tv_nsec = nsec;
    *ret_zone = zone;
    return true;
}
