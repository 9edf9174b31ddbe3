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

int driver_main(const char *kubeconfig, const char *root)
{
    struct err err = {0};
    log_setup((enum log_level)(LOG_ERROR + 1), "torture"); /* hundreds of lives */
    struct kube_config *config;
    struct kube *k CLEANUP(kube_free_p) = NULL;
    if (kube_config_load(kubeconfig, NULL, &config, &err) < 0 || kube_new(config, &k, &err) < 0) {
        fprintf(stderr, "driver: %s\n", err.msg);
        return 1;
    }
    struct context cx = {.kube = k,
                         .ns = GLEANER_NS,
                         .local_root = root,
                         .mover_image = "none",
                         .cluster = "torture"};
    struct arena *sweep CLEANUP(arena_free_p) = arena_new();
    if (holds_sweep(&cx, sweep, &err) < 0)
        fprintf(stderr, "driver: sweep: %s\n", err.msg);
    for (int i = 0; i < GIVE_UP_AFTER; i++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        struct outcome out = {0};
        if (restore_reconcile(&cx, a, GLEANER_NS, "r1", &out, &err) < 0)
            out = (struct outcome){OUTCOME_AFTER, 5};
        if (out.what == OUTCOME_DONE)
            return 0;
        pause_ms(out.ms);
    }
    fprintf(stderr, "driver: the Restore did not end: %s\n", err.msg);
    return 1;
}
