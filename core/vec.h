/* Typed growable arrays: VEC(struct row) rows = {0}; *vec_add(&rows) = (struct row){...};
 * rows.p[i], rows.n. vec_free at the end (the items own nothing, or are freed first). */
#ifndef CORE_VEC_H
#define CORE_VEC_H

#include "core/base.h"

#include <stdlib.h>

#define VEC(type)                                                                                  \
    struct {                                                                                       \
        type *p;                                                                                   \
        size_t n, room;                                                                            \
    }

#define vec_add(v)                                                                                 \
    __extension__({                                                                                \
        if ((v)->n == (v)->room) {                                                                 \
            (v)->room = (v)->room ? (v)->room * 2 : 8;                                             \
            (v)->p = xrealloc((v)->p, (v)->room * sizeof *(v)->p);                                 \
        }                                                                                          \
        memset(&(v)->p[(v)->n], 0, sizeof *(v)->p);                                                \
        &(v)->p[(v)->n++];                                                                         \
    })

#define vec_free(v)                                                                                \
    do {                                                                                           \
        free((v)->p);                                                                              \
        (v)->p = NULL;                                                                             \
        (v)->n = (v)->room = 0;                                                                    \
    } while (0)

#include <string.h>

#endif
