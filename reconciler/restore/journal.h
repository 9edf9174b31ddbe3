/* How a Restore writes down where it is: its status and its finalizer. For the machine alone (the
 * controller and its ends); steps use restore_save, restore_event and restore_wait (restore.h). */
#ifndef RECONCILER_RESTORE_JOURNAL_H
#define RECONCILER_RESTORE_JOURNAL_H

#include "reconciler/restore/restore.h"

/* Sets a member of the status to now. */
void journal_stamp(struct restore *r, const char *member);

/* The one way into a phase: persisted first, by one controller only, then its step may run.
 * CONFLICT: somebody else was there. */
int journal_enter(struct restore *r, enum restore_phase p, struct err *err) must_check;

/* The finalizer stands from Lock to the end. The list is written whole, under resourceVersion. */
int journal_finalizer(struct restore *r, bool wanted, struct err *err) must_check;

/* A text that JSON takes, in the arena: those of others may be cut within a character or hold none.
 */
const char *journal_text(struct arena *a, const char *text);

#endif
