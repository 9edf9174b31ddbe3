/* Stock restic as an actor: a real process, whose requests to a REST server take turns with the
 * calls of the others. */
#ifndef TESTS_MATRIX_RESTIC_ACTOR_H
#define TESTS_MATRIX_RESTIC_ACTOR_H

#include "schedule.h"

/* Serves the repository in the folder for the actor, of which there is one at a time. Its tag says
 * what it does: "backup" or "prune". */
void restic_actor_begin(struct actor *a, const char *folder);
void restic_actor_run(struct actor *a);
void restic_actor_end(void);

/* Backups of the last run that restic says are complete; what got through in all runs. */
unsigned restic_actor_backups(void);
unsigned restic_actor_total(const char *tag);

#endif
