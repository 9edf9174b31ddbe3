/* Calls that fail on demand, and the count of those that change something. */
#include "fake.h"

#include <stdlib.h>
#include <time.h>

#include "admin.h"
#include "core/vec.h"

struct fault {
    char *method, *path; /* NULL: any; path: a part of it */
    json_t *not_path;    /* parts that exclude */
    bool mutating, watch;
    unsigned nth, times,
        seen; /* of the matching calls: from the nth on, so many times (0: always) */
    char *action;
    int code;
    char *reason, *message;
    unsigned retry_after, ms;
};

struct call {
    char *method, *path, *manager;
    int code;
};

static VEC(struct fault *) faults;
static VEC(struct call) calls;
static unsigned long all_calls;

static struct {
    bool active, discard;
    char *method, *path;
    const char *where;
} pause_state;

static char *text_or_null(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));
    return s ? xstrdup(s) : NULL;
}

static unsigned number(const json_t *j, const char *name, unsigned other)
{
    json_t *v = json_object_get(j, name);
    return json_is_integer(v) ? (unsigned)json_integer_value(v) : other;
}

int fault_add(const json_t *j, char **why)
{
    static const char *const actions[] = {"status",      "reset",      "resetAfter", "delay",
                                          "pauseBefore", "pauseAfter", "truncate"};
    const char *action = text_of(j, "do", NULL);
    const json_t *match = json_object_get(j, "match");
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        known = known || streq(actions[i], action);
    if (!known) {
        *why = xasprintf("do: \"%s\" is not one of status, reset, resetAfter, delay, pauseBefore, "
                         "pauseAfter, truncate",
                         action);
        return -1;
    }
    struct fault *f = xcalloc(1, sizeof *f);
    *f = (struct fault){
        .method = text_or_null(match, "method"),
        .path = text_or_null(match, "path"),
        .not_path = json_deep_copy(json_object_get(match, "notPath")),
        .mutating = json_is_true(json_object_get(match, "mutating")),
        .watch = json_is_true(json_object_get(match, "watch")),
        .nth = number(j, "nth", 1),
        .times = number(j, "times", 1),
        .action = xstrdup(action),
        .code = (int)number(j, "code", 500),
        .reason = text_or_null(j, "reason"),
        .message = text_or_null(j, "message"),
        .retry_after = number(j, "retryAfter", 0),
        .ms = number(j, "ms", 0),
    };
    *vec_add(&faults) = f;
    return 0;
}

/* The faults stay allocated: a paused call may still hold one. */
void faults_clear(void)
{
    faults.n = 0;
}

bool is_mutating(const struct request *r)
{
    return !streq(r->method, "GET") && !param(r, "dryRun") && !strstr(r->path, "/tokenreviews") &&
           !strstr(r->path, "/selfsubjectaccessreviews");
}

static bool matches(const struct fault *f, const struct request *r)
{
    size_t i;
    json_t *part;
    json_array_foreach(f->not_path, i, part)
    {
        if (strstr(r->path, json_string_value(part)))
            return false;
    }
    return (!f->method || streq(f->method, r->method)) && (!f->path || strstr(r->path, f->path)) &&
           (!f->mutating || is_mutating(r)) && f->watch == (param(r, "watch") != NULL);
}

struct fault *fault_for(const struct request *r)
{
    struct fault *hit = NULL;
    all_calls++;
    for (size_t i = 0; i < faults.n; i++) {
        struct fault *f = faults.p[i];
        if (!matches(f, r))
            continue;
        f->seen++;
        if (!hit && f->seen >= f->nth && (!f->times || f->seen < f->nth + f->times))
            hit = f;
    }
    return hit;
}

void log_call(const struct request *r, int code)
{
    if (is_mutating(r))
        *vec_add(&calls) =
            (struct call){xstrdup(r->method), xstrdup(r->path), xstrdup(r->manager), code};
}

static void pause_here(const char *where, const struct request *r)
{
    while (pause_state.active)
        pthread_cond_wait(&changed, &big_lock);
    free(pause_state.method);
    free(pause_state.path);
    pause_state.active = true;
    pause_state.discard = false;
    pause_state.where = where;
    pause_state.method = xstrdup(r->method);
    pause_state.path = xstrdup(r->path);
    pthread_cond_broadcast(&changed);
    while (pause_state.active)
        pthread_cond_wait(&changed, &big_lock);
}

void pause_end(bool discard)
{
    pause_state.active = false;
    pause_state.discard = discard;
    pthread_cond_broadcast(&changed);
}

json_t *pause_report(void)
{
    if (!pause_state.active)
        return json_pack("{s:b}", "paused", 0);
    return json_pack("{s:b, s:s, s:s, s:s}", "paused", 1, "where", pause_state.where, "method",
                     pause_state.method, "path", pause_state.path);
}

json_t *calls_report(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < calls.n; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:i}", "method", calls.p[i].method,
                                              "path", calls.p[i].path, "manager",
                                              calls.p[i].manager, "code", calls.p[i].code));
    return json_pack("{s:I, s:I, s:o}", "calls", (json_int_t)all_calls, "mutating",
                     (json_int_t)calls.n, "log", list);
}

static void sleep_ms(unsigned ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    pthread_mutex_unlock(&big_lock);
    nanosleep(&t, NULL);
    pthread_mutex_lock(&big_lock);
}

static const char *reason_of(const struct fault *f)
{
    static const struct {
        int code;
        const char *reason;
    } known[] = {{401, "Unauthorized"},    {403, "Forbidden"},
                 {404, "NotFound"},        {409, "Conflict"},
                 {410, "Expired"},         {422, "Invalid"},
                 {429, "TooManyRequests"}, {503, "ServiceUnavailable"},
                 {504, "Timeout"}};
    for (size_t i = 0; !f->reason && i < ARRAY_LEN(known); i++)
        if (known[i].code == f->code)
            return known[i].reason;
    return f->reason ? f->reason : "InternalError";
}

int fault_before(struct fault *f, struct request *r, struct answer *a)
{
    if (streq(f->action, "status")) {
        refuse(a, f->code, reason_of(f), r, "%s", f->message ? f->message : "an injected fault");
        a->retry_after = f->retry_after;
        return -1;
    }
    if (streq(f->action, "reset")) {
        a->reset = true;
        return -1;
    }
    if (streq(f->action, "delay"))
        sleep_ms(f->ms);
    if (streq(f->action, "pauseBefore")) {
        pause_here("before", r);
        a->reset = pause_state.discard;
        return a->reset ? -1 : 0;
    }
    return 0;
}

void fault_after(struct fault *f, struct request *r, struct answer *a)
{
    if (streq(f->action, "pauseAfter"))
        pause_here("after", r);
    a->reset = streq(f->action, "resetAfter");
    a->truncate = streq(f->action, "truncate");
}
