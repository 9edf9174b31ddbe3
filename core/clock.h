/* Time. Everything that decides by time asks here, so that tests can run on a virtual clock. */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include "core/str.h"

/* Milliseconds since the epoch (wall) and since some fixed point (monotonic; boot also counts the
 * time that the machine was suspended). */
int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);
int64_t clock_boot_ms(void);

/* Replaces all by a function (NULL: the real clocks again); the wall clock alone, which is set by
 * people and servers, by another. For tests. */
void clock_override(int64_t (*now_ms)(void));
void clock_override_wall(int64_t (*now_ms)(void));

enum { CLOCK_RFC3339 = 32 }; /* room for any time that clock_format makes */

/* RFC 3339 in UTC, whole seconds, as Kubernetes writes metav1.Time: 2026-01-02T03:04:05Z. */
void clock_format(int64_t wall_ms, char out[CLOCK_RFC3339]);

/* RFC 3339 with any zone and fraction; false if it is not a time. */
bool clock_parse(str text, int64_t *ret_wall_ms);

/* Go's duration words (1h30m, 90s, 500ms, 7d as an addition); false if it is not one. */
bool clock_parse_duration(str text, int64_t *ret_ms);

#endif
