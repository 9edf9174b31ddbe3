/* Memory that lives until its arena ends: one arena for each reconcile, nothing freed one by one.
 * Under AddressSanitizer each item is its own malloc, so that the sanitizer sees overruns. */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include "core/str.h"

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *a); /* accepts NULL */
DEFINE_CLEANUP(struct arena *, arena_free)

void *arena_alloc(struct arena *a, size_t n);       /* zeroed, 16-byte aligned */
char *arena_strdup(struct arena *a, const char *s); /* NULL for NULL */
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) printf_like(2, 3);

/* A terminated copy of s in the arena (its p is usable as a C string); absent for absent. */
str arena_str(struct arena *a, str s);

/* Calls fn(p) when the arena ends, last registered first: for handles that the arena owns. */
void arena_defer(struct arena *a, void (*fn)(void *p), void *p);

#define arena_new_of(a, type) ((type *)arena_alloc((a), sizeof(type)))

#endif
