/* Is a commit still held by its remote? Asked of the remote itself: libgit2 lists its refs, in a
 * worker process (no token, no_new_privs, limits, deadline), as the remote's bytes are a
 * stranger's.
 *
 * The tip of the followed ref equals the commit: true. The remote answered and a proof needs a
 * fetch: unknown, for now. The repository or ref is not there any more: false only where the remote
 * itself answered so (an advertised list without the ref); 404, 401, 403 and silence are unknown.
 */
#ifndef GITOPS_GIT_H
#define GITOPS_GIT_H

#include "core/arena.h"
#include "core/err.h"

enum reachable { REACHABLE_UNKNOWN, REACHABLE_TRUE, REACHABLE_FALSE };
const char *reachable_name(enum reachable r); /* "unknown", "true", "false" */

struct git_question {
    const char *url, *ref, *commit;
    const char *username, *password; /* NULL: anonymous */
    unsigned timeout_ms;             /* 0: 20 000 */
};

/* Runs `program worker git-refs` (program: this executable). The answer is never an error of ours:
 * an unproven state is REACHABLE_UNKNOWN with the reason in `why`. */
int git_reachable(struct arena *a, const char *program, const struct git_question *q,
                  enum reachable *ret, const char **ret_why, struct err *err) must_check;

/* ref: a full name, a branch's or tag's short one, "HEAD"; "" if only the commit is pinned: then
 * any ref that stands at it proves it, and nothing disproves it. */

/* The worker's side: reads the question from stdin, writes the answer to stdout. Exit code. */
int git_refs_main(void);

/* Before the worker locks itself in: what the libraries read from disk. < 0: they do not start. */
int git_refs_prepare(void);

#endif
