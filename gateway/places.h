/* The backends of the repositories that movers reach: one for each repository, shared by its movers
 * and kept a while after the last, for its connections, its knowledge of the server's region and
 * clock, and its breaker. Thread-safe. */
#ifndef GATEWAY_PLACES_H
#define GATEWAY_PLACES_H

#include "gateway/registration.h"

struct places;
struct place {
    struct backend *backend;
    bool remote; /* a request costs time: few and large ones */
};

struct places *places_new(const char *local_root);
void places_free(struct places *all); /* when no place is held any more; accepts NULL */

/* The place of a registration, held. Its credentials replace those of an earlier registration. */
int places_get(struct places *all, const struct registration *r, struct place **ret,
               struct err *err) must_check;
void places_give(struct place *p); /* accepts NULL */

#endif
