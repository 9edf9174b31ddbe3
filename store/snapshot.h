/* Snapshots: small files that name a tree and say what it is. Our own facts go into tags and into
 * files of the tree; extra JSON fields would be lost when stock restic rewrites a snapshot. */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include "store/repository.h"

#include "core/arena.h"

#include <time.h>

#define SNAPSHOT_UNCOUNTED UINT64_MAX /* a count that is not known, and not written */

struct snapshot_summary {
    struct timespec backup_start, backup_end;
    uint64_t files_new, files_changed, files_unmodified;
    uint64_t dirs_new, dirs_changed, dirs_unmodified;
    uint64_t data_blobs, tree_blobs;
    uint64_t data_added, data_added_packed;
    uint64_t total_files_processed, total_bytes_processed;
};

struct snapshot {
    struct store_id id; /* set by load; not written */
    struct timespec time;
    int zone; /* seconds east of UTC that `time` was written with; ours are written in UTC */
    bool has_parent, has_original, has_summary;
    struct store_id parent, tree, original;
    const char *const *paths; /* absolute */
    size_t paths_n;
    const char *hostname, *username; /* NULL: none */
    uint32_t uid, gid;
    const char *const *excludes;
    size_t excludes_n;
    const char *const *tags; /* free strings without commas (restic's command line splits there) */
    size_t tags_n;
    const char
        *program_version; /* NULL: ours, to be written; "" where one that was read has none */
    struct snapshot_summary summary;
};

/* Writes a snapshot, after repository_flush of all it refers to (flushes itself if needed).
 * ERR_INVALID for a tag with a comma, no path, or a tree that the index does not know. */
int snapshot_save(struct repository *repo, const struct snapshot *snapshot, struct store_id *ret_id,
                  struct err *err) must_check;

/* Loads one; its strings lie in the arena. ERR_NOT_FOUND, ERR_CORRUPT. */
int snapshot_load(struct repository *repo, const struct store_id *id, struct arena *a,
                  struct snapshot *ret_snapshot, struct err *err) must_check;

/* What a snapshot must have; NULL fields match all. */
struct snapshot_filter {
    const char *hostname;
    const char *path;        /* one of its paths equals this */
    const char *const *tags; /* it has all of them */
    size_t tags_n;
    const char *const *not_tags; /* and none of these */
    size_t not_tags_n;
    const struct timespec *until; /* its time is not later */
};

struct snapshot_list {
    struct snapshot *p;
    size_t n;
};

bool snapshot_matches(const struct snapshot *s,
                      const struct snapshot_filter *filter /* may be NULL */);
bool snapshot_has_tag(const struct snapshot *s, const char *tag);

/* The value of the first tag "key:value" (or "key=value"), or NULL. */
const char *snapshot_tag_value(const struct snapshot *s, const char *key);

/* All that match, oldest first, in the arena. A snapshot file that cannot be read does not end the
 * list: it is counted in *ret_unreadable (may be NULL). */
int snapshot_list_all(struct repository *repo, const struct snapshot_filter *filter,
                      struct arena *a, struct snapshot_list *ret_list, size_t *ret_unreadable,
                      struct err *err) must_check;

/* By "latest" (the newest that matches), by id, or by a unique prefix of an id (the filter does not
 * apply to it). ERR_NOT_FOUND; ERR_INVALID: ambiguous or not an id. */
int snapshot_find(struct repository *repo, const char *which, const struct snapshot_filter *filter,
                  struct arena *a, struct snapshot *ret_snapshot, struct err *err) must_check;

#endif
