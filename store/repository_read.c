/* Blobs out of packs. */
#include "store/repository_impl.h"

#include "store/bytes.h"
#include "store/limits.h"

enum { SMALL_BLOB = 128 << 10, COPIES = 8 };

/* Who reads on from a window's end reads the pack in order: then a window is longer. */
enum { WINDOW = 512 << 10, LONG_WINDOW = 2 << 20 };

/* Memory that a thread keeps for its next blob. */
enum { WORK_KEPT = 1 << 20 };

/* A pack of trees is read as a whole: who wants one of them wants most. */
enum { WHOLE_PACK = STORE_TREE_PACK_TARGET + (512 << 10) };

int blob_open(const struct crypto_key *key, struct work *w, const void *sealed, size_t n,
              uint32_t plain, const struct store_id *id, struct buf *out, struct err *err)
{
    buf_reset(out);
    if (plain > STORE_BLOB_MAX)
        return err_set(err, ERR_TOO_LARGE, "a blob of more than %u bytes", STORE_BLOB_MAX);
    if (plain == 0) {
        if (crypto_open(key, sealed, n, out, err) < 0)
            return -1;
    } else {
        buf_reset(&w->packed);
        if (crypto_open(key, sealed, n, &w->packed, err) < 0 ||
            decompress_exact(w, w->packed.p, w->packed.n, plain, out, err) < 0)
            return -1;
    }
    struct store_id is;
    store_id_of(out->p, out->n, &is);
    if (!store_id_equal(&is, id))
        return err_set(err, ERR_CORRUPT, "its content has another SHA-256 than its name");
    return 0;
}

/* Copies of a blob; more than a few are as good as few. */
static size_t find_copies(struct repository *repo, enum blob_type type, const struct store_id *id,
                          struct index_place places[COPIES])
{
    uint64_t cursor = 0;
    size_t n = 0;
    while (n < COPIES && index_find(repo->index, type, id, &cursor, &places[n]))
        n++;
    return n;
}

static int first_window(enum blob_type type)
{
    return type == BLOB_TREE ? DATA_WINDOWS : 0;
}

static int last_window(enum blob_type type)
{
    return type == BLOB_TREE ? READ_WINDOWS - 1 : DATA_WINDOWS - 1;
}

static bool window_holds(const struct read_window *w, const struct index_place *place)
{
    return w->pack == place->pack && place->offset >= w->offset &&
           place->offset + (uint64_t)place->length <= w->offset + w->n;
}

static void copy_out(struct buf *out, const char *p, size_t n)
{
    buf_reset(out);
    memcpy(bytes_room(out, n), p, n);
    bytes_grow(out, n);
}

/* Takes the sealed bytes from memory, if they are there or on their way. Under the lock, given up
 * meanwhile. */
static bool take_from_memory(struct repository *repo, enum blob_type type,
                             const struct index_place *place, struct buf *out)
{
    const struct index_pack *pack = index_pack(repo->index, place->pack);
    if (pack->state == PACK_IN_MEMORY) {
        copy_out(out, pack->memory->bytes.p + place->offset, place->length);
        return true;
    }
    for (int i = first_window(type); i <= last_window(type); i++) {
        struct read_window *w = &repo->windows[i];
        while (w->coming && window_holds(w, place))
            pthread_cond_wait(&repo->queue.moved, &repo->lock);
        if (!w->valid || !window_holds(w, place))
            continue;
        copy_out(out, w->bytes.p + (place->offset - w->offset), place->length);
        w->used = ++repo->reads;
        return true;
    }
    return false;
}

/* The window that was not used for longest, of those that nobody reads; or NULL. */
static struct read_window *oldest_window(struct repository *repo, enum blob_type type)
{
    struct read_window *oldest = NULL;
    for (int i = first_window(type); i <= last_window(type); i++) {
        struct read_window *w = &repo->windows[i];
        if (!w->coming && (!oldest || w->used < oldest->used))
            oldest = w;
    }
    return oldest;
}

static bool goes_on(const struct repository *repo, const struct index_place *place)
{
    for (int i = 0; i < DATA_WINDOWS; i++) {
        const struct read_window *w = &repo->windows[i];
        if ((w->valid || w->coming) && w->pack == place->pack && place->offset > w->offset &&
            place->offset <= w->offset + w->n)
            return true;
    }
    return false;
}

/* Chooses what to read for a small blob besides itself. Under the lock. */
static struct read_window *claim_window(struct repository *repo, enum blob_type type,
                                        const struct index_place *place)
{
    uint64_t pack_size = index_pack(repo->index, place->pack)->size;
    if (place->length > SMALL_BLOB || place->offset >= pack_size ||
        pack_size - place->offset < place->length)
        return NULL;
    struct read_window *w = oldest_window(repo, type);
    if (!w)
        return NULL;
    uint64_t most = type == BLOB_DATA && goes_on(repo, place) ? LONG_WINDOW : WINDOW;
    uint64_t from = place->offset, n = MIN(most, pack_size - from);
    if (type == BLOB_TREE && pack_size <= WHOLE_PACK)
        from = 0, n = pack_size;
    w->valid = false;
    w->coming = true;
    w->used = ++repo->reads;
    w->pack = place->pack;
    w->offset = from;
    w->n = (size_t)n;
    return w;
}

/* Reads the neighbourhood of a small blob, for the blobs that are asked for next. */
static bool read_window(struct repository *repo, struct read_window *w,
                        const struct index_place *place, const struct backend_file *file,
                        struct buf *out)
{
    struct err ignored; /* the exact range may still be there */
    int r = backend_load_range(repo->backend, file, w->offset, w->n, &w->bytes, &ignored);
    pthread_mutex_lock(&repo->lock);
    if (r == 0)
        copy_out(out, w->bytes.p + (place->offset - w->offset), place->length);
    w->valid = r == 0;
    w->coming = false;
    pthread_cond_broadcast(&repo->queue.moved);
    pthread_mutex_unlock(&repo->lock);
    return r == 0;
}

static int load_copy(struct repository *repo, enum blob_type type, const struct index_place *place,
                     struct buf *sealed, struct err *err)
{
    if (place->length > STORE_BLOB_MAX + CRYPTO_OVERHEAD)
        return err_set(err, ERR_TOO_LARGE, "a blob of more than %u bytes", STORE_BLOB_MAX);
    pthread_mutex_lock(&repo->lock);
    bool done = take_from_memory(repo, type, place, sealed);
    struct backend_file file = {BACKEND_DATA, index_pack(repo->index, place->pack)->id};
    struct read_window *w = done ? NULL : claim_window(repo, type, place);
    pthread_mutex_unlock(&repo->lock);
    if (done || (w && read_window(repo, w, place, &file, sealed)))
        return 0;
    return backend_load_range(repo->backend, &file, place->offset, place->length, sealed, err);
}

/* Many threads have one each. */
static void shrink(struct work *w)
{
    struct buf *bufs[] = {&w->packed, &w->sealed};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        if (bufs[i]->room > WORK_KEPT)
            buf_free(bufs[i]);
}

size_t repository_tree_memory(const struct repository *repo)
{
    return repo->options.tree_memory;
}

static int check_tree_size(const struct repository *repo, const struct index_place *place,
                           struct err *err)
{
    size_t most = repo->options.tree_memory, n = MAX(place->plain, place->length);
    return most == 0 || n <= most
               ? 0
               : err_set(err, ERR_REFUSED,
                         "the list of one directory takes %zu MiB, of %zu that there are for it: "
                         "give the process more memory",
                         n >> 20, most >> 20);
}

int repository_load_blob(struct repository *repo, enum blob_type type, const struct store_id *id,
                         struct buf *out, struct err *err)
{
    struct index_place places[COPIES];
    char hex[STORE_ID_HEX];
    const char *what = type == BLOB_TREE ? "tree" : "data blob";
    store_id_hex(id, hex);
    pthread_mutex_lock(&repo->lock);
    while (repository_queue_find(repo, type, id))
        pthread_cond_wait(&repo->queue.moved, &repo->lock);
    size_t n = find_copies(repo, type, id, places);
    pthread_mutex_unlock(&repo->lock);
    if (n == 0 && type == BLOB_DATA && repo->options.lean)
        return err_set(err, ERR_UNSUPPORTED, "%s %.16s: a lean index does not say where it is",
                       what, hex);
    if (n == 0)
        return err_set(err, ERR_NOT_FOUND, "%s %.16s is not in the index", what, hex);
    struct work *w = repository_take_work(repo);
    struct err why = {0};
    int r = -1;
    for (size_t i = 0; r < 0 && i < n; i++) {
        if (type == BLOB_TREE && check_tree_size(repo, &places[i], &why) < 0)
            continue;
        r = load_copy(repo, type, &places[i], &w->sealed, &why);
        if (r == 0)
            r = blob_open(&repo->key, w, w->sealed.p, w->sealed.n, places[i].plain, id, out, &why);
    }
    shrink(w);
    repository_give_work(repo, w);
    if (r == 0)
        return 0;
    /* The key is right, it opened the config: a seal that does not fit is damage. */
    enum err_kind kind =
        why.kind == ERR_UNAUTHORIZED || why.kind == ERR_NOT_FOUND ? ERR_CORRUPT : why.kind;
    err_set(err, kind, "%s", why.msg);
    return err_wrap(err, "%s %.16s", what, hex);
}

bool repository_has_blob(struct repository *repo, enum blob_type type, const struct store_id *id,
                         uint64_t *ret_size)
{
    uint64_t cursor = 0;
    struct index_place place = {0};
    pthread_mutex_lock(&repo->lock);
    bool lean = repo->options.lean && type == BLOB_DATA;
    bool found = lean ? index_has(repo->index, type, id)
                      : index_find(repo->index, type, id, &cursor, &place);
    const struct job *job = found ? NULL : repository_queue_find(repo, type, id);
    if (found && lean && ret_size)
        *ret_size = REPOSITORY_SIZE_UNKNOWN;
    else if (found && ret_size)
        *ret_size = place.plain ? place.plain : place.length - CRYPTO_OVERHEAD;
    else if (job && ret_size)
        *ret_size = job->n;
    pthread_mutex_unlock(&repo->lock);
    return found || job;
}
