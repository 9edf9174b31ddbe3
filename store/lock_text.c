#include "store/lock_text.h"

#include "store/gojson.h"
#include "store/jsonin.h"

void lock_text(const struct lock_info *info, struct buf *out)
{
    int64_t ms = info->time_ms;
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    buf_puts(out, "{\"time\":");
    gojson_time(out, t);
    buf_printf(out, ",\"exclusive\":%s,\"hostname\":", info->exclusive ? "true" : "false");
    gojson_string(out, str_of(info->hostname));
    buf_puts(out, ",\"username\":");
    gojson_string(out, str_of(info->username));
    buf_printf(out, ",\"pid\":%lld}", (long long)info->pid);
}

struct parse {
    struct arena *arena;
    struct lock_info lock;
    bool has_time;
};

static int read_member(void *ctx, struct json_in *in, str key)
{
    struct parse *p = ctx;
    struct lock_info *l = &p->lock;
    str text;
    if (str_is(key, "exclusive"))
        return json_in_bool(in, &l->exclusive);
    if (str_is(key, "pid"))
        return json_in_i64(in, &l->pid);
    bool time = str_is(key, "time"), host = str_is(key, "hostname"), user = str_is(key, "username");
    if (!time && !host && !user)
        return json_in_skip(in);
    if (json_in_string(in, &text) < 0)
        return -1;
    if (time) {
        struct timespec t;
        if (!gojson_parse_time(text, &t))
            return json_in_fail(in, "expected a time");
        l->time_ms = t.tv_sec * 1000 + t.tv_nsec / 1000000;
        p->has_time = true;
    } else {
        *(host ? &l->hostname : &l->username) = arena_strndup(p->arena, text.p, text.n);
    }
    return 0;
}

int lock_parse(str text, struct arena *a, struct lock_info *ret_info, struct err *err)
{
    struct parse p = {a, {.hostname = "", .username = ""}, false};
    struct json_in in CLEANUP(json_in_free);
    json_in_text(&in, text, err);
    if (json_in_members(&in, read_member, &p) < 0 || json_in_end(&in) < 0)
        return -1;
    if (!p.has_time)
        return json_in_fail(&in, "a lock without a time");
    *ret_info = p.lock;
    return 0;
}
