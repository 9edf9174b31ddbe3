/* Numbers for Prometheus, kept in this process and printed in its text format (version 0.0.4). The
 * names that there are, with their types and meanings, stand in one table in metrics.c; others are
 * not taken. Thread-safe. */
#ifndef RECONCILER_METRICS_H
#define RECONCILER_METRICS_H

#include "core/arena.h"

/* labels: what metrics_label makes, or "". */
void metrics_set(const char *name, const char *labels, double value);
void metrics_add(const char *name, const char *labels, double value);
void metrics_max(const char *name, const char *labels, double value); /* the greater one stays */

/* Takes away all series of a name, before they are set anew: between metrics_hold and
 * metrics_release, so that nobody reads what is not there yet. */
void metrics_clear(const char *name);
void metrics_hold(void);
void metrics_release(void);

/* Takes away the series with exactly these labels, of every name: what they are about is gone. */
void metrics_forget(const char *labels);

/* store="a" in the arena; of more pairs with metrics_labels(a, "x", "1", "y", "2", NULL). */
const char *metrics_label(struct arena *a, const char *name, const char *value);
const char *metrics_labels(struct arena *a, ...) __attribute__((sentinel));

/* Appends all of them. */
void metrics_print(struct buf *out);

#endif
