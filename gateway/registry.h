/* The movers that the controller has registered. In memory alone. Thread-safe. */
#ifndef GATEWAY_REGISTRY_H
#define GATEWAY_REGISTRY_H

#include <pthread.h>
#include <stdatomic.h>

#include "gateway/places.h"
#include "store/repository.h"

/* A registered mover, for as long as somebody holds it. */
struct mover {
    atomic_uint holders;
    struct registration r;
    struct place *place;
    struct backend *backend; /* of the place */
    int64_t expires_ms;      /* monotonic; under the registry's lock */
    atomic_ullong spent;
    atomic_uint requests;
    pthread_mutex_t lock;    /* of repo */
    struct repository *repo; /* opened when an index comes, to see the lock */
};

void mover_release(struct mover *m);
DEFINE_CLEANUP(struct mover *, mover_release)
struct mover *mover_hold(struct mover *m);

/* Takes bytes off the budget; false: it does not hold them. */
bool mover_spend(struct mover *m, uint64_t bytes);

/* That a lock of the name that the registration gives is in the repository. ERR_GONE. */
int mover_confirm_lock(struct mover *m, struct err *err) must_check;

struct registry;

struct registry *registry_new(const char *local_root, uint64_t budget);
void registry_free(struct registry *reg);

/* Registers or renews; takes what is in *r over (empty after success). ERR_CONFLICT: that pod
 * serves another repository; ERR_BUSY: too many. */
int registry_put(struct registry *reg, str pod_uid, struct registration *r, struct err *err)
    must_check;
void registry_remove(struct registry *reg, str pod_uid);

/* The mover, held; NULL: not registered, or too long ago. */
struct mover *registry_find(struct registry *reg, const char *pod_uid);

#endif
