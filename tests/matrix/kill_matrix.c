/* The kill matrix: in each scenario, at each call of the backend and at each step inside a call, a
 * fault; after it all that was complete is whole, and the next writer gets to the end.
 *
 *     kill_matrix [--full] [SCENARIO|disk [WORLD [LEVEL [KIND [AT]]]]]
 *
 * By default every point is visited with one kind of fault, which rotates; --full, or
 * GLEANER_TEST_FULL=1, visits every point with every kind. GLEANER_VERSITYGW=PROGRAM adds the calls
 * on a real S3 server. The rest narrows it to what failed, "-" being all. */
#include "judge.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RESTIC_EVERY = 25 }; /* of points, unless all are visited */

static const char *const level_names[LEVELS] = {"call", "step"};

static struct {
    bool full;
    const char *only[5]; /* scenario, world, level, kind (a number), at */
} options;

/* Where we are. */
static const struct scenario *scenario;
static struct world *world;
static struct point fault;

void wrong(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (scenario)
        fprintf(stderr, "%s %s %s %d (%s) %d: ", scenario->name, world->name,
                level_names[fault.level], (int)fault.kind, fault_names[fault.kind], fault.at);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

/* ---- faults ---- */

static bool is_kill(void)
{
    return fault.kind == FAULT_KILL_BEFORE || fault.kind == FAULT_KILL_AFTER;
}

/* The victim is a child; false: it was not hit, and has reached its end. */
static bool run_and_kill(void)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        wrong("fork: %s", strerror(errno));
    if (pid == 0) {
        struct outcome o = {0};
        scenario->run(fault_backend_open(world, &fault), &o);
        if (o.r < 0)
            fprintf(stderr, "not hit, and yet: %s\n", o.err.msg);
        _exit(o.r < 0);
    }
    if (waitpid(pid, &status, 0) != pid)
        wrong("waitpid: %s", strerror(errno));
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    if (status != 0)
        wrong("the victim ended with status %d", status);
    return false;
}

/* Faults that pass unseen: a client tries again, a program writes the other half. */
static bool must_survive(void)
{
    if (fault.level != LEVEL_STEP)
        return false;
    return fault.kind == FAULT_SHORT || (world->s3 && fault.kind != FAULT_SPACE);
}

/* One point; false once there is no such call or step. */
static bool visit(bool restic)
{
    struct outcome o = {0};
    bool hit, dead = is_kill();
    world_reset(world);
    if (dead) {
        hit = run_and_kill();
    } else {
        struct backend *b = fault_backend_open(world, &fault);
        scenario->run(b, &o);
        hit = fault_backend_close(b).hit;
        if (o.r < 0 && (!hit || must_survive()))
            wrong("%s", o.err.msg);
    }
    if (!hit)
        return false;
    scenario->judge(world, dead ? NULL : &o);
    if (restic)
        judge_by_restic(world);
    return true;
}

static bool is_wanted(int which, const char *name)
{
    const char *only = options.only[which];
    return !only || strcmp(only, "-") == 0 || strcmp(only, name) == 0;
}

static bool kind_is_wanted(enum fault_kind kind)
{
    char number[16];
    snprintf(number, sizeof number, "%d", (int)kind);
    return fault_applies(world, fault.level, kind) && is_wanted(3, number);
}

struct count {
    unsigned long points, runs, restic;
};

/* All points of one level. */
static void walk(struct count *count)
{
    enum fault_kind kinds[FAULT_KINDS];
    size_t n = 0;
    for (enum fault_kind k = 0; k < FAULT_KINDS; k++)
        if (kind_is_wanted(k))
            kinds[n++] = k;
    bool more = n > 0;
    for (int at = 1; more; at++) {
        char number[16];
        snprintf(number, sizeof number, "%d", at);
        fault.at = at;
        for (size_t k = 0; k < (options.full ? n : 1); k++) {
            fault.kind = kinds[options.full ? k : (size_t)at % n];
            if (!is_wanted(4, number))
                continue;
            bool restic = options.full || options.only[4] || count->runs % RESTIC_EVERY == 0;
            if (!visit(restic)) {
                more = false;
                break;
            }
            count->runs++;
            count->restic += restic && judge_has_restic();
        }
        count->points += more;
        more = more && !(options.only[4] && atoi(options.only[4]) == at);
    }
}

static void run_scenario(const struct scenario *s, struct count *sum)
{
    scenario = s;
    fault = (struct point){0};
    world_empty(world);
    if (s->prepare)
        s->prepare(world);
    world_keep(world);
    for (enum fault_level level = 0; level < LEVELS; level++) {
        struct count count = {0};
        if (!is_wanted(2, level_names[level]) || (level == LEVEL_STEP && !world->steps))
            continue;
        fault.level = level;
        walk(&count);
        printf("%s, %s: %lu %ss, %lu faults, %lu judged by restic\n", s->name, world->name,
               count.points, level_names[level], count.runs, count.restic);
        fflush(stdout);
        sum->points += count.points;
        sum->runs += count.runs;
        sum->restic += count.restic;
    }
}

/* ---- a disk that is full ---- */

/* Runs a scenario on a file system that has `pages` more pages than the base takes; false: it had
 * room enough. */
static bool run_with_pages(struct world *w, unsigned long pages)
{
    struct outcome o = {0};
    struct backend *b;
    world_size(w, 0);
    world_reset(w);
    world_size(w, pages);
    b = world_backend(w);
    scenario->run(b, &o);
    backend_close(b);
    world_size(w, 0);
    scenario->judge(w, &o);
    judge_by_restic(w);
    return o.r < 0;
}

static void fill_disk(struct count *sum)
{
    struct world w;
    if (!world_make(&w, WORLD_LOCAL))
        wrong("no folder");
    world = &w;
    if (!world_mount(&w)) {
        printf("no file system can be mounted here: a full disk is only simulated\n");
        scenario = NULL;
        world_end(&w);
        return;
    }
    for (size_t i = 0; i < scenarios_n; i++) {
        scenario = &scenarios[i];
        unsigned long pages = 1;
        world_empty(&w);
        if (scenario->prepare)
            scenario->prepare(&w);
        world_keep(&w);
        for (; run_with_pages(&w, pages); pages++)
            fault.at = (int)pages;
        printf("%s, full disk: %lu sizes, %lu judged by restic\n", scenario->name, pages,
               judge_has_restic() ? pages : 0);
        sum->points += pages;
        sum->runs += pages;
        sum->restic += judge_has_restic() ? pages : 0;
    }
    world_unmount(&w);
    world_end(&w);
}

int main(int argc, char **argv)
{
    const char *full = getenv("GLEANER_TEST_FULL");
    struct count sum = {0};
    options.full = full && strcmp(full, "1") == 0;
    for (int i = 1, n = 0; i < argc; i++) {
        if (strcmp(argv[i], "--full") == 0)
            options.full = true;
        else if (n < 5)
            options.only[n++] = argv[i];
    }
    for (enum world_kind kind = 0; kind < WORLDS; kind++) {
        struct world w;
        if (!world_make(&w, kind)) {
            printf("GLEANER_VERSITYGW names no program: not tried on that server\n");
            continue;
        }
        world = &w;
        for (size_t i = 0; i < scenarios_n; i++)
            if (is_wanted(0, scenarios[i].name) && is_wanted(1, w.name))
                run_scenario(&scenarios[i], &sum);
        world_end(&w);
    }
    if (is_wanted(0, "disk") && is_wanted(1, "local"))
        fill_disk(&sum);
    printf("%lu points, %lu faults, %lu of them judged by restic%s\n", sum.points, sum.runs,
           sum.restic, judge_has_restic() ? "" : " (it is not installed)");
    curl_global_cleanup();
    return 0;
}
