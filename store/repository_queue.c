/* Threads that seal and upload what callers of repository_save_blob leave to them. Blobs enter
 * packs in the order in which they came, so that a run over the same files makes the same packs. */
#include "store/repository_impl.h"

#include "store/limits.h"

#include <stdlib.h>

void repository_queue_init(struct repository *repo)
{
    pthread_cond_init(&repo->queue.work, NULL);
    pthread_cond_init(&repo->queue.moved, NULL);
}

const struct job *repository_queue_find(const struct repository *repo, enum blob_type type,
                                        const struct store_id *id)
{
    for (const struct job *j = repo->queue.first; j; j = j->next)
        if (j->type == type && store_id_equal(&j->id, id))
            return j;
    return NULL;
}

static void remove_job(struct queue *q, struct job *job)
{
    struct job *before = NULL;
    for (struct job *j = q->first; j != job; j = j->next)
        before = j;
    *(before ? &before->next : &q->first) = job->next;
    if (q->last == job)
        q->last = before;
    q->jobs--;
    q->bytes -= job->n;
    free(job->p);
    free(job);
    pthread_cond_broadcast(&q->moved);
}

/* Another thread needs this memory next. */
static void shrink(struct buf *b)
{
    if (b->room > STORE_CHUNK_MIN)
        buf_free(b);
}

/* The plaintext is done with: loads wait until the blob is in a pack. It stays counted, for the
 * sealed bytes, which are about as many. */
static void end_plaintext(struct job *job, struct work *w)
{
    free(job->p);
    job->p = NULL;
    shrink(&w->packed);
    shrink(&w->plain);
}

/* Under the lock, given up meanwhile. */
static void do_job(struct repository *repo, struct job *job, struct work *w)
{
    struct queue *q = &repo->queue;
    uint32_t plain = 0;
    bool known;
    struct err why = {0};
    struct pack *full[2] = {0};
    pthread_mutex_unlock(&repo->lock);
    int r = repository_seal_blob(repo, w, job->p, job->n, &job->id, &plain, &why);
    pthread_mutex_lock(&repo->lock);
    end_plaintext(job, w);
    while (r == 0 && q->turn != job->ticket && !repo->failed)
        pthread_cond_wait(&q->moved, &repo->lock);
    if (r == 0 && !repo->failed)
        r = repository_add_sealed(repo, job->type, &job->id, job->n, &w->sealed, plain, &known,
                                  full, &why);
    if (r < 0)
        repository_fail(repo, &why);
    q->turn++; /* after a failure nobody waits for his turn */
    remove_job(q, job);
    shrink(&w->sealed);
    /* A failed upload is remembered there. */
    (void)!repository_send_packs(repo, full, &why);
}

static void *run(void *ctx)
{
    struct repository *repo = ctx;
    struct queue *q = &repo->queue;
    struct work *w = repository_take_work(repo);
    pthread_mutex_lock(&repo->lock);
    for (;;) {
        while (!q->waiting && !q->ending)
            pthread_cond_wait(&q->work, &repo->lock);
        if (q->ending)
            break;
        struct job *job = q->waiting;
        q->waiting = job->next;
        do_job(repo, job, w);
    }
    pthread_mutex_unlock(&repo->lock);
    repository_give_work(repo, w);
    return NULL;
}

static int start_threads(struct repository *repo, struct err *err)
{
    struct queue *q = &repo->queue;
    if (!q->threads)
        q->threads = xcalloc(repo->options.threads, sizeof *q->threads);
    while (q->threads_n < repo->options.threads) {
        int e = pthread_create(&q->threads[q->threads_n], NULL, run, repo);
        if (e && q->threads_n == 0)
            return err_errno(err, e, "starting a thread");
        if (e)
            break; /* fewer will do */
        q->threads_n++;
    }
    return 0;
}

static bool is_full(const struct repository *repo, size_t n)
{
    const struct queue *q = &repo->queue;
    size_t most = STORE_QUEUE_BYTES >> repository_crowding(repo);
    return q->jobs && (q->jobs >= STORE_QUEUE_JOBS || q->bytes + n > most);
}

/* Room for n bytes is taken before they are copied: what waits for room has no copy. */
static char *copy_bytes(struct repository *repo, const void *p, size_t n)
{
    repo->queue.jobs++;
    repo->queue.bytes += n;
    pthread_mutex_unlock(&repo->lock);
    char *copy = xmalloc(MAX(n, (size_t)1));
    memcpy(copy, p, n);
    pthread_mutex_lock(&repo->lock);
    return copy;
}

int repository_queue_put(struct repository *repo, enum blob_type type, const struct store_id *id,
                         const void *p, size_t n, bool *ret_known, struct err *err)
{
    struct queue *q = &repo->queue;
    if (!q->threads_n && start_threads(repo, err) < 0)
        return -1;
    while (is_full(repo, n) && !repo->failed)
        pthread_cond_wait(&q->moved, &repo->lock);
    char *copy = copy_bytes(repo, p, n);
    int r = repository_check_usable(repo, err);
    /* Another caller may have been faster. */
    *ret_known =
        r == 0 && (index_has(repo->index, type, id) || repository_queue_find(repo, type, id));
    if (r < 0 || *ret_known) {
        free(copy);
        q->jobs--;
        q->bytes -= n;
        pthread_cond_broadcast(&q->moved);
        return r;
    }
    struct job *job = xcalloc(1, sizeof *job);
    *job = (struct job){.type = type, .id = *id, .p = copy, .n = n, .ticket = q->tickets++};
    *(q->last ? &q->last->next : &q->first) = job;
    q->last = job;
    if (!q->waiting)
        q->waiting = job;
    pthread_cond_signal(&q->work);
    return 0;
}

void repository_queue_drain(struct repository *repo)
{
    while (repo->queue.first || (repo->queue.threads_n && repo->queue.uploads))
        pthread_cond_wait(&repo->queue.moved, &repo->lock);
}

void repository_queue_end(struct repository *repo)
{
    struct queue *q = &repo->queue;
    pthread_mutex_lock(&repo->lock);
    q->ending = true;
    pthread_cond_broadcast(&q->work);
    pthread_mutex_unlock(&repo->lock);
    for (unsigned i = 0; i < q->threads_n; i++)
        pthread_join(q->threads[i], NULL);
    while (q->first)
        remove_job(q, q->first);
    free(q->threads);
    pthread_cond_destroy(&q->work);
    pthread_cond_destroy(&q->moved);
}
