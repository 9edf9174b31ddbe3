#include <stdio.h>
#include <time.h>

#include "cli/cli.h"
#include "core/clock.h"

enum { LOOK_MS = 500, LOOK_FAILURES = 20 };

/* What was printed last, so that only news is printed. */
struct seen {
    char phase[64], message[1024];
};

static const char *ready_message(struct arena *a, const struct kube_object *o)
{
    const char *message = raw_text(a, kube_condition(o->raw, "Ready"), "message", NULL);
    return message ? message : "";
}

static void print_news(struct seen *seen, int64_t start, const char *phase, const char *message)
{
    if (streq(seen->phase, phase) && streq(seen->message, message))
        return;
    int64_t ms = clock_mono_ms() - start;
    printf("%5lld.%llds  %-13s %s\n", (long long)(ms / 1000), (long long)(ms % 1000 / 100), phase,
           message);
    fflush(stdout);
    snprintf(seen->phase, sizeof seen->phase, "%s", phase);
    snprintf(seen->message, sizeof seen->message, "%s", message);
}

static const struct cli_end *ended(struct arena *a, const struct cli_waiting *w,
                                   const struct kube_object *o, const char *phase)
{
    if (w->request && !streq(w->request, raw_text(a, o->raw, "status", "lastHandledRequest", NULL)))
        return NULL;
    for (size_t i = 0; i < w->count; i++)
        if (streq(phase, w->ends[i].phase))
            return &w->ends[i];
    return NULL;
}

int cli_wait(struct cli_cluster *c, const char *verb, const struct cli_waiting *w)
{
    struct seen seen = {0};
    struct err err;
    int64_t start = clock_mono_ms();
    for (int failures = 0;;) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        struct kube_object o;
        if (kube_get(c->cx.kube, a, w->type, c->cx.ns, w->name, &o, &err) < 0) {
            if (!err_is_transient(&err) || ++failures > LOOK_FAILURES)
                return cli_fail(verb, &err);
        } else {
            failures = 0;
            const char *phase = raw_text(a, o.raw, "status", "phase", NULL);
            print_news(&seen, start, phase ? phase : "Pending", ready_message(a, &o));
            const struct cli_end *end = ended(a, w, &o, phase);
            if (end)
                return end->code;
        }
        if (w->seconds && clock_mono_ms() - start > (int64_t)w->seconds * 1000) {
            fprintf(stderr,
                    "%s %s: %s %s is still %s after %u s; it goes on in the cluster, see '%s get "
                    "%s'\n",
                    cli_program, verb, w->type->kind, w->name, *seen.phase ? seen.phase : "unknown",
                    w->seconds, cli_program, w->type->resource);
            return CLI_TIMEOUT;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    }
}
