#include "mover/crew.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* What a thread works with is a file of one chunk of FILE_MAX at most, sealed, packed, plain and
 * beside its old content: THREADS * 4 * FILE_MAX = 6 MiB; what waits are nodes of XATTRS_MAX. */
enum { THREADS = 3, JOBS = 64, FILE_MAX = 512 << 10, XATTRS_MAX = 4096 };

struct crew_leaving {
    struct arena *arena;
    const char *path;
    struct node node;
};

struct job {
    struct crew_dir *dir;
    struct arena *arena;
    const char *path, *name;
    struct node node;
};

struct hand {
    struct crew *crew;
    pthread_t thread;
    struct mover_report report;
    struct extract x;
};

struct crew {
    struct hand hands[THREADS];
    unsigned hands_n;
    bool started;
    struct extract like;
    pthread_mutex_t lock; /* everything below, and the users of directories */
    pthread_cond_t added, done;
    struct job jobs[JOBS]; /* a ring: first <= next <= last, in the order of the tree */
    uint64_t next, last;
    unsigned busy;
    bool ending, failed;
    struct err failure;
};

struct crew *crew_new(const struct extract *x)
{
    struct crew *c = xcalloc(1, sizeof *c);
    c->like = (struct extract){.repo = x->repo,
                               .volume = x->volume,
                               .root = x->root,
                               .choice = x->choice,
                               .problems = {.each = x->problems.each, .ctx = x->problems.ctx}};
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->added, NULL);
    pthread_cond_init(&c->done, NULL);
    return c;
}

/* ---- directories ---- */

struct crew_dir *crew_enter(struct crew *c, int fd)
{
    struct crew_dir *dir = xcalloc(1, sizeof *dir);
    *dir = (struct crew_dir){.fd = fd, .crew = c, .users = 1};
    return dir;
}

static void go_to(struct extract *x, const char *path)
{
    buf_reset(&x->path.text);
    buf_puts(&x->path.text, path);
}

static void free_dir(struct crew_dir *dir)
{
    if (dir->leaving)
        arena_free(dir->leaving->arena);
    close(dir->fd);
    free(dir);
}

/* x: NULL if it does not matter any more. */
static void put_dir(struct crew_dir *dir, struct extract *x)
{
    struct crew *c = dir->crew;
    pthread_mutex_lock(&c->lock);
    bool last = --dir->users == 0;
    pthread_mutex_unlock(&c->lock);
    if (!last)
        return;
    if (dir->leaving && x) {
        go_to(x, dir->leaving->path);
        place_metadata(x, dir->fd, ".", &dir->leaving->node);
    }
    free_dir(dir);
}

void crew_leave(struct crew_dir *dir, struct extract *x, const struct node *node)
{
    struct arena *a = arena_new();
    struct crew_leaving *leaving = arena_new_of(a, struct crew_leaving);
    leaving->arena = a;
    leaving->path = arena_strdup(a, volume_path_text(&x->path));
    node_copy(a, node, &leaving->node);
    pthread_mutex_lock(&dir->crew->lock);
    bool last = dir->users == 1;
    dir->leaving = leaving;
    if (!last)
        dir->users--;
    pthread_mutex_unlock(&dir->crew->lock);
    if (!last)
        return;
    place_metadata(x, dir->fd, ".", node);
    free_dir(dir);
}

void crew_abandon(struct crew_dir **dir)
{
    if (*dir)
        put_dir(*dir, NULL);
    *dir = NULL;
}

/* ---- files ---- */

static void free_job(struct job *job, struct extract *x)
{
    put_dir(job->dir, x);
    arena_free(job->arena);
}

/* Under the lock, given up meanwhile. */
static void do_next(struct crew *c, struct extract *x)
{
    struct err why = {0};
    struct job job = c->jobs[c->next++ % JOBS];
    bool skip = c->failed;
    c->busy++;
    pthread_mutex_unlock(&c->lock);
    int r = 0;
    if (!skip) {
        go_to(x, job.path);
        r = place_leaf(x, job.dir->fd, job.name, &job.node, &why);
        if (r < 0)
            r = place_failed(x, &why, &why);
    }
    free_job(&job, skip || r < 0 ? NULL : x);
    pthread_mutex_lock(&c->lock);
    c->busy--;
    if (r < 0 && !c->failed) {
        c->failed = true;
        c->failure = why;
    }
    pthread_cond_broadcast(&c->done);
}

static void *run(void *ctx)
{
    struct hand *hand = ctx;
    struct crew *c = hand->crew;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (c->next == c->last && !c->ending)
            pthread_cond_wait(&c->added, &c->lock);
        if (c->next == c->last)
            break;
        do_next(c, &hand->x);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void start(struct crew *c)
{
    c->started = true;
    for (unsigned i = 0; i < THREADS; i++) {
        struct hand *hand = &c->hands[i];
        hand->crew = c;
        hand->x = c->like;
        hand->x.problems.report = &hand->report;
        hand->x.content = content_new(c->like.repo, c->like.choice != NULL);
        if (pthread_create(&hand->thread, NULL, run, hand) != 0) {
            content_free(hand->x.content);
            break; /* fewer will do, and none */
        }
        c->hands_n++;
    }
}

/* Small, and of no interest to any other file of the tree. */
static bool is_light(const struct extract *x, const struct node *node)
{
    uint64_t size = 0;
    size_t attributes = 0;
    for (size_t i = 0; i < node->xattrs_n; i++)
        attributes += node->xattrs[i].name.n + node->xattrs[i].value.n;
    return node->type == NODE_FILE && node->links <= 1 && attributes <= XATTRS_MAX &&
           (node->content_n == 0 ||
            (node->content_n == 1 &&
             repository_has_blob(x->repo, BLOB_DATA, node->content, &size) && size <= FILE_MAX));
}

int crew_place(struct crew_dir *dir, struct extract *x, const char *name, const struct node *node,
               struct err *err)
{
    struct crew *c = dir->crew;
    if (!is_light(x, node))
        return place_leaf(x, dir->fd, name, node, err);
    if (!c->started)
        start(c);
    if (c->hands_n == 0)
        return place_leaf(x, dir->fd, name, node, err);
    struct job job = {.dir = dir, .arena = arena_new()};
    job.path = arena_strdup(job.arena, volume_path_text(&x->path));
    job.name = arena_strdup(job.arena, name);
    node_copy(job.arena, node, &job.node);
    pthread_mutex_lock(&c->lock);
    while (c->last - c->next == JOBS && !c->failed)
        pthread_cond_wait(&c->done, &c->lock);
    bool failed = c->failed;
    if (failed) {
        *err = c->failure;
    } else {
        c->jobs[c->last++ % JOBS] = job;
        dir->users++;
        pthread_cond_signal(&c->added);
    }
    pthread_mutex_unlock(&c->lock);
    if (failed)
        arena_free(job.arena);
    return failed ? -1 : 0;
}

int crew_wait(struct crew *c, struct err *err)
{
    pthread_mutex_lock(&c->lock);
    while (c->next < c->last || c->busy)
        pthread_cond_wait(&c->done, &c->lock);
    bool failed = c->failed;
    if (failed)
        *err = c->failure;
    pthread_mutex_unlock(&c->lock);
    return failed ? -1 : 0;
}

void crew_free(struct crew *c, struct mover_report *report)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->failed = true; /* what is not begun is dropped */
    c->ending = true;
    pthread_cond_broadcast(&c->added);
    pthread_mutex_unlock(&c->lock);
    for (unsigned i = 0; i < c->hands_n; i++) {
        struct extract *x = &c->hands[i].x;
        pthread_join(c->hands[i].thread, NULL);
        mover_report_add(report, &c->hands[i].report);
        content_free(x->content);
        attributes_free(&x->attributes);
        buf_free(&x->problems.list);
        buf_free(&x->path.text);
        free(x->link);
    }
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->added);
    pthread_cond_destroy(&c->done);
    free(c);
}
