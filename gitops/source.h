/* Sources: the common parts of both engines. */
#ifndef GITOPS_SOURCE_H
#define GITOPS_SOURCE_H

#include "gitops/engine.h"

/* A free row, all strings ""; NULL if there is no room (more than SOURCES_MAX). */
struct source *source_add(struct sources *s);

/* The commit in a Flux revision: "main@sha1:<40>", "sha1:<40>", "v1@sha256:<64>", "1.2+<hex>" is
 * none.
 * "" if there is none. */
const char *revision_commit(struct arena *a, const char *revision);

/* True for 40 or 64 hex digits. */
bool is_commit(const char *s);

#endif
