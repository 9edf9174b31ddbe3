/* One restic repository (format version 2; version 1 is read): keys, blobs, packs, index.
 *
 * Crash safety: packs become durable before an index names them, and the index before a snapshot
 * refers to it. Whoever reads lists snapshots first and loads the index after.
 *
 * Thread-safe: all calls on one repository may come from several threads. A failed upload makes the
 * repository unusable for writing (each later write fails with the first cause): open it again. */
#ifndef STORE_REPOSITORY_H
#define STORE_REPOSITORY_H

#include "store/backend.h"
#include "store/config.h"

struct repository;

enum blob_type { BLOB_DATA, BLOB_TREE };

/* One key file: a password that opens the repository. `username` and `hostname` are notes in clear.
 */
struct repository_key {
    const char *password;
    const char *username, *hostname;
    unsigned scrypt_log2; /* N = 2^this, r = 8, p = 1; 0: 15 (32 MiB, about 0.1 s) */
};

struct repository_options {
    /* Called before each index file and each snapshot file is written: the place where a writer
     * confirms its own lock. < 0 with *err set stops the write. May be NULL. */
    int (*before_index)(void *ctx, struct err *err);
    int (*before_snapshot)(void *ctx, struct err *err);
    void *ctx;
    bool read_only;       /* every write is ERR_REFUSED */
    int compression;      /* zstd level; 0: 3 */
    uint32_t pack_target; /* bytes; 0: STORE_PACK_TARGET */
    /* Threads that compress, seal and upload beside the callers of repository_save_blob; 0: they
     * do it themselves. The hooks above are called by these threads too. */
    unsigned threads;
    /* Of blobs of data only that they are stored is known, in 14 bytes each instead of 55: none can
     * be loaded (ERR_UNSUPPORTED). For a backup of millions of files. */
    bool lean;
    uint32_t lean_ids; /* of so many at most, the others are stored again; 0: STORE_LEAN_IDS */
    unsigned uploads;  /* packs that are uploaded at one time, with threads; 0: 2 */
    const struct store_id *key_hint; /* the key file to try first, or NULL */
    /* Of an earlier opening with the same password, or NULL: its key is taken if it opens the
     * config and its key file is listed. */
    const struct repository_memory *memory;
    /* The key files that the caller has just listed, after backend_foresee; NULL: they are listed.
     */
    const struct store_ids *keys;
    /* With memory: the config is not read again. For whoever decides by nothing but files that are
     * listed now and sealed with the same key. */
    bool config_known;
    /* Bytes: a tree that is larger is not loaded, and a walk does not go where the directories
     * above are larger together (ERR_REFUSED); 0: no bound but STORE_BLOB_MAX for one. */
    size_t tree_memory;
};

/* What a process may keep of a repository that it has opened, so that opening it again reads no key
 * file and derives no key (0.1 s and 32 MiB). Holds the master key. Never changes. */
struct repository_memory;
struct repository_memory *repository_remember(const struct repository *repo);
struct repository_memory *repository_memory_copy(const struct repository_memory *m);
void repository_memory_free(struct repository_memory *m); /* wipes; accepts NULL */
DEFINE_CLEANUP(struct repository_memory *, repository_memory_free)

/* Makes a repository: one random master key in a key file for each of `keys` (at least one), then
 * the config. ERR_EXISTS if there is a config, a key or a snapshot. ret_key_ids (may be NULL) has
 * room for keys_n ids. A crash in between leaves keys without a config; init then says so. */
int repository_init(struct backend *b, const struct repository_key *keys, size_t keys_n,
                    struct store_id *ret_key_ids, struct err *err) must_check;

/* Opens with a password. Borrows the backend until repository_close. Loads no index.
 * ERR_NOT_FOUND: no config there. ERR_UNAUTHORIZED: no key file opens with it. ERR_CORRUPT,
 * ERR_UNSUPPORTED: the config is broken or of another version. options may be NULL. */
int repository_open(struct backend *b, const char *password,
                    const struct repository_options *options, struct repository **ret_repo,
                    struct err *err) must_check;

/* The same repository and key again, with nothing known of its index: what a new process would see.
 * Read only. Borrows the same backend; independent of `repo` after the call. */
int repository_reopen(struct repository *repo, struct repository **ret_repo, struct err *err)
    must_check;

/* Drops what was not flushed. Wipes the keys. Accepts NULL. */
void repository_close(struct repository *repo);
DEFINE_CLEANUP(struct repository *, repository_close)

struct backend *repository_backend(struct repository *repo);
size_t repository_tree_memory(const struct repository *repo);        /* of the options */
const struct store_id *repository_id(const struct repository *repo); /* the config's id */
const struct store_id *
repository_key_id(const struct repository *repo); /* the key file that opened */
/* That the key file was listed when the repository was opened. False also where none were listed:
 * ask for the file then. */
bool repository_lists_key(const struct repository *repo, const struct store_id *id);

/* The config as it is stored, sealed; borrowed until repository_close. */
str repository_sealed_config(const struct repository *repo);

/* From now on `fn` (NULL: nothing) is called before each index file and each snapshot is written,
 * as before_index and before_snapshot: for a lock that is taken after the repository was opened. */
void repository_guard_writes(struct repository *repo, int (*fn)(void *ctx, struct err *err),
                             void *ctx);

uint64_t repository_polynomial(const struct repository *repo);
unsigned repository_version(const struct repository *repo);

/* Where file contents are cut in this repository, so that all who write into it cut alike. Where it
 * is CHUNKS_UNKNOWN, every write is ERR_UNSUPPORTED. */
const struct store_chunking *repository_chunking(const struct repository *repo);

/* Asked before anything but a lock is removed. ERR_REFUSED: opened for reading only, or its config
 * says append_only, as rustic writes it. */
int repository_check_removable(const struct repository *repo, struct err *err) must_check;

/* Adds a key file for the same master key. */
int repository_add_key(struct repository *repo, const struct repository_key *key,
                       struct store_id *ret_id, struct err *err) must_check;

/* Appends the text of a key file for the same master key, and stores nothing: for whoever is shown
 * a key that is in no repository. *ret_id: the name that it would have. */
int repository_key_text(struct repository *repo, const struct repository_key *key, struct buf *out,
                        struct store_id *ret_id, struct err *err) must_check;

/* Lists the index files and reads those not read yet. Call it before load, has and save: without
 * it, nothing is known to be stored. Call it again to see what others wrote. */
int repository_load_index(struct repository *repo, struct err *err) must_check;

/* Stores a blob unless one with this id and type is stored or on its way. n <= STORE_BLOB_MAX.
 * ret_known (may be NULL): it was. Durable after repository_flush. With threads it may return
 * before the blob is stored: a failure is told by a later call, repository_flush at the latest. */
int repository_save_blob(struct repository *repo, enum blob_type type, const void *p, size_t n,
                         struct store_id *ret_id, bool *ret_known, struct err *err) must_check;

/* Replaces the content of *out by the blob, verified. ERR_NOT_FOUND: not in the index.
 * ERR_CORRUPT: no stored copy of it is whole. */
int repository_load_blob(struct repository *repo, enum blob_type type, const struct store_id *id,
                         struct buf *out, struct err *err) must_check;

/* In the index, or on its way. ret_size (may be NULL): the length of its plaintext, or
 * REPOSITORY_SIZE_UNKNOWN of data in a lean repository. */
#define REPOSITORY_SIZE_UNKNOWN UINT64_MAX
bool repository_has_blob(struct repository *repo, enum blob_type type, const struct store_id *id,
                         uint64_t *ret_size);

/* Writes what is open: packs, then the index of all packs that have none. */
int repository_flush(struct repository *repo, struct err *err) must_check;

/* What this process has written and read so far. */
struct repository_stats {
    uint64_t blobs_new[2], bytes_new[2]; /* by blob_type; plaintext bytes */
    uint64_t bytes_stored;               /* sealed bytes of new packs */
    uint64_t packs, index_files;         /* written */
    uint64_t index_blobs, index_memory;  /* entries of the index and its bytes in memory */
};
void repository_get_stats(struct repository *repo, struct repository_stats *ret_stats);

/* Unpacked files (snapshot, lock, index): a JSON text, compressed and sealed, named by the SHA-256
 * of what is stored. Snapshots and indexes run their hook first. */
int repository_save_file(struct repository *repo, enum backend_type type, str text,
                         struct store_id *ret_id, struct err *err) must_check;
int repository_load_file(struct repository *repo, enum backend_type type, const struct store_id *id,
                         struct buf *out, struct err *err) must_check;

#endif
