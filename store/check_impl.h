/* What check*.c share. */
#ifndef STORE_CHECK_IMPL_H
#define STORE_CHECK_IMPL_H

#include "store/bits.h"
#include "store/check.h"
#include "store/repository_impl.h"

enum { CHECK_THREADS = 2, CHECK_THREADS_MAX = 16 };

struct check_root {
    struct store_id snapshot, tree;
    bool hurt;
};

/* `repo` is the check's own, opened anew: once the index is loaded, nothing changes it, and it is
 * read without its lock. */
struct check {
    struct repository *repo;
    const struct check_options *options;
    struct check_result result;
    struct {
        struct check_root *p;
        size_t n, room;
    } roots;
    struct store_ids snapshot_ids; /* listed before the index was loaded */

    pthread_mutex_t mutex; /* below, result, and the calls of the caller's functions */
    struct {
        uint32_t *p;
        size_t n, room;
    } blobs_of; /* by pack number: how many blobs the index names */
    struct store_ids broken;
    struct bits whole; /* packs that are there with the right size, by number */
    struct bits seen;  /* blobs that a tree names, by ordinal; trees that were looked at */
    struct {
        uint64_t *p;
        size_t n, room;
    } bad; /* copies that cannot be read: pack << 32 | offset; sorted when the data was read */
};

/* Counts a finding and tells it. Takes the mutex. */
void check_say(struct check *c, enum check_severity severity, const char *fmt, ...)
    printf_like(3, 4);

/* Takes the mutex. */
int check_progress(struct check *c, const char *what, uint64_t done, uint64_t total,
                   struct err *err) must_check;

/* That the error tells of a file that is damaged, not of a store that cannot be asked. */
bool check_is_damage(const struct err *err);

/* Some copy of the blob lies in a pack that is whole, and is not bad. Without the mutex: only while
 * nobody adds to `whole` or `bad`. */
bool check_readable(const struct check *c, enum blob_type type, const struct store_id *id);

/* The steps, in this order. Each < 0 only if it could not be done. */
int check_small_files(struct check *c, struct err *err) must_check; /* lists the snapshots, too */
int check_index(struct check *c, struct err *err) must_check;
int check_packs(struct check *c, struct err *err) must_check;
int check_snapshots(struct check *c, struct err *err) must_check;
int check_trees(struct check *c, struct err *err) must_check;
int check_data(struct check *c, struct err *err) must_check;
int check_hurt(struct check *c, struct err *err) must_check;

/* Runs fn(ctx) in as many threads as the options say, this one included, until all have returned.
 */
void check_in_threads(const struct check *c, void *(*fn)(void *ctx), void *ctx);

#endif
