/* The kill matrix: what its parts share. A world is a place for one repository; a fault hits one
 * call of the backend, or one step inside a call; a scenario is what somebody does meanwhile. */
#ifndef TESTS_MATRIX_H
#define TESTS_MATRIX_H

#include "store/repository.h"

#include <sys/types.h>

/* Prints the point and what is wrong, and ends the program. */
void wrong(const char *fmt, ...) printf_like(1, 2) __attribute__((noreturn));

/* ---- worlds ---- */

enum world_kind {
    WORLD_LOCAL,
    WORLD_S3,        /* a server of the tests, which hits requests */
    WORLD_VERSITYGW, /* a real one over a folder: GLEANER_VERSITYGW names its program */
    WORLDS
};

/* A folder, or a bucket whose server is a process of its own that outlives its clients. */
struct world {
    bool s3, steps; /* a bucket; its server hits requests, or it is a folder */
    enum world_kind kind;
    const char *name;
    char *folder; /* the repository; of a bucket: a copy, for judges that read folders */
    char *base;   /* what world_reset goes back to */
    pid_t server;
    int control; /* to the server */
    unsigned port;
};

/* False: that kind of world is not here. */
bool world_make(struct world *w, enum world_kind kind) must_check;
void world_end(struct world *w);
struct backend *world_backend(struct world *w); /* opened anew */
void world_empty(struct world *w);              /* nothing there, no bucket */
void world_keep(struct world *w);               /* what is there is the base of later resets */
void world_reset(struct world *w);
const char *world_folder(struct world *w); /* the repository as a folder, as it is now */

/* Puts a small file system of its own under a folder's world, in a namespace of this process;
 * false: we may not. world_size: it has that many pages more than are used now; 0: plenty. */
bool world_mount(struct world *w);
void world_size(struct world *w, unsigned long pages);
void world_unmount(struct world *w);

/* ---- faults ---- */

#define FAULTS(X)                                                                                  \
    X(KILL_BEFORE, "SIGKILL before")                                                               \
    X(KILL_AFTER, "SIGKILL after")                                                                 \
    X(IO, "input/output error")                                                                    \
    X(SPACE, "no space from here on")                                                              \
    X(TIMEOUT, "timeout, nothing done")                                                            \
    X(LOST, "done, but the answer is lost")                                                        \
    X(CUT_OFF, "all fails from here on")                                                           \
    X(SHORT, "half of the bytes")

enum fault_kind {
#define X(name, text) FAULT_##name,
    FAULTS(X)
#undef X
        FAULT_KINDS
};

extern const char *const fault_names[FAULT_KINDS];

/* Calls of the backend, or what happens inside them: system calls on files, requests of HTTP. */
enum fault_level { LEVEL_CALL, LEVEL_STEP, LEVELS };

struct point {
    enum fault_level level;
    enum fault_kind kind;
    int at; /* from 1; 0: no fault */
};

/* What a fault of this kind means at that level of this world; false: nothing that can happen. */
bool fault_applies(const struct world *w, enum fault_level level, enum fault_kind kind);

/* The world's backend with a fault; one at a time in a process. Of SIGKILL the victim is the
 * process that calls it. */
struct backend *fault_backend_open(struct world *w, const struct point *fault);

/* Ends the fault: calls made so far, steps made so far (where `level` was that), and whether it
 * happened. */
struct fault_count {
    int calls, steps;
    bool hit;
};
struct fault_count fault_backend_close(struct backend *b);

/* For the server of a bucket: tells it which request is to be hit; the number of requests since the
 * last time. */
int world_arm(struct world *w, const struct point *fault, pid_t victim);

/* ---- scenarios ---- */

struct outcome {
    int r;
    struct err err;
    bool has_snapshot;
    struct store_id snapshot; /* that is complete, if r is 0 */
};

struct scenario {
    const char *name;
    void (*prepare)(struct world *w);                        /* from an empty world */
    void (*run)(struct backend *b, struct outcome *o);       /* what is hit */
    void (*judge)(struct world *w, const struct outcome *o); /* o: NULL if it was killed */
};

extern const struct scenario scenarios[];
extern const size_t scenarios_n;

#endif
