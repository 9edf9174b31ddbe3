/* The marker annotation as text, and what both engines check before they take a hold. */
#ifndef GITOPS_MARKER_H
#define GITOPS_MARKER_H

#include "gitops/engine.h"

/* The annotation's value. added and before are raw JSON. */
const char *marker_text(struct arena *a, const struct hold *h);

/* The marker as a fresh hold would write it: a new token, state held. */
struct hold marker_fresh(struct arena *a, const char *restore, const char *uid);

/* *ret_ours: the object is held by this very Restore, and *ret_hold is its marker. ERR_REFUSED if
 * it is held by another, or its marker cannot be read. */
int marker_check(struct arena *a, const struct kube_object *o, const char *uid, bool *ret_ours,
                 struct hold *ret_hold, struct err *err) must_check;

/* Reads the application's object again. ERR_CONFLICT if another object has its name now. */
int application_again(struct kube *k, struct arena *a, const struct application *app,
                      struct kube_object *ret, struct err *err) must_check;

/* The application's object, read again, and the marker on it. ERR_REFUSED if somebody removed the
 * marker or made it unreadable. */
int marker_held(struct kube *k, struct arena *a, const struct application *app,
                struct kube_object *ret, struct hold *ret_hold, struct err *err) must_check;

/* After the write of a hold: that the marker on the answer is this Restore's, and that the engine
 * is `held` by it. ERR_REFUSED if the API server dropped one of the two. */
int marker_kept(struct arena *a, const struct application *app, const struct kube_object *o,
                const char *uid, bool held, struct err *err) must_check;

/* ERR_REFUSED if the object is being deleted. */
int refuse_deleting(const struct kube_object *o, struct err *err) must_check;

/* "HelmRelease shop/db" for messages. */
const char *application_title(struct arena *a, const struct application *app);

/* Fills `why` and answers "not yet": 0 with *ret false. */
int not_yet(bool *ret, char *why, size_t why_n, const char *fmt, ...) printf_like(4, 5);

/* True if `gleaner` stands in the object's managedFields. */
bool our_trace(struct arena *a, const struct kube_object *o);

#endif
