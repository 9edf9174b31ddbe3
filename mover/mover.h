/* `gleaner mover backup|restore`: moves the bytes of one mounted volume to or from the store. It
 * knows the gateway and nothing else: no API server, no bucket, no other repository. */
#ifndef MOVER_MOVER_H
#define MOVER_MOVER_H

#include "store/repository.h"

/* What the pod's environment says (none of it is secret):
 *   GLEANER_GATEWAY      https://host:port
 *   GLEANER_CA           PEM text of the gateway's CA
 *   GLEANER_REPOSITORY   <clusterName>/<namespace>
 *   GLEANER_TREE         restore: the tree (hex id) that the volume shall equal
 *                        backup: the tree of the last backup of this volume, or empty
 *   GLEANER_ROOT         restore: mover_report.root of the backup (owner, mode and time of the
 * volume's own directory); empty: that is left as it is GLEANER_TOKEN_FILE   default
 * /var/run/gleaner/token GLEANER_VOLUME       default /volume GLEANER_TERMINATION  default
 * /dev/termination-log: where the report goes (mover/report.h) The password comes from the gateway;
 * 401, 403 and no answer are repeated for 60 s, because the pod is registered only after it exists.
 */
#define MOVER_ENV_GATEWAY "GLEANER_GATEWAY"
#define MOVER_ENV_CA "GLEANER_CA"
#define MOVER_ENV_REPOSITORY "GLEANER_REPOSITORY"
#define MOVER_ENV_TREE "GLEANER_TREE"
#define MOVER_ENV_ROOT "GLEANER_ROOT"
#define MOVER_ENV_TOKEN_FILE "GLEANER_TOKEN_FILE"
#define MOVER_ENV_VOLUME "GLEANER_VOLUME"
#define MOVER_ENV_TERMINATION "GLEANER_TERMINATION"

#define MOVER_DEFAULT_TOKEN_FILE "/var/run/gleaner/token"
#define MOVER_DEFAULT_VOLUME "/volume"
#define MOVER_DEFAULT_TERMINATION "/dev/termination-log"

/* Exit codes; the report says the same in words. */
enum {
    MOVER_EXIT_DONE = 0,
    MOVER_EXIT_FAILED = 1,  /* report.error */
    MOVER_EXIT_USAGE = 2,   /* argument or environment */
    MOVER_EXIT_PROBLEMS = 3 /* done, but for what report.problems names */
};

/* What keeps a mover within its memory: how it opens its repository, and what it asks of malloc. */
void mover_repository_options(bool restore, struct repository_options *ret_options);
void mover_prepare_memory(void);

/* argv[0] is the mode's name, argv[1] the verb. */
int mover_main(int argc, char **argv);

#endif
