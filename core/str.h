/* Slices and growable buffers. */
#ifndef CORE_STR_H
#define CORE_STR_H

#include "core/base.h"

#include <string.h>

/* Bytes that somebody else owns; not terminated. {NULL, 0} is "absent". */
typedef struct {
    const char *p;
    size_t n;
} str;

#define STR(literal) ((str){"" literal, sizeof(literal) - 1})
#define STR_FMT(s) (int)(s).n, (s).p /* for %.*s */

static inline str str_of(const char *s)
{
    return s ? (str){s, strlen(s)} : (str){0};
}

static inline bool str_eq(str a, str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_is(str a, const char *b)
{
    return str_eq(a, str_of(b));
}

bool str_starts(str s, const char *prefix);
bool str_ends(str s, const char *suffix);

/* memcmp order, shorter first. */
int str_cmp(str a, str b);

/* Cuts *s at the first `sep`: gives what stands before it and leaves what follows in *s. Without a
 * `sep` gives all and leaves *s absent (p == NULL). */
str str_cut(str *s, char sep);

/* Without leading and trailing spaces, tabs, newlines. */
str str_trim(str s);

/* A malloc'd terminated copy; NULL for an absent slice. */
char *str_dup(str s);

/* Digits only, no sign, no overflow; false if it is not that. */
bool str_u64(str s, uint64_t *ret);

static inline bool streq(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Makes the terminated text valid UTF-8, in place, as JSON demands it: a character that a fixed
 * buffer has cut is dropped, each other byte that is no part of one becomes '?'. */
void text_mend(char *text);

/* True if two messages differ in numbers alone ("after 98 ms"): to write such a one anew would wake
 * the resource by its own write, over and over. */
bool text_same_but_numbers(const char *x, const char *y);

/* A growable buffer, always terminated. Growing past `cap` (0: 1 GiB) sets `overflow`, drops what
 * does not fit and every later append: check once, at the end. Zero-initialise, buf_free at the
 * end. */
struct buf {
    char *p;
    size_t n, room, cap;
    bool overflow;
};

void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, str s);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) printf_like(2, 3);
void buf_reset(struct buf *b); /* empties, keeps the memory */
void buf_free(struct buf *b);  /* frees and zeroes; fit for CLEANUP */

/* Hands the malloc'd, terminated content over; the buffer is empty afterwards. Never NULL. */
char *buf_take(struct buf *b);

static inline str buf_view(const struct buf *b)
{
    return (str){b->p, b->n};
}

#endif
