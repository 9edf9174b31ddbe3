#include "core/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static _Atomic(int64_t (*)(void)) override, override_wall;

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void)
{
    int64_t (*now)(void) = atomic_load(&override_wall);
    if (!now)
        now = atomic_load(&override);
    return now ? now() : read_clock(CLOCK_REALTIME);
}

int64_t clock_mono_ms(void)
{
    int64_t (*now)(void) = atomic_load(&override);
    return now ? now() : read_clock(CLOCK_MONOTONIC);
}

int64_t clock_boot_ms(void)
{
    int64_t (*now)(void) = atomic_load(&override);
    return now ? now() : read_clock(CLOCK_BOOTTIME);
}

void clock_override(int64_t (*now_ms)(void))
{
    atomic_store(&override, now_ms);
}

void clock_override_wall(int64_t (*now_ms)(void))
{
    atomic_store(&override_wall, now_ms);
}

void clock_format(int64_t wall_ms, char out[CLOCK_RFC3339])
{
    time_t s = (time_t)(wall_ms / 1000 - (wall_ms % 1000 < 0));
    struct tm tm;
    gmtime_r(&s, &tm);
    strftime(out, CLOCK_RFC3339, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

bool clock_parse(str text, int64_t *ret_wall_ms)
{
    char copy[64];
    if (text.n >= sizeof copy || text.n == 0)
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    struct tm tm = {0};
    const char *rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!rest)
        return false;
    int64_t ms = 0;
    if (*rest == '.') {
        int64_t unit = 100;
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
            ms += (*rest - '0') * unit;
    }
    int offset = 0;
    if (*rest == '+' || *rest == '-') {
        int h, m, used = 0;
        if (sscanf(rest + 1, "%2d:%2d%n", &h, &m, &used) != 2 || used != 5)
            return false;
        offset = (*rest == '-' ? -1 : 1) * (h * 60 + m) * 60;
        rest += 6;
    } else if (*rest == 'Z') {
        rest++;
    } else {
        return false;
    }
    if (*rest)
        return false;
    *ret_wall_ms = ((int64_t)timegm(&tm) - offset) * 1000 + ms;
    return true;
}

static const struct {
    const char *name;
    int64_t ms;
} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

bool clock_parse_duration(str text, int64_t *ret_ms)
{
    int64_t total = 0;
    if (text.n == 0)
        return false;
    while (text.n) {
        size_t digits = 0, letters = 0;
        while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
            digits++;
        while (digits + letters < text.n && text.p[digits + letters] >= 'a' &&
               text.p[digits + letters] <= 'z')
            letters++;
        uint64_t v;
        int64_t unit = 0, part;
        if (!str_u64((str){text.p, digits}, &v) || v > INT64_MAX)
            return false;
        for (size_t i = 0; i < ARRAY_LEN(units); i++)
            if (str_is((str){text.p + digits, letters}, units[i].name))
                unit = units[i].ms;
        if (!unit || __builtin_mul_overflow((int64_t)v, unit, &part) ||
            __builtin_add_overflow(total, part, &total))
            return false;
        text.p += digits + letters;
        text.n -= digits + letters;
    }
    *ret_ms = total;
    return true;
}
