#include "core/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool str_starts(str s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

bool str_ends(str s, const char *suffix)
{
    size_t n = strlen(suffix);
    return s.n >= n && memcmp(s.p + s.n - n, suffix, n) == 0;
}

int str_cmp(str a, str b)
{
    size_t n = MIN(a.n, b.n);
    int r = n ? memcmp(a.p, b.p, n) : 0;
    return r ? r : (a.n > b.n) - (a.n < b.n);
}

str str_cut(str *s, char sep)
{
    str head = *s;
    const char *at = s->n ? memchr(s->p, sep, s->n) : NULL;
    if (!at) {
        *s = (str){0};
        return head;
    }
    head.n = (size_t)(at - s->p);
    s->n -= head.n + 1;
    s->p = at + 1;
    return head;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

str str_trim(str s)
{
    while (s.n && is_space(s.p[0]))
        s.p++, s.n--;
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

char *str_dup(str s)
{
    return s.p ? xstrndup(s.p, s.n) : NULL;
}

bool str_u64(str s, uint64_t *ret)
{
    uint64_t v = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = (unsigned)(unsigned char)s.p[i] - '0';
        if (d > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v))
            return false;
    }
    *ret = v;
    return true;
}

static bool buf_grow(struct buf *b, size_t more)
{
    size_t cap = b->cap ? b->cap : (size_t)1 << 30, need;
    if (b->overflow || __builtin_add_overflow(b->n, more, &need) || need > cap) {
        b->overflow = true;
        return false;
    }
    if (need + 1 > b->room) {
        size_t room = b->room ? b->room : 64;
        while (room < need + 1)
            room *= 2;
        b->p = xrealloc(b->p, room);
        b->room = room;
    }
    return true;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (!buf_grow(b, n))
        return;
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = '\0';
}

void buf_str(struct buf *b, str s)
{
    buf_add(b, s.p, s.n);
}

void buf_puts(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n > 0 && buf_grow(b, (size_t)n)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->overflow = false;
    if (b->p)
        b->p[0] = '\0';
}

void buf_free(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.cap = b->cap};
}

char *buf_take(struct buf *b)
{
    char *p = b->p ? b->p : xstrdup("");
    *b = (struct buf){.cap = b->cap};
    return p;
}

/* The length of the character at p, 0 if it is none. RFC 3629: no overlong form, no surrogate,
 * nothing above U+10FFFF. */
static size_t character(const unsigned char *p)
{
    static const struct {
        unsigned char from, to, low, high, more;
    } rows[] = {
        {0x01, 0x7f, 0, 0, 0},       {0xc2, 0xdf, 0x80, 0xbf, 1}, {0xe0, 0xe0, 0xa0, 0xbf, 2},
        {0xe1, 0xec, 0x80, 0xbf, 2}, {0xed, 0xed, 0x80, 0x9f, 2}, {0xee, 0xef, 0x80, 0xbf, 2},
        {0xf0, 0xf0, 0x90, 0xbf, 3}, {0xf1, 0xf3, 0x80, 0xbf, 3}, {0xf4, 0xf4, 0x80, 0x8f, 3}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (p[0] < rows[i].from || p[0] > rows[i].to)
            continue;
        if (rows[i].more && (p[1] < rows[i].low || p[1] > rows[i].high))
            return 0;
        for (size_t k = 2; k <= rows[i].more; k++)
            if ((p[k] & 0xc0) != 0x80)
                return 0;
        return rows[i].more + 1u;
    }
    return 0;
}

/* What is left where a fixed buffer ended within a character. */
static bool is_stump(const unsigned char *p)
{
    if (*p < 0xc2 || *p > 0xf4)
        return false;
    size_t n = 1;
    while ((p[n] & 0xc0) == 0x80)
        n++;
    return !p[n] && n < 4;
}

void text_mend(char *text)
{
    unsigned char *p = (unsigned char *)text;
    while (*p) {
        size_t n = character(p);
        if (!n)
            *p = is_stump(p) ? '\0' : '?';
        p += n ? n : *p != '\0';
    }
}

bool text_same_but_numbers(const char *x, const char *y)
{
    for (;;) {
        x += strspn(x, "0123456789");
        y += strspn(y, "0123456789");
        if (*x != *y)
            return false;
        if (!*x)
            return true;
        x++;
        y++;
    }
}
