/* A scheduler of actors that share a repository: at every call of its backend an actor stops until
 * it is its turn, so that one choice after the other makes a run that can be repeated. Stock restic
 * is an actor too: its requests stop at a REST server. */
#ifndef TESTS_MATRIX_SCHEDULE_H
#define TESTS_MATRIX_SCHEDULE_H

#include "store/lock.h"

#include <pthread.h>

/* What an actor is not shown, to prove that a test would see it missing. */
enum mutation {
    MUTATION_NONE,
    MUTATION_NO_SECOND_LOOK, /* who has written a lock sees no other */
    MUTATION_NO_RELIST,      /* the list of snapshots stays what it was at first */
    MUTATIONS
};

/* One call, for those who look for interesting ones. */
struct call {
    char operation; /* 's'ave, 'l'oad, 'h'ead, 'i' (list), 'r'emove, 'c'reate */
    enum backend_type type;
};

enum { CALLS_MAX = 400, ACTORS_MAX = 8 };

struct actor {
    struct backend base; /* the gate; its calls go to inner */
    struct backend *inner;
    const char *name, *tag;
    void (*run)(struct actor *a);
    enum mutation mutation;
    int die_at; /* from this call on nothing works any more: the process is dead; 0: it lives */

    char identity[32];
    struct lock_options lock;
    struct call calls[CALLS_MAX];
    int calls_n, locks_held;
    bool dead, has_listed;
    struct store_ids listed;

    /* Of a process: requests that wait, that may go on, that are done. */
    bool external, goes_on;
    int waiting, granted, done, processes;

    /* What came of it. */
    int r;
    struct err err;
    struct store_id snapshot;

    pthread_t thread;
    enum { ACTOR_WAITS, ACTOR_RUNS, ACTOR_ENDED } state;
};

/* Called by an actor that begins again from nothing. */
void actor_forget_lists(struct actor *a);

/* From now on the actor is a process: it runs, but for its requests. Called again where it has
 * ended: what it has asked for is not answered any more. */
void schedule_process(struct actor *a);

/* Stops the calling thread until it is the turn of this process's next request; _end lets the
 * others go on, unless `goes_on`: then the process has the next turn too. False: the process has
 * ended. */
bool schedule_request(struct actor *a, bool goes_on) must_check;
void schedule_request_end(struct actor *a);

/* Who goes on, of those that can: an index into actors. */
typedef size_t schedule_choose(void *ctx, const size_t *can, size_t n);

/* Runs all to their end. */
void schedule_run(struct actor **actors, size_t n, schedule_choose *choose, void *ctx);

#endif
