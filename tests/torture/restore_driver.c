/* The process that is killed: a controller that does nothing but this one Restore. */
#include "restore_torture.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/log.h"
#include "reconciler/restore/restore.h"

enum { LONGEST_PAUSE_MS = 10, GIVE_UP_AFTER = 4000 };

static void pause_ms(unsigned ms)
{
    struct timespec t = {0, (long)MIN(ms, LONGEST_PAUSE_MS) * 1000000};
    nanosleep(&t, NULL);
}

/* True if the Restore is in the phase. */
static bool is_in(struct kube *k, const char *phase)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_object o;
    struct err err;
    return phase && kube_get(k, a, &KUBE_RESTORE, GLEANER_NS, "r1", &o, &err) == 0 &&
           raw_is(raw_at(o.raw, "status", "phase", NULL), phase);
}

static int run(const char *kubeconfig, const char *root, const char *until, int turns)
{
    struct err err = {0};
    struct kube_config *config;
    struct kube *k CLEANUP(kube_free_p) = NULL;
    log_setup((enum log_level)(LOG_ERROR + 1), "torture"); /* hundreds of lives */
    if (kube_config_load(kubeconfig, NULL, &config, &err) < 0 || kube_new(config, &k, &err) < 0) {
        fprintf(stderr, "driver: %s\n", err.msg);
        return 1;
    }
    struct context cx = {.kube = k,
                         .ns = GLEANER_NS,
                         .local_root = root,
                         .lock_settle_ms = 1,
                         .mover_image = "none",
                         .cluster = "torture"};
    struct arena *sweep CLEANUP(arena_free_p) = arena_new();
    if (holds_sweep(&cx, sweep, &err) < 0)
        fprintf(stderr, "driver: sweep: %s\n", err.msg);
    for (int i = 0; i < turns; i++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        struct outcome out = {0};
        if (is_in(k, until))
            break;
        if (restore_reconcile(&cx, a, GLEANER_NS, "r1", &out, &err) < 0)
            out = (struct outcome){OUTCOME_AFTER, 5};
        if (out.what == OUTCOME_DONE || i + 1 == GIVE_UP_AFTER) {
            stored_drop();
            if (i + 1 == GIVE_UP_AFTER)
                fprintf(stderr, "driver: the Restore did not end: %s\n", err.msg);
            return i + 1 == GIVE_UP_AFTER;
        }
        pause_ms(out.ms);
    }
    stored_drop();
    return 0;
}

int driver_run(const char *kubeconfig, const char *root, const char *until)
{
    return run(kubeconfig, root, until, GIVE_UP_AFTER);
}

int driver_turns(const char *kubeconfig, const char *root, int turns)
{
    return run(kubeconfig, root, NULL, turns);
}
