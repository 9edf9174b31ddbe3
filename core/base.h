/* The few macros that all code uses, and allocation that cannot fail. */
#ifndef CORE_BASE_H
#define CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/param.h> /* MIN and MAX, the same that libuv's header brings */

#define must_check __attribute__((warn_unused_result))
#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Runs fn(&variable) when the variable's scope ends. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Hands a pointer over: gives its value and leaves NULL behind, so that its cleanup does nothing.
 */
#define TAKE(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

/* DEFINE_CLEANUP(struct arena *, arena_free) makes arena_free_p for CLEANUP(arena_free_p). */
#define DEFINE_CLEANUP(type, fn)                                                                   \
    static inline void fn##_p(type *p)                                                             \
    {                                                                                              \
        if (*p)                                                                                    \
            fn(*p);                                                                                \
    }

/* Allocation. Running out of memory ends the process: every step is journalled, so that a restart
 * goes on where it was, and no code has an untested branch for it. Sizes of 0 give a pointer that
 * may be freed. */
void *xmalloc(size_t n);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) printf_like(1, 2);

/* For CLEANUP: frees *(void **)p; closes *fd unless it is < 0. */
void free_p(void *p);
void close_p(int *fd);

#endif
