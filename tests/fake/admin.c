/* /fake/...: what a test tells the server; README.md lists it. */
#include "admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static json_t *tokens; /* token -> {user: {...}, audiences: [...]} */
static json_t *denied; /* [{group, resource, verbs}] */

json_t *admin_review(const char *token, const json_t *audiences)
{
    json_t *known = json_object_get(tokens, token), *has = json_object_get(known, "audiences");
    json_t *both = json_array(), *x, *y;
    size_t i, n;
    json_array_foreach(audiences, i, x)
    {
        json_array_foreach(has, n, y)
        {
            if (json_equal(x, y))
                json_array_append(both, x);
        }
    }
    if (!known || (json_array_size(audiences) && !json_array_size(both))) {
        json_decref(both);
        return json_pack("{s:b, s:s}", "authenticated", 0, "error", "unknown token or audience");
    }
    return json_pack("{s:b, s:O, s:o}", "authenticated", 1, "user", json_object_get(known, "user"),
                     "audiences", both);
}

bool admin_denies(const char *verb, const char *group, const char *resource)
{
    size_t i, n;
    json_t *row, *v;
    json_array_foreach(denied, i, row)
    {
        json_array_foreach(json_object_get(row, "verbs"), n, v)
        {
            if (streq(json_string_value(v), verb) && streq(text_of(row, "group", NULL), group) &&
                streq(text_of(row, "resource", NULL), resource))
                return true;
        }
    }
    return false;
}

static int load(const json_t *j, char **why)
{
    const json_t *list = json_is_array(j) ? j : json_object_get(j, "items");
    size_t i;
    json_t *o;
    if (!list)
        return load_object(j, why);
    json_array_foreach(list, i, o)
    {
        if (load_object(o, why) < 0)
            return -1;
    }
    return 0;
}

static int add_type(const json_t *j, char **why)
{
    if (!text_of(j, "version", NULL)[0] || !text_of(j, "resource", NULL)[0] ||
        !text_of(j, "kind", NULL)[0]) {
        *why = xstrdup("a type needs version, resource and kind");
        return -1;
    }
    types_add(&(struct ftype){.t = {.group = text_of(j, "group", NULL),
                                    .version = text_of(j, "version", NULL),
                                    .resource = text_of(j, "resource", NULL),
                                    .kind = text_of(j, "kind", NULL),
                                    .namespaced = !json_is_false(json_object_get(j, "namespaced"))},
                              .status = json_is_true(json_object_get(j, "status")),
                              .scale = json_is_true(json_object_get(j, "scale")),
                              .generation = true,
                              .custom = !json_is_false(json_object_get(j, "custom")),
                              .stale = json_is_true(json_object_get(j, "stale"))});
    return 0;
}

static int set_clock(const json_t *j, char **why)
{
    json_t *now = json_object_get(j, "now"), *advance = json_object_get(j, "advance");
    if (json_is_integer(now)) {
        fake_set_clock(json_integer_value(now));
    } else if (json_is_integer(advance)) {
        fake_set_clock(fake_now_ms() + json_integer_value(advance));
    } else {
        *why = xstrdup("now or advance is missing (milliseconds)");
        return -1;
    }
    return 0;
}

static int set_tokens(const json_t *j)
{
    if (!tokens)
        tokens = json_object();
    json_t *copy CLEANUP_JSON = json_deep_copy(j);
    return json_object_update(tokens, copy);
}

static int set_denied(const json_t *j, char **why)
{
    if (!json_is_array(j)) {
        *why = xstrdup("denied is a list");
        return -1;
    }
    json_decref(denied);
    denied = json_deep_copy(j);
    return 0;
}

static int post(const char *what, const json_t *j, char **why)
{
    if (streq(what, "faults"))
        return fault_add(j, why);
    if (streq(what, "objects"))
        return load(j, why);
    if (streq(what, "types"))
        return add_type(j, why);
    if (streq(what, "reactors"))
        return reactors_set(j, why);
    if (streq(what, "clock"))
        return set_clock(j, why);
    if (streq(what, "tokens"))
        return set_tokens(j);
    if (streq(what, "denied"))
        return set_denied(j, why);
    if (streq(what, "resume"))
        pause_end(json_is_true(json_object_get(j, "discard")));
    else if (streq(what, "drop-watches"))
        watchers_drop();
    else if (streq(what, "compact"))
        store_compact();
    else
        *why = xasprintf("/fake/%s does not exist", what);
    return *why ? -1 : 0;
}

/* Waits for a call to be paused, so that a test need not poll. */
static json_t *wait_paused(const struct request *r)
{
    uint64_t ms = 10000;
    struct timespec t;
    str_u64(str_of(param(r, "timeoutMs")), &ms);
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    for (;;) {
        json_t *report = pause_report();
        if (json_is_true(json_object_get(report, "paused")) ||
            pthread_cond_timedwait(&changed, &big_lock, &t) != 0)
            return report;
        json_decref(report);
    }
}

static json_t *get(const char *what, const struct request *r)
{
    if (streq(what, "state"))
        return calls_report();
    if (streq(what, "paused"))
        return wait_paused(r);
    if (streq(what, "objects"))
        return store_everything();
    if (streq(what, "clock"))
        return json_pack("{s:I}", "now", (json_int_t)fake_now_ms());
    return NULL;
}

void admin_handle(struct request *r, struct answer *a)
{
    const char *what = r->path + strlen("/fake/");
    json_t *body CLEANUP_JSON = NULL;
    char *why CLEANUP(free_p) = NULL;
    struct err err;
    a->code = 200;
    if (streq(r->method, "GET")) {
        a->body = get(what, r);
        if (!a->body)
            refuse(a, 404, "NotFound", NULL, "/fake/%s does not exist", what);
        return;
    }
    if (streq(r->method, "DELETE") && streq(what, "faults")) {
        faults_clear();
    } else if (r->body.n && json_parse(r->body, &body, &err) < 0) {
        refuse(a, 400, "BadRequest", NULL, "%s", err.msg);
        return;
    } else if (post(what, body, &why) < 0) {
        refuse(a, 400, "BadRequest", NULL, "%s", why ? why : "not understood");
        return;
    }
    a->body = json_object();
}
