/* The status of our own resources: kstatus conditions, and the one write that persists it.
 *
 * A status is built as a json_t from what was read, changed, and written as a merge patch of
 * /status (manager gleaner) if anything changed. Conditions: Ready, Reconciling, Stalled and the
 * kind's own; messages are one sentence without times; lastTransitionTime moves only when the
 * status does. Source: cli-utils kstatus (Reconciling and Stalled are present only when true). */
#ifndef RECONCILER_STATUS_H
#define RECONCILER_STATUS_H

#include "core/json.h"
#include "kube/client.h"

struct status {
    const struct kube_type *type;
    struct kube_object object; /* as read */
    json_t *before, *now;      /* `now` is what status_write persists */
};

/* Reads the resource and its status. NOT_FOUND. */
int status_read(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
                const char *name, struct status *ret, struct err *err) must_check;
void status_free(struct status *s);

/* Sets a condition: value "True", "False", "Unknown", or NULL to remove it. */
void status_condition(struct status *s, const char *type, const char *value, const char *reason,
                      const char *fmt, ...) printf_like(5, 6);

/* The value of a condition ("True", ...), or "" if it is not there. */
const char *status_condition_is(const struct status *s, const char *type);

/* The message and the reason of a condition, or "". */
const char *status_message(const struct status *s, const char *type);
const char *status_reason(const struct status *s, const char *type);

/* The three kstatus shapes in one call each. They set Ready and remove or set the other two, and
 * observedGeneration. */
void status_ready(struct status *s, const char *reason, const char *fmt, ...) printf_like(3, 4);
void status_progress(struct status *s, const char *reason, const char *fmt, ...) printf_like(3, 4);
void status_stalled(struct status *s, const char *reason, const char *fmt, ...) printf_like(3, 4);

/* Sets or gets members: status_set(s, "phase", json_string("Hold")) steals the reference. */
void status_set(struct status *s, const char *member, json_t *value);
const char *status_text(const struct status *s, const char *member); /* "" if absent */

/* When the last write of ours that changed the status, before it was read, was taken: by the clock
 * of the API server, RFC 3339; "" if there was none. Source: managedFields[].time. */
const char *status_written_at(struct arena *a, const struct status *s);

/* Writes what changed; nothing if nothing did. On success the object's resourceVersion is the new
 * one. CONFLICT if the resource was replaced (uid) since. Status is ours alone: no resourceVersion
 * is demanded unless `exclusive`, which is how a phase is entered by one controller only. */
int status_write(struct kube *k, struct arena *a, struct status *s, bool exclusive, struct err *err)
    must_check;

#endif
