#include "schedule.h"

#include "matrix.h"

#include <string.h>

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct actor *turn;
} now = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct actor *actor_of(struct backend *b)
{
    return (struct actor *)b;
}

/* ---- the gate ---- */

static void wait_for_turn(struct actor *a)
{
    pthread_mutex_lock(&now.mutex);
    a->state = ACTOR_WAITS;
    pthread_cond_broadcast(&now.changed);
    while (now.turn != a)
        pthread_cond_wait(&now.changed, &now.mutex);
    now.turn = NULL;
    pthread_mutex_unlock(&now.mutex);
}

static int pass(struct actor *a, char operation, enum backend_type type, struct err *err)
{
    if (!a->dead)
        wait_for_turn(a);
    if (a->calls_n < CALLS_MAX)
        a->calls[a->calls_n] = (struct call){operation, type};
    a->calls_n++;
    a->dead = a->dead || (a->die_at && a->calls_n >= a->die_at);
    return a->dead ? err_set(err, ERR_CANCELLED, "this process is dead") : 0;
}

static int gate_create(struct backend *b, struct err *err)
{
    struct actor *a = actor_of(b);
    return pass(a, 'c', BACKEND_CONFIG, err) < 0 ? -1 : a->inner->ops->create(a->inner, err);
}

static int gate_save(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                     struct err *err)
{
    struct actor *a = actor_of(b);
    if (pass(a, 's', f->type, err) < 0)
        return -1;
    a->locks_held += f->type == BACKEND_LOCK;
    return a->inner->ops->save(a->inner, f, p, n, err);
}

static int gate_load(struct backend *b, const struct backend_file *f, uint64_t offset, size_t n,
                     size_t max, struct buf *out, struct err *err)
{
    struct actor *a = actor_of(b);
    if (pass(a, 'l', f->type, err) < 0)
        return -1;
    return a->inner->ops->load(a->inner, f, offset, n, max, out, err);
}

static int gate_stat(struct backend *b, const struct backend_file *f, uint64_t *ret_size,
                     struct err *err)
{
    struct actor *a = actor_of(b);
    if (pass(a, 'h', f->type, err) < 0)
        return -1;
    return a->inner->ops->stat(a->inner, f, ret_size, err);
}

void actor_forget_lists(struct actor *a)
{
    vec_free(&a->listed);
    a->has_listed = false;
}

static int gate_list(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                     struct err *err)
{
    struct actor *a = actor_of(b);
    if (pass(a, 'i', type, err) < 0)
        return -1;
    if (a->mutation == MUTATION_NO_SECOND_LOOK && type == BACKEND_LOCK && a->locks_held > 0)
        return 0;
    if (a->mutation != MUTATION_NO_RELIST || type != BACKEND_SNAPSHOT)
        return a->inner->ops->list(a->inner, type, fn, ctx, err);
    if (!a->has_listed && backend_list_ids(a->inner, type, true, SIZE_MAX, &a->listed, err) < 0)
        return -1;
    a->has_listed = true;
    for (size_t i = 0; i < a->listed.n; i++)
        if (fn(ctx, &a->listed.p[i], 1, err) < 0)
            return -1;
    return 0;
}

static int gate_remove(struct backend *b, const struct backend_file *f, struct err *err)
{
    struct actor *a = actor_of(b);
    if (pass(a, 'r', f->type, err) < 0)
        return -1;
    a->locks_held -= f->type == BACKEND_LOCK;
    return a->inner->ops->remove(a->inner, f, err);
}

static void gate_close(struct backend *b)
{
    (void)b;
}

static const struct backend_ops gate_ops = {
    .name = "gate",
    .create = gate_create,
    .save = gate_save,
    .load = gate_load,
    .stat = gate_stat,
    .list = gate_list,
    .remove = gate_remove,
    .close = gate_close,
};

/* ---- processes ---- */

void schedule_process(struct actor *a)
{
    pthread_mutex_lock(&now.mutex);
    a->external = true;
    a->processes++;
    a->waiting = a->granted = 0;
    a->goes_on = false;
    pthread_cond_broadcast(&now.changed);
    pthread_mutex_unlock(&now.mutex);
}

bool schedule_request(struct actor *a, bool goes_on)
{
    pthread_mutex_lock(&now.mutex);
    int process = a->processes;
    a->waiting++;
    pthread_cond_broadcast(&now.changed);
    /* What an ended process had asked for may come here after its end, and after the actor's. */
    while (a->processes == process && a->granted == 0 && a->state != ACTOR_ENDED)
        pthread_cond_wait(&now.changed, &now.mutex);
    bool is_there = a->processes == process && a->state != ACTOR_ENDED;
    if (is_there) {
        a->granted--;
        a->waiting--;
        a->goes_on = goes_on;
    }
    pthread_mutex_unlock(&now.mutex);
    return is_there;
}

void schedule_request_end(struct actor *a)
{
    pthread_mutex_lock(&now.mutex);
    a->done++;
    pthread_cond_broadcast(&now.changed);
    pthread_mutex_unlock(&now.mutex);
}

/* Its next request, whenever it comes, or its end. */
static void step_process(struct actor *a)
{
    do {
        int process = a->processes;
        while (a->waiting == 0 && a->processes == process && a->state != ACTOR_ENDED)
            pthread_cond_wait(&now.changed, &now.mutex);
        int done = a->done;
        a->calls_n++;
        if (a->processes != process || a->state == ACTOR_ENDED)
            return;
        a->granted++;
        pthread_cond_broadcast(&now.changed);
        while (a->done == done && a->processes == process && a->state != ACTOR_ENDED)
            pthread_cond_wait(&now.changed, &now.mutex);
    } while (a->goes_on && a->state != ACTOR_ENDED);
}

/* ---- the scheduler ---- */

static void *start(void *ctx)
{
    struct actor *a = ctx;
    wait_for_turn(a);
    a->run(a);
    pthread_mutex_lock(&now.mutex);
    a->state = ACTOR_ENDED;
    pthread_cond_broadcast(&now.changed);
    pthread_mutex_unlock(&now.mutex);
    return NULL;
}

static bool somebody_runs(struct actor **actors, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (actors[i]->state == ACTOR_RUNS && !actors[i]->external)
            return true;
    return false;
}

void schedule_run(struct actor **actors, size_t n, schedule_choose *choose, void *ctx)
{
    for (size_t i = 0; i < n; i++) {
        actors[i]->base.ops = &gate_ops;
        actors[i]->state = ACTOR_RUNS;
        if (pthread_create(&actors[i]->thread, NULL, start, actors[i]) != 0)
            wrong("no thread");
    }
    pthread_mutex_lock(&now.mutex);
    for (;;) {
        size_t can[ACTORS_MAX], can_n = 0;
        while (somebody_runs(actors, n))
            pthread_cond_wait(&now.changed, &now.mutex);
        for (size_t i = 0; i < n; i++)
            if (actors[i]->state != ACTOR_ENDED)
                can[can_n++] = i;
        if (can_n == 0)
            break;
        struct actor *next = actors[choose(ctx, can, can_n)];
        if (next->external) {
            step_process(next);
            continue;
        }
        now.turn = next;
        next->state = ACTOR_RUNS;
        pthread_cond_broadcast(&now.changed);
    }
    pthread_mutex_unlock(&now.mutex);
    for (size_t i = 0; i < n; i++) {
        pthread_join(actors[i]->thread, NULL);
        actor_forget_lists(actors[i]);
    }
}
