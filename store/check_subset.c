/* The words of --read-data-subset, as restic's cmd_check.go reads them. */
#include "store/check.h"

#include <stdlib.h>

enum { PARTS_MAX = 256 };

static int parse_part(str text, struct check_subset *ret, struct err *err)
{
    str t = text, n = str_cut(&t, '/');
    struct check_subset s = {.what = CHECK_PART};
    if (!str_u64(n, &s.n) || !str_u64(t, &s.t) || s.n == 0 || s.n > s.t)
        return err_set(err, ERR_INVALID, "'%.*s': n/t takes whole numbers with 0 < n <= t",
                       STR_FMT(text));
    if (s.t > PARTS_MAX)
        return err_set(err, ERR_INVALID, "'%.*s': there are at most %d parts", STR_FMT(text),
                       PARTS_MAX);
    *ret = s;
    return 0;
}

static int parse_percent(str text, struct check_subset *ret, struct err *err)
{
    char number[32], *end;
    str digits = {text.p, text.n - 1};
    if (digits.n == 0 || digits.n >= sizeof number || strspn(text.p, "0123456789.") < digits.n)
        return err_set(err, ERR_INVALID, "'%.*s' is no percentage", STR_FMT(text));
    memcpy(number, digits.p, digits.n);
    number[digits.n] = '\0';
    double percent = strtod(number, &end);
    if (*end || !(percent > 0) || percent > 100)
        return err_set(err, ERR_INVALID, "'%.*s': a percentage is above 0 and at most 100",
                       STR_FMT(text));
    *ret = (struct check_subset){.what = CHECK_PERCENT, .percent = percent};
    return 0;
}

static int parse_bytes(str text, struct check_subset *ret, struct err *err)
{
    static const char units[] = "bkmgt";
    str digits = text;
    unsigned shift = 0;
    const char *unit = text.n ? strchr(units, text.p[text.n - 1] | 0x20) : NULL;
    if (unit && *unit) {
        shift = 10 * (unsigned)(unit - units);
        digits.n--;
    }
    uint64_t n;
    if (!str_u64(digits, &n) || n == 0 || n > UINT64_MAX >> shift)
        return err_set(err, ERR_INVALID,
                       "'%.*s' is no part of the data: give n/t, a percentage such as 5%%, or a "
                       "size such as 500M",
                       STR_FMT(text));
    *ret = (struct check_subset){.what = CHECK_BYTES, .bytes = n << shift};
    return 0;
}

int check_parse_subset(str text, struct check_subset *ret, struct err *err)
{
    if (text.n && memchr(text.p, '/', text.n))
        return parse_part(text, ret, err);
    if (text.n && text.p[text.n - 1] == '%')
        return parse_percent(text, ret, err);
    return parse_bytes(text, ret, err);
}
