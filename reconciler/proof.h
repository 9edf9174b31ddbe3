/* Does Git really hold what an application declares? All of its sources must: each applied commit
 * is reachable from its remote, and the remote is not served by this very cluster, with which it
 * would be lost. Anything else is false or unknown, with the reason. */
#ifndef RECONCILER_PROOF_H
#define RECONCILER_PROOF_H

#include "reconciler/context.h"
#include "reconciler/verdict.h"

/* What one run has found out already: each remote is asked once. */
struct prover;

struct prover *prover_new(struct context *cx, struct arena *a); /* lives in the arena */

/* ret_sources (may be NULL): the sources, for their credentials. Only an API server that cannot be
 * asked about the application is an error. */
int proof_make(struct prover *p, const struct application *app, struct declaration *ret,
               struct sources *ret_sources, struct err *err) must_check;

/* The host of a URL or of git's "user@host:path", lower case, without brackets, in the arena; "" if
 * it has none (a path, a file:// URL). */
const char *proof_host(struct arena *a, const char *url);

/* A URL without user and password, in the arena. */
const char *proof_public_url(struct arena *a, const char *url);

#endif
