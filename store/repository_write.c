/* Blobs into packs, packs into the backend, packs into index files. */
#include "store/repository_impl.h"

#include "core/clock.h"
#include "store/bytes.h"
#include "store/limits.h"
#include "store/unpacked.h"

#include <stdlib.h>

enum { PACK_HEADER_ROOM = 64 << 10, UPLOADS = 2 };

int repository_check_writable(const struct repository *repo, struct err *err)
{
    if (repo->options.read_only)
        return err_set(err, ERR_REFUSED, "the repository was opened for reading only");
    if (repo->config.chunking.kind == CHUNKS_UNKNOWN)
        return err_set(err, ERR_UNSUPPORTED,
                       "its config asks for a way of cutting files that is not known here: it can "
                       "be read, and written by the tool that made it");
    return 0;
}

int repository_check_removable(const struct repository *repo, struct err *err)
{
    if (repository_check_writable(repo, err) < 0)
        return -1;
    if (repo->config.append_only)
        return err_set(err, ERR_REFUSED,
                       "its config says append_only: nothing is removed from this repository "
                       "before `rustic config --set-append-only=false`");
    return 0;
}

const struct store_chunking *repository_chunking(const struct repository *repo)
{
    return &repo->config.chunking;
}

int repository_check_usable(struct repository *repo, struct err *err)
{
    if (repository_check_writable(repo, err) < 0)
        return -1;
    if (!repo->failed)
        return 0;
    err_set(err, repo->failure.kind, "%s", repo->failure.msg);
    return err_wrap(err, "an earlier write failed");
}

void repository_fail(struct repository *repo, const struct err *why)
{
    if (!repo->failed)
        repo->failure = *why;
    repo->failed = true;
}

/* ---- packs ----
 *
 * These are called with the lock held, give it up while they wait for the backend, and return with
 * it. */

unsigned repository_crowding(const struct repository *repo)
{
    size_t n = repo->options.lean ? index_memory(repo->index) : 0;
    return (n > STORE_LEAN_INDEX) + (n > STORE_LEAN_INDEX_BIG);
}

static size_t target_of(const struct repository *repo, enum blob_type type)
{
    bool full = repository_crowding(repo) > 0;
    uint32_t data =
        full ? MIN(STORE_LEAN_PACK, repo->options.pack_target) : repo->options.pack_target;
    return type == BLOB_TREE ? MIN(full ? STORE_LEAN_PACK / 2 : STORE_TREE_PACK_TARGET, data)
                             : data;
}

static struct pack *new_pack(struct repository *repo, enum blob_type type)
{
    size_t room = target_of(repo, type) + PACK_HEADER_ROOM;
    bool again = repo->spare[type].p && repo->spare[type].room < 2 * room;
    if (!again)
        buf_free(&repo->spare[type]);
    struct pack *pack = pack_new(type, 0, again ? 0 : room);
    if (again) {
        buf_free(&pack->bytes);
        pack->bytes = repo->spare[type];
        repo->spare[type] = (struct buf){0};
    }
    pack->number = index_new_pack(repo->index, pack);
    return pack;
}

/* The pack's bytes are not changed after it was closed: loads read them until it is stored. */
static int send_pack(struct repository *repo, struct pack *pack, struct err *err)
{
    if (pack_close(pack, &repo->key, err) < 0)
        return -1;
    repo->busy++;
    pthread_mutex_unlock(&repo->lock);
    int r = backend_save(repo->backend, BACKEND_DATA, pack->bytes.p, pack->bytes.n, &pack->id, err);
    pthread_mutex_lock(&repo->lock);
    repo->busy--;
    return r;
}

static int upload(struct repository *repo, struct pack *pack, struct err *err)
{
    struct err why = {0};
    int r = send_pack(repo, pack, &why);
    if (r == 0) {
        index_pack_stored(repo->index, pack->number, &pack->id, pack->bytes.n);
        repo->stats.packs++;
        repo->stats.bytes_stored += pack->bytes.n;
        if (repo->unindexed.n == 0)
            repo->indexed_ms = clock_mono_ms();
        *vec_add(&repo->unindexed) = pack;
        repo->unindexed_blobs += pack->blobs.n;
        if (!repo->options.lean) {
            buf_free(&repo->spare[pack->type]);
            repo->spare[pack->type] = pack->bytes;
            repo->spare[pack->type].n = 0;
            pack->bytes = (struct buf){0};
        }
        buf_free(&pack->bytes);
    } else {
        struct index_pack *p = index_pack(repo->index, pack->number);
        p->state = PACK_LOST;
        p->memory = NULL;
        repository_fail(repo, &why);
        pack_free(pack);
        if (err)
            *err = why;
    }
    if (repo->busy == 0)
        pthread_cond_broadcast(&repo->idle);
    return r;
}

/* The text of all packs, sealed: piece by piece, for it is ten times as long as what comes out. */
static int seal_index(struct repository *repo, struct work *w, struct pack **packs, size_t n,
                      struct err *err)
{
    struct unpacked_writer *writer = unpacked_begin_sealing(&repo->key, repo->config.version, w);
    struct buf text CLEANUP(buf_free) = {0};
    index_text_begin(&text);
    for (size_t i = 0; i < n; i++) {
        index_text_pack(&text, packs[i]);
        unpacked_add(writer, text.p + (i > 0), text.n - (i > 0));
        buf_reset(&text);
        buf_putc(&text, ' '); /* not the beginning: a comma comes first */
    }
    buf_reset(&text);
    index_text_end(&text);
    unpacked_add(writer, text.p, text.n);
    return unpacked_end_sealing(writer, &w->sealed, err);
}

static int send_index(struct repository *repo, struct pack **packs, size_t n, struct err *err)
{
    struct store_id id;
    struct work *w = repository_take_work(repo);
    int r = seal_index(repo, w, packs, n, err);
    if (r == 0)
        r = repository_save_sealed(repo, BACKEND_INDEX, &w->sealed, &id, err);
    buf_free(&w->sealed);
    repository_give_work(repo, w);
    if (r < 0)
        return err_wrap(err, "writing an index file");
    repository_know_index(repo, &id);
    pthread_mutex_lock(&repo->index_lock);
    *vec_add(&repo->written) = id;
    pthread_mutex_unlock(&repo->index_lock);
    return 0;
}

static int write_index(struct repository *repo, struct err *err)
{
    if (repo->unindexed.n == 0)
        return 0;
    struct pack **packs = repo->unindexed.p;
    size_t n = repo->unindexed.n;
    memset(&repo->unindexed, 0, sizeof repo->unindexed);
    repo->unindexed_blobs = 0;
    repo->indexed_ms = clock_mono_ms();
    repo->busy++;
    pthread_mutex_unlock(&repo->lock);
    struct err why = {0};
    int r = send_index(repo, packs, n, &why);
    for (size_t i = 0; i < n; i++)
        pack_free(packs[i]);
    free(packs);
    pthread_mutex_lock(&repo->lock);
    if (r == 0) {
        repo->stats.index_files++;
    } else {
        repository_fail(repo, &why);
        if (err)
            *err = why;
    }
    if (--repo->busy == 0)
        pthread_cond_broadcast(&repo->idle);
    return r;
}

static bool index_is_due(const struct repository *repo)
{
    return repo->unindexed_blobs >= STORE_INDEX_BLOBS ||
           (repo->unindexed.n &&
            clock_mono_ms() - repo->indexed_ms >= (int64_t)STORE_INDEX_SECONDS * 1000);
}

int repository_send_packs(struct repository *repo, struct pack *full[2], struct err *err)
{
    int r = 0;
    for (int i = 0; i < 2; i++) {
        if (full[i] && r == 0) {
            r = upload(repo, full[i], err);
        } else if (full[i]) {
            index_pack(repo->index, full[i]->number)->state = PACK_LOST;
            index_pack(repo->index, full[i]->number)->memory = NULL;
            pack_free(full[i]);
        }
        repo->queue.uploads -= full[i] != NULL;
        full[i] = NULL;
    }
    pthread_cond_broadcast(&repo->queue.moved);
    return r == 0 && index_is_due(repo) ? write_index(repo, err) : r;
}

static bool is_known(struct repository *repo, enum blob_type type, const struct store_id *id)
{
    return index_has(repo->index, type, id);
}

/* Takes off the open pack, once one more may be uploaded. */
static struct pack *take_off(struct repository *repo, enum blob_type type)
{
    unsigned most = repository_crowding(repo) > 1 ? 1
                    : repo->options.uploads       ? repo->options.uploads
                                                  : UPLOADS;
    while (repo->queue.threads_n && repo->queue.uploads >= most && !repo->failed)
        pthread_cond_wait(&repo->queue.moved, &repo->lock);
    struct pack *pack = TAKE(repo->open[type]);
    repo->queue.uploads += pack != NULL;
    return pack;
}

/* A big blob opens a new pack rather than doubling a full one: memory holds one target's worth. */
static bool has_room(struct repository *repo, enum blob_type type, size_t sealed_n)
{
    size_t target = target_of(repo, type);
    const struct pack *open = repo->open[type];
    return !open || (pack_fits(open, sealed_n) && open->bytes.n < target &&
                     open->blobs.n < STORE_PACK_BLOBS &&
                     (open->bytes.n < target / 2 || open->bytes.n + sealed_n <= target));
}

int repository_add_sealed(struct repository *repo, enum blob_type type, const struct store_id *id,
                          size_t n, const struct buf *sealed, uint32_t plain, bool *ret_known,
                          struct pack *full[2], struct err *err)
{
    full[0] = full[1] = NULL;
    if (!has_room(repo, type, sealed->n))
        full[0] = take_off(repo, type);
    if (repository_check_usable(repo, err) < 0)
        return -1;
    *ret_known = is_known(repo, type, id); /* another thread may have been faster */
    if (*ret_known)
        return 0;
    if (!repo->open[type])
        repo->open[type] = new_pack(repo, type);
    struct pack *pack = repo->open[type];
    uint32_t offset = pack_add(pack, id, sealed->p, sealed->n, plain);
    index_add(repo->index, type, id,
              &(struct index_place){pack->number, offset, (uint32_t)sealed->n, plain});
    repo->stats.blobs_new[type]++;
    repo->stats.bytes_new[type] += n;
    if ((pack->bytes.n >= target_of(repo, type) || pack->blobs.n >= STORE_PACK_BLOBS) && !full[0])
        full[1] = take_off(repo, type);
    return 0;
}

/* ---- blobs ---- */

/* Seals and stores in this thread. */
static int save_now(struct repository *repo, enum blob_type type, const void *p, size_t n,
                    const struct store_id *id, bool *ret_known, struct err *err)
{
    uint32_t plain;
    struct pack *full[2] = {0};
    struct work *w = repository_take_work(repo);
    int r = repository_seal_blob(repo, w, p, n, id, &plain, err);
    if (r == 0) {
        pthread_mutex_lock(&repo->lock);
        r = repository_add_sealed(repo, type, id, n, &w->sealed, plain, ret_known, full, err);
        struct err why = {0};
        if (repository_send_packs(repo, full, &why) < 0 && r == 0) {
            r = -1;
            if (err)
                *err = why;
        }
        pthread_mutex_unlock(&repo->lock);
    }
    if (n > STORE_CHUNK_MIN) {
        buf_free(&w->packed);
        buf_free(&w->sealed);
        buf_free(&w->plain);
    }
    repository_give_work(repo, w);
    return r;
}

/* Leaves it to the threads. */
static int save_later(struct repository *repo, enum blob_type type, const void *p, size_t n,
                      const struct store_id *id, bool *ret_known, struct err *err)
{
    pthread_mutex_lock(&repo->lock);
    int r = repository_queue_put(repo, type, id, p, n, ret_known, err);
    pthread_mutex_unlock(&repo->lock);
    return r;
}

/* 1: it is known; 0: it is not; < 0: nothing can be written. *ret_later: the queue takes so many
 * bytes; a copy of more is not made. */
static int ask(struct repository *repo, enum blob_type type, const struct store_id *id, size_t n,
               bool *ret_later, struct err *err)
{
    pthread_mutex_lock(&repo->lock);
    int r = repository_check_usable(repo, err);
    if (r == 0)
        r = is_known(repo, type, id) || repository_queue_find(repo, type, id);
    *ret_later = repo->options.threads && n <= STORE_QUEUE_BYTES >> repository_crowding(repo);
    pthread_mutex_unlock(&repo->lock);
    return r;
}

int repository_save_blob(struct repository *repo, enum blob_type type, const void *p, size_t n,
                         struct store_id *ret_id, bool *ret_known, struct err *err)
{
    struct store_id id;
    if (n > STORE_BLOB_MAX)
        return err_set(err, ERR_TOO_LARGE, "a blob of %zu bytes; at most %u are stored", n,
                       STORE_BLOB_MAX);
    store_id_of(p, n, &id);
    bool later;
    int r = ask(repo, type, &id, n, &later, err);
    bool known = r > 0;
    if (r == 0 && later)
        r = save_later(repo, type, p, n, &id, &known, err);
    else if (r == 0)
        r = save_now(repo, type, p, n, &id, &known, err);
    if (r < 0)
        return -1;
    *ret_id = id;
    if (ret_known)
        *ret_known = known;
    return 0;
}

/* What is open. A failure of one is that of the repository. */
static int send_open(struct repository *repo, struct err *err)
{
    int r = 0;
    for (int t = 0; r == 0 && t < 2; t++) {
        struct pack *full[2] = {take_off(repo, (enum blob_type)t)};
        r = repository_send_packs(repo, full, err);
    }
    return r;
}

int repository_flush(struct repository *repo, struct err *err)
{
    pthread_mutex_lock(&repo->lock);
    repository_queue_drain(repo);
    int r = repo->failed ? repository_check_usable(repo, err) : send_open(repo, err);
    while (repo->busy)
        pthread_cond_wait(&repo->idle, &repo->lock);
    if (r == 0 && repo->failed)
        r = repository_check_usable(repo, err);
    if (r == 0)
        r = write_index(repo, err);
    for (int t = 0; t < 2; t++)
        buf_free(&repo->spare[t]);
    pthread_mutex_unlock(&repo->lock);
    return r;
}
