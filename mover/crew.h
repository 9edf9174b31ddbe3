/* Threads that place small files while the tree is walked on: making a file is mostly waiting for
 * the file system, and for the store. */
#ifndef MOVER_CREW_H
#define MOVER_CREW_H

#include "mover/place.h"

struct crew;

/* A directory that is worked in: stays open until its last file is placed. */
struct crew_dir {
    int fd;
    struct crew *crew;
    struct crew_leaving *leaving; /* what is left to do at the end, once the walk has left it */
    unsigned users;               /* the walk, and files that are not placed yet */
};

/* x: repository, volume, root, choice and who is told of problems are copied, the repository is
 * borrowed. Threads start with the first file. */
struct crew *crew_new(const struct extract *x);

/* Drops what is not begun; returns when no thread is left. Adds to *report what they did. Accepts
 * NULL. */
void crew_free(struct crew *c, struct mover_report *report);

/* Takes the descriptor. Give it back by crew_leave or crew_abandon. */
struct crew_dir *crew_enter(struct crew *c, int fd);

/* The walk is through with it: its metadata is set when its last file is placed, by whoever did,
 * or now. x: at that directory. */
void crew_leave(struct crew_dir *dir, struct extract *x, const struct node *node);

/* The same, but its metadata is left alone. Sets *dir to NULL; accepts NULL there. */
void crew_abandon(struct crew_dir **dir);

/* As place_leaf, here or soon in a thread. < 0: this or an earlier one failed. */
int crew_place(struct crew_dir *dir, struct extract *x, const char *name, const struct node *node,
               struct err *err) must_check;

/* Waits for all that was placed. < 0: the first failure. */
int crew_wait(struct crew *c, struct err *err) must_check;

#endif
