/* Backups, prunes, forgetting and stock restic at one time on one repository, in schedules that can
 * be repeated: whatever the order, every complete snapshot is whole at the end.
 *
 *     interleave [--full] [SEED]
 *
 * First all orders of a backup and a prune around the calls that matter, then random orders of
 * more, then some with restic. Last the proof that this would find what it looks for: with a part
 * of the protocol taken away something must be lost. */
#include "judge.h"
#include "restic_actor.h"
#include "schedule.h"
#include "writers.h"

#include "store/snapshot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIES = 6, RANDOM = 150, RANDOM_FULL = 5000, WITH_RESTIC = 12, WITH_RESTIC_FULL = 300 };

static struct world world;
static struct store_id before, old; /* complete; `old` is what the forgetting forgets */
static char where[256];             /* the schedule that runs */

void wrong(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s: ", where);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    _exit(1);
}

/* ---- actors ---- */

static struct actor actors[ACTORS_MAX];
static size_t actors_n;

static enum lock_holder judge(void *ctx, str namespace, str pod, str uid)
{
    uint64_t i;
    (void)ctx, (void)namespace, (void)pod;
    if (!str_u64(uid, &i) || i >= actors_n)
        return LOCK_HOLDER_UNKNOWN;
    return actors[i].dead ? LOCK_HOLDER_TERMINATED : LOCK_HOLDER_ALIVE;
}

static struct actor *add_actor(const char *name, void (*run)(struct actor *a), const char *tag)
{
    struct actor *a = &actors[actors_n];
    *a = (struct actor){.inner = world_backend(&world), .name = name, .run = run, .tag = tag};
    snprintf(a->identity, sizeof a->identity, "c/ns/pod/%zu", actors_n++);
    a->lock = (struct lock_options){
        .hostname = a->identity, .cluster = "c", .judge = judge, .settle_ms = 1};
    return a;
}

/* Others are at work: a lock, or another prune has replaced the index meanwhile. */
static bool is_refused(const struct actor *a)
{
    return a->r < 0 && (a->err.kind == ERR_BUSY || a->err.kind == ERR_CONFLICT);
}

/* Whoever is refused comes back, for some time. */
static bool again(const struct actor *a, int *tries)
{
    return is_refused(a) && ++*tries < TRIES;
}

static void do_backup(struct actor *a)
{
    int tries = 0;
    do
        a->r = write_backup(&a->base, &a->lock, a->tag, &a->snapshot, &a->err);
    while (again(a, &tries));
}

static void do_forget(struct actor *a)
{
    int tries = 0;
    do
        a->r = write_forget(&a->base, &a->lock, &old, 1, &a->err);
    while (again(a, &tries));
}

static void do_prune(struct actor *a)
{
    struct prune_result result;
    int tries = 0;
    do {
        actor_forget_lists(a);
        a->r = write_prune(&a->base, &a->lock, false, &result, &a->err);
    } while (again(a, &tries));
}

/* ---- the repository ---- */

static void backup_before(struct backend *b, const char *tag, struct store_id *ret_id)
{
    struct lock_options lock = {.hostname = "c/ns/pod/before", .settle_ms = 1};
    struct err err;
    if (write_backup(b, &lock, tag, ret_id, &err) < 0)
        wrong("%s", err.msg);
}

/* Two backups are forgotten already: what they stored is there, unused, and a backup of the same
 * files will count on it. */
static void prepare(void)
{
    struct backend *b CLEANUP(backend_close_p) = world_backend(&world);
    struct store_id gone[2];
    struct err err;
    if (make_repository(b, &err) < 0)
        wrong("%s", err.msg);
    backup_before(b, "1", &gone[0]);
    backup_before(b, "before", &before);
    backup_before(b, "2", &gone[1]);
    backup_before(b, "old", &old);
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        if (backend_remove(b, &(struct backend_file){BACKEND_SNAPSHOT, gone[i]}, &err) < 0)
            wrong("%s", err.msg);
    if (write_twice(b, &err) < 0)
        wrong("%s", err.msg);
    world_keep(&world);
}

/* ---- what must be true at the end ---- */

static void final_prune(void)
{
    struct backend *b CLEANUP(backend_close_p) = world_backend(&world);
    struct lock_options lock = {
        .hostname = "c/ns/pod/after", .cluster = "c", .judge = judge, .settle_ms = 1};
    struct prune_result result;
    struct err err;
    for (size_t i = 0; i < actors_n; i++)
        actors[i].dead = true;
    if (write_prune(b, &lock, false, &result, &err) < 0)
        wrong("the prune after all: %s", err.msg);
}

static void judge_end(bool restic)
{
    const struct store_id *must[ACTORS_MAX + 2] = {&before};
    size_t n = 1;
    bool forgets = false;
    for (size_t i = 0; i < actors_n; i++) {
        struct actor *a = &actors[i];
        backend_close(a->inner);
        forgets = forgets || a->run != do_backup;
        if (a->r < 0 && !is_refused(a) && !a->dead)
            wrong("%s %s: %s", a->name, a->tag ? a->tag : "", a->err.msg);
        if (a->run == do_backup && a->r == 0 && !a->dead)
            must[n++] = &a->snapshot;
    }
    if (!forgets)
        must[n++] = &old;
    size_t listed = judge_snapshots(&world, must, n);
    if (restic && restic_actor_backups() && listed <= n)
        wrong("restic's snapshot is not there");
    final_prune();
    if (judge_snapshots(&world, must, n) != listed)
        wrong("the prune after all removed a snapshot");
    if (restic)
        judge_by_restic(&world);
}

/* ---- schedules ---- */

struct random {
    uint64_t state;
    int style, change; /* 0: each call anew; 1: priorities that change at times; 2: runs of calls */
    size_t priority[ACTORS_MAX], current;
};

static uint64_t next_random(struct random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t choose_random(void *ctx, const size_t *can, size_t n)
{
    struct random *r = ctx;
    size_t best = can[next_random(r) % n];
    if (r->style == 0)
        return best;
    if (r->style == 1) {
        if (next_random(r) % 40 == 0)
            r->priority[best] = next_random(r) % 1000;
        for (size_t i = 0; i < n; i++)
            best = r->priority[can[i]] > r->priority[best] ? can[i] : best;
        return best;
    }
    bool stays = false;
    for (size_t i = 0; i < n; i++)
        stays = stays || can[i] == r->current;
    if (!stays || next_random(r) % 12 == 0)
        r->current = best;
    return r->current;
}

/* The first goes `calls[0]` calls far, the second `calls[1]`, the first to its end, the second. */
struct fixed {
    size_t first;
    int calls[2];
};

static size_t choose_fixed(void *ctx, const size_t *can, size_t n)
{
    const struct fixed *f = ctx;
    size_t first = f->first, second = 1 - f->first;
    if (n == 1)
        return can[0];
    if (actors[first].calls_n < f->calls[0])
        return first;
    return actors[second].calls_n < f->calls[1] ? second : first;
}

static void run_all(schedule_choose *choose, void *ctx)
{
    struct actor *all[ACTORS_MAX];
    for (size_t i = 0; i < actors_n; i++)
        all[i] = &actors[i];
    schedule_run(all, actors_n, choose, ctx);
}

static void run_random(uint64_t seed, enum mutation mutation, bool restic)
{
    static void (*const runs[])(struct actor *) = {do_backup, do_forget, do_prune, do_backup};
    static const char *const names[] = {"backup", "forget", "prune", "backup"};
    static const char *const tags[] = {"2", "old", NULL, "new"};
    struct random r = {.state = seed * 2654435761u, .style = (int)(seed % 3)};
    snprintf(where, sizeof where, "seed %llu%s", (unsigned long long)seed,
             restic ? " with restic" : "");
    world_reset(&world);
    actors_n = 0;
    add_actor("backup", do_backup, "1");
    add_actor("prune", do_prune, NULL);
    for (size_t i = 0; i < ARRAY_LEN(runs); i++)
        if (next_random(&r) % 3 == 0)
            add_actor(names[i], runs[i], tags[i]);
    if (next_random(&r) % 3 == 0)
        actors[next_random(&r) % actors_n].die_at = 1 + (int)(next_random(&r) % 60);
    if (restic) {
        add_actor("restic", restic_actor_run, next_random(&r) % 2 ? "backup" : "prune");
        restic_actor_begin(&actors[actors_n - 1], world_folder(&world));
    }
    for (size_t i = 0; i < actors_n; i++) {
        actors[i].mutation = mutation;
        r.priority[i] = next_random(&r) % 1000;
    }
    run_all(choose_random, &r);
    if (restic)
        restic_actor_end();
    judge_end(restic || seed % 50 == 0);
}

static void run_fixed(const struct fixed *f, enum mutation mutation)
{
    snprintf(where, sizeof where, "%s %d calls, then the other %d",
             f->first == 0 ? "backup" : "prune", f->calls[0], f->calls[1]);
    world_reset(&world);
    actors_n = 0;
    add_actor("backup", do_backup, "1")->mutation = mutation;
    add_actor("prune", do_prune, NULL)->mutation = mutation;
    run_all(choose_fixed, (void *)(uintptr_t)f);
    judge_end(false);
}

/* ---- all orders around the calls that matter ---- */

struct points {
    int p[2][CALLS_MAX];
    int n[2];
};

static bool matters(const struct call *c)
{
    return c->type == BACKEND_LOCK || c->type == BACKEND_SNAPSHOT ||
           (c->type == BACKEND_INDEX && c->operation != 'l') ||
           (c->type == BACKEND_DATA && c->operation == 'r');
}

/* Each actor's calls after which the other may go on: those before and after one that matters. */
static void find_points(struct points *points, bool all)
{
    struct fixed alone = {.first = 0, .calls = {CALLS_MAX, CALLS_MAX}};
    run_fixed(&alone, MUTATION_NONE);
    for (size_t i = 0; i < 2; i++) {
        points->n[i] = 0;
        for (int c = 0; c < MIN(actors[i].calls_n, CALLS_MAX); c++)
            if (all || matters(&actors[i].calls[c]) || (c > 0 && matters(&actors[i].calls[c - 1])))
                points->p[i][points->n[i]++] = c;
    }
}

typedef bool visit_fn(const struct fixed *f, enum mutation mutation);

static bool visit(const struct fixed *f, enum mutation mutation)
{
    run_fixed(f, mutation);
    return true;
}

/* How many orders there are, until `fn` says false. */
static unsigned long walk_orders(const struct points *points, unsigned step, visit_fn *fn,
                                 enum mutation mutation)
{
    unsigned long n = 0;
    for (size_t first = 0; first < 2; first++)
        for (int i = 0; i < points->n[first]; i++)
            for (int k = 0; k < points->n[1 - first]; k++) {
                struct fixed f = {first, {points->p[first][i], points->p[1 - first][k]}};
                if ((unsigned)(i + k) % step)
                    continue;
                n++;
                if (!fn(&f, mutation))
                    return n;
            }
    return n;
}

/* ---- mutations ---- */

/* True if the schedule loses nothing. In a child: what is lost ends it. */
static bool survives(const struct fixed *f, enum mutation mutation, uint64_t seed)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        wrong("fork: %s", strerror(errno));
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        if (f)
            run_fixed(f, mutation);
        else
            run_random(seed, mutation, false);
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) > 1)
        wrong("a mutated run ended with status %d", status);
    return WEXITSTATUS(status) == 0;
}

static bool seen;

static bool visit_mutated(const struct fixed *f, enum mutation mutation)
{
    seen = !survives(f, mutation, 0);
    return !seen;
}

static void find_mutation(const struct points *points, enum mutation mutation, const char *what)
{
    enum { SEEDS = 600 };
    unsigned long seed = 1;
    seen = false;
    unsigned long n = walk_orders(points, 1, visit_mutated, mutation);
    if (!seen)
        wrong("%s: nothing was lost in %lu orders", what, n);
    while (seed <= SEEDS && survives(NULL, mutation, seed))
        seed++;
    if (seed > SEEDS)
        wrong("%s: nothing was lost by %d seeds", what, SEEDS);
    printf("%s: lost in order %lu and by seed %lu\n", what, n, seed);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *env = getenv("GLEANER_TEST_FULL");
    bool full = (env && strcmp(env, "1") == 0) || (argc > 1 && strcmp(argv[1], "--full") == 0);
    const char *only = argc > 1 && argv[argc - 1][0] != '-' ? argv[argc - 1] : NULL;
    struct points points;
    if (!world_make(&world, WORLD_LOCAL))
        wrong("no folder");
    prepare();
    if (only) {
        run_random(strtoull(only, NULL, 10), MUTATION_NONE, argc > 2 && !full);
        return 0;
    }
    find_points(&points, full);
    unsigned long orders = walk_orders(&points, full ? 1 : 7, visit, MUTATION_NONE);
    printf("backup and prune: %lu orders, %d and %d calls\n", orders, points.n[0], points.n[1]);
    fflush(stdout);
    uint64_t seeds = full ? RANDOM_FULL : RANDOM;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        run_random(seed, MUTATION_NONE, false);
    printf("%llu random schedules\n", (unsigned long long)seeds);
    fflush(stdout);
    uint64_t restic = !judge_has_restic() ? 0 : full ? WITH_RESTIC_FULL : WITH_RESTIC;
    for (uint64_t seed = 1; seed <= restic; seed++)
        run_random(seed, MUTATION_NONE, true);
    printf("%llu with restic%s: %u of its backups and %u of its prunes got through\n",
           (unsigned long long)restic, restic ? "" : " (it is not installed)",
           restic_actor_total("backup"), restic_actor_total("prune"));
    find_points(&points, false);
    find_mutation(&points, MUTATION_NO_SECOND_LOOK, "without the second look at the locks");
    find_mutation(&points, MUTATION_NO_RELIST, "without the second list of snapshots");
    world_end(&world);
    return 0;
}
