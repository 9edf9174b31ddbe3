/* Where a repository's files lie. A backend stores whole immutable files by (type, id); a reader
 * sees a file whole or not at all, and a file saved is found by a later list.
 *
 * All calls may come from several threads at once. Files other than the config are named by the
 * SHA-256 of their bytes: backend_save checks it before and backend_load_all after. */
#ifndef STORE_BACKEND_H
#define STORE_BACKEND_H

#include "store/id.h"

enum backend_type {
    BACKEND_CONFIG, /* one file without an id */
    BACKEND_KEY,
    BACKEND_LOCK,
    BACKEND_SNAPSHOT,
    BACKEND_INDEX,
    BACKEND_DATA,
    BACKEND_TYPES
};

struct backend_file {
    enum backend_type type;
    struct store_id id; /* not used for BACKEND_CONFIG */
};

/* Called for each file of a list, in no order; < 0 (with *err set) ends the list with that error.
 */
typedef int backend_list_fn(void *ctx, const struct store_id *id, uint64_t size, struct err *err);

/* Called for each folder; name: one path element, valid during the call. */
typedef int backend_folder_fn(void *ctx, const char *name, struct err *err);

struct backend;

/* What a backend implements. Nothing here retries, but for what its own header says. */
struct backend_ops {
    const char *name; /* "local", "rest": for messages */
    /* Makes the empty layout (folders); a layout that is there already is no error. */
    int (*create)(struct backend *b, struct err *err);
    /* Durable on return. ERR_EXISTS if the file is there already, except where it surely holds the
     * same bytes (then success). */
    int (*save)(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                struct err *err);
    /* Appends exactly n bytes from offset; n == BACKEND_ALL: all from offset, at most `max`.
     * ERR_NOT_FOUND; ERR_CORRUPT if the file is shorter; ERR_TOO_LARGE. */
    int (*load)(struct backend *b, const struct backend_file *f, uint64_t offset, size_t n,
                size_t max, struct buf *out, struct err *err);
    int (*stat)(struct backend *b, const struct backend_file *f, uint64_t *ret_size,
                struct err *err);
    /* Files whose names are not ids are passed over. A missing folder is an empty list only where
     * the repository itself is there (ERR_NOT_FOUND otherwise). */
    int (*list)(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                struct err *err);
    /* May be NULL, both: see backend_foresee and backend_look_again. */
    int (*foresee)(struct backend *b, struct err *err);
    void (*look_again)(struct backend *b, enum backend_type type);
    /* A missing file is success. */
    int (*remove)(struct backend *b, const struct backend_file *f, struct err *err);
    /* See backend_list_folders; NULL: not known here. */
    int (*folders)(struct backend *b, backend_folder_fn *fn, void *ctx, struct err *err);
    void (*close)(struct backend *b);
};

/* The head of every backend's own struct. */
struct backend {
    const struct backend_ops *ops;
};

#define BACKEND_ALL ((size_t)-1)

/* As the operations, with the checks that hold for all of them. */
int backend_create(struct backend *b, struct err *err) must_check;

/* Saves under the name that the bytes have (SHA-256; given back in *ret_id if not NULL). */
int backend_save(struct backend *b, enum backend_type type, const void *p, size_t n,
                 struct store_id *ret_id, struct err *err) must_check;

/* Saves under a name that the caller got from elsewhere; ERR_INVALID if the bytes have another. */
int backend_save_as(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                    struct err *err) must_check;

/* Replaces the content of *out by a range: exactly n bytes from offset. */
int backend_load_range(struct backend *b, const struct backend_file *f, uint64_t offset, size_t n,
                       struct buf *out, struct err *err) must_check;

/* Replaces the content of *out by the whole file, at most `max` bytes; ERR_CORRUPT if its SHA-256
 * is not its name. */
int backend_load_all(struct backend *b, const struct backend_file *f, size_t max, struct buf *out,
                     struct err *err) must_check;

int backend_stat(struct backend *b, const struct backend_file *f, uint64_t *ret_size,
                 struct err *err) must_check;
int backend_list(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                 struct err *err) must_check;

/* Announces lists of several types. Where a list costs a round trip, all types but data are listed
 * now, in one request, and the next list of each is answered by that: once, within a few seconds,
 * and not after a file of the type was saved or removed through b. Call it after whatever such a
 * list shall show (a lock of one's own). Elsewhere it does nothing. */
int backend_foresee(struct backend *b, struct err *err) must_check;

/* The next list of that type is asked for anew, whatever was foreseen: for whoever wants to know
 * what others have written since. */
void backend_look_again(struct backend *b, enum backend_type type);

/* Appends the ids of all files of a type, at most max of them (ERR_TOO_LARGE). Empty files are
 * passed over unless empty_too: a lock or key of no bytes was never written, and restic passes over
 * it. */
int backend_list_ids(struct backend *b, enum backend_type type, bool empty_too, size_t max,
                     struct store_ids *ids, struct err *err) must_check;

int backend_remove(struct backend *b, const struct backend_file *f, struct err *err) must_check;

/* The folders directly below the backend's own, in no order: for a backend that was opened not at a
 * repository but at what repositories lie in. One that is not there has none. ERR_UNSUPPORTED: this
 * backend cannot tell. */
int backend_list_folders(struct backend *b, backend_folder_fn *fn, void *ctx, struct err *err)
    must_check;
void backend_close(struct backend *b); /* accepts NULL */
DEFINE_CLEANUP(struct backend *, backend_close)

/* A folder. Files are written to a temporary name beside the target, synced, renamed, the folder
 * synced, mode 0400. Opening touches nothing; the folder need not be there (backend_create makes it
 * and its missing parents, mode 0700). */
int backend_open_local(const char *path, struct backend **ret_backend, struct err *err) must_check;

/* restic's REST protocol, version 2, over libcurl.
 * Requests that fail by connection, timeout, 429 or 5xx are repeated with growing pauses until
 * retry_seconds have passed. The caller ran curl_global_init where threads matter. */
struct backend_rest_options {
    const char *url;      /* http(s)://[user:password@]host[:port]/path, with or without last '/' */
    const char *ca_pem;   /* the only certificates trusted, PEM text; NULL: the system's */
    const char *user;     /* for Basic; NULL with a token: bearer */
    const char *password; /* a fixed Basic password, or NULL */
    const char *token_file; /* read again for each request: a bearer token, or the Basic password of
                               `user`; NULL: none */
    unsigned timeout_seconds;  /* for a request without progress; 0: 60 */
    unsigned retry_seconds;    /* 0: 60; a first try is always made */
    uint64_t send_per_second;  /* bytes of all requests together; 0: no limit */
    uint64_t fetch_per_second; /* likewise, of answers */
};
int backend_open_rest(const struct backend_rest_options *options, struct backend **ret_backend,
                      struct err *err) must_check;

/* restic's forms: /path, local:path, rest:http(s)://..., s3:... (store/backend_s3.h; credentials
 * and region as the environment says); `rest` gives what the URL cannot say (its url is not used;
 * of it s3: takes CA and times) and may be NULL. ERR_UNSUPPORTED names any other scheme. */
int backend_open_url(const char *url, const struct backend_rest_options *rest,
                     struct backend **ret_backend, struct err *err) must_check;

#endif
