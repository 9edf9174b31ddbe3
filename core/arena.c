#include "core/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
enum { CHUNK = 0 };
#else
enum { CHUNK = 16 << 10 };
#endif

struct chunk {
    struct chunk *next;
    size_t used, room;
    _Alignas(16) char bytes[];
};

struct deferred {
    struct deferred *next;
    void (*fn)(void *p);
    void *p;
};

struct arena {
    struct chunk *chunks;
    struct deferred *deferred;
};

struct arena *arena_new(void)
{
    return xcalloc(1, sizeof(struct arena));
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    for (struct deferred *d = a->deferred; d; d = d->next)
        d->fn(d->p);
    for (struct chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(a);
}

void *arena_alloc(struct arena *a, size_t n)
{
    n = (MAX(n, 1) + 15) & ~(size_t)15;
    struct chunk *c = a->chunks;
    if (!c || c->room - c->used < n) {
        size_t room = MAX(n, CHUNK);
        c = xcalloc(1, sizeof *c + room);
        c->room = room;
        c->next = a->chunks;
        a->chunks = c;
    }
    void *p = c->bytes + c->used;
    c->used += n;
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    char *p = arena_alloc(a, n + 1);
    if (n)
        memcpy(p, s, n);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

str arena_str(struct arena *a, str s)
{
    return s.p ? (str){arena_strndup(a, s.p, s.n), s.n} : s;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = arena_alloc(a, (size_t)MAX(n, 0) + 1);
    vsnprintf(p, (size_t)MAX(n, 0) + 1, fmt, again);
    va_end(again);
    return p;
}

void arena_defer(struct arena *a, void (*fn)(void *p), void *p)
{
    struct deferred *d = arena_alloc(a, sizeof *d);
    *d = (struct deferred){a->deferred, fn, p};
    a->deferred = d;
}
