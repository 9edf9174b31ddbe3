/* One line on a terminal that says how far a long command has come. Nothing is printed where stderr
 * is no terminal, or after progress_quiet. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "core/err.h"

void progress_quiet(void);

/* Shows "what: done of total" (total 0: not known), at most a few times in a second. The form is
 * that of check_options.progress; fails only after progress_end_by_signal. */
int progress_show(void *ctx, const char *what, uint64_t done, uint64_t total, struct err *err);

/* From now on SIGINT, SIGTERM and SIGHUP make progress_show fail (ERR_CANCELLED), the first time;
 * the second one ends the process at once. */
void progress_end_by_signal(void);

/* Removes the line: before anything else is printed. */
void progress_clear(void);

#endif
