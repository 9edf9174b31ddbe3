/* The frames between git_reachable and its worker. */
#ifndef GITOPS_GIT_WORKER_H
#define GITOPS_GIT_WORKER_H

enum {
    /* question */
    GIT_URL = 'u',
    GIT_REF = 'r',
    GIT_COMMIT = 'c',
    GIT_USERNAME = 'n',
    GIT_PASSWORD = 'p',
    /* answer: either GIT_UNKNOWN with a sentence; or GIT_LISTED (the remote sent its refs), and a
     * GIT_TIP for each hash that the ref stands at (a tag: its own and its commit's). Without a
     * ref: the commit itself, if any ref stands at it. */
    GIT_UNKNOWN = 'W',
    GIT_LISTED = 'L',
    GIT_TIP = 'T'
};

#endif
