/* What `forget --prune` and `prune` share. */
#ifndef CLI_REPO_PRUNE_H
#define CLI_REPO_PRUNE_H

#include "cli/repo.h"

struct repo_pruning {
    const char *max_unused, *max_repack;
    bool dry_run;
};

#define REPO_PRUNE_OPTIONS(p)                                                                      \
    {.name = "max-unused",                                                                         \
     .value = "LIMIT",                                                                             \
     .help = "unused bytes that may stay: a percentage (default 5%), 0 or unlimited",              \
     .at = &(p)->max_unused},                                                                      \
    {                                                                                              \
        .name = "max-repack-size", .value = "SIZE",                                                \
        .help = "copy at most so much in this run, such as 500M", .at = &(p)->max_repack           \
    }

/* That the options' words are right. ERR_INVALID. */
int repo_prune_check(const struct repo_pruning *p, struct err *err) must_check;

/* Prunes and prints what was done. Waits for locks as --retry-lock says. */
int repo_prune(struct repo_session *s, const struct repo_place *place, const struct repo_pruning *p,
               struct err *err) must_check;

#endif
