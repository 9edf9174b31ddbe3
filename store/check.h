/* Whether a repository is whole, as `restic check` means it, and which snapshots are hurt if not.
 * Reads only; the caller holds a lock if others may delete meanwhile. */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "store/snapshot.h"

/* Which packs are read whole, beside the structure. */
struct check_subset {
    enum { CHECK_NONE, CHECK_ALL, CHECK_PART /* n of t */, CHECK_PERCENT, CHECK_BYTES } what;
    uint64_t n, t;  /* CHECK_PART: packs whose first byte mod t is n - 1 */
    double percent; /* CHECK_PERCENT: of the packs, chosen at random */
    uint64_t bytes; /* CHECK_BYTES: as many packs as make this, chosen at random */
};

/* restic's words of --read-data-subset: "2/7", "5%", "500M". ERR_INVALID. */
int check_parse_subset(str text, struct check_subset *ret, struct err *err) must_check;

enum check_severity {
    CHECK_HINT,   /* legal, but not tidy: a pack that no index names, a mixed pack */
    CHECK_DAMAGE, /* something cannot be read back */
    CHECK_HURT    /* a snapshot that lacks something by damage that was told before */
};

struct check_finding {
    enum check_severity severity;
    const char *text; /* names the file or path and what is wrong */
};

struct check_options {
    struct check_subset read;
    unsigned threads; /* 0: 2. Each holds the largest blob up to three times while data is read. */
    /* Called for each finding as it comes; may be NULL. */
    void (*finding)(void *ctx, const struct check_finding *finding);
    /* May be NULL; < 0 with *err set ends the check. */
    int (*progress)(void *ctx, const char *what, uint64_t done, uint64_t total, struct err *err);
    void *ctx;
};

struct check_result {
    uint64_t snapshots, trees, blobs, packs, packs_read, bytes_read;
    uint64_t hints, damages;
    bool index_wrong;        /* index files cannot be read, or say a thing twice */
    struct store_id *broken; /* packs that are there, but not as the index says; malloc'd */
    size_t broken_n;
    struct store_id *hurt; /* snapshots that damage touches; malloc'd */
    size_t hurt_n;
};

/* < 0 only if the check itself could not be done (the store cannot be reached, the index cannot be
 * listed). Damage is a result, not an error. */
int check_run(struct repository *repo, const struct check_options *options,
              struct check_result *ret_result, struct err *err) must_check;
void check_result_free(struct check_result *r); /* accepts a zeroed one */

#endif
