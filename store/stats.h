/* How much snapshots hold, counted in restic's four ways (its cmd/restic/cmd_stats.go). */
#ifndef STORE_STATS_H
#define STORE_STATS_H

#include "store/repository.h"

enum stats_mode {
    STATS_RESTORE_SIZE,      /* of all files, as a restore would write them */
    STATS_FILES_BY_CONTENTS, /* each content once */
    STATS_BLOBS_PER_FILE,    /* each blob once in each file */
    STATS_RAW_DATA           /* blobs as they are stored, each once */
};

/* False if it is not one of restic's words. */
bool stats_parse_mode(const char *text, enum stats_mode *ret);

/* What a mode does not count is 0. Files: all entries of directories, directories too. */
struct stats {
    uint64_t size, files, blobs;
    uint64_t plain_size;                   /* RAW_DATA: as if nothing were compressed */
    uint64_t compressed, compressed_plain; /* RAW_DATA: of compressed blobs only */
};

/* Over the trees of snapshots; the index is loaded. */
int stats_count(struct repository *repo, enum stats_mode mode, const struct store_id *trees,
                size_t n, struct stats *ret, struct err *err) must_check;

#endif
