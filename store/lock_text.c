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

static int read_member(struct json_in *in, str key, struct arena *a, struct lock_info *l,
                       bool *has_time)
{
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
        *has_time = true;
    } else {
        *(host ? &l->hostname : &l->username) = arena_strndup(a, text.p, text.n);
    }
    return 0;
}

static int parse_object(struct json_in *in, struct arena *a, struct lock_info *l)
{
    bool first = true, has_time = false;
    str key;
    int r;
    if (json_in_object(in) < 0)
        return -1;
    while ((r = json_in_key(in, &first, &key)) > 0)
        if (read_member(in, key, a, l, &has_time) < 0)
            return -1;
    if (r < 0 || json_in_end(in) < 0)
        return -1;
    return has_time ? 0 : json_in_fail(in, "a lock without a time");
}

int lock_parse(str text, struct arena *a, struct lock_info *ret_info, struct err *err)
{
    struct lock_info l = {.hostname = "", .username = ""};
    struct json_in in CLEANUP(json_in_free);
    json_in_text(&in, text, err);
    if (parse_object(&in, a, &l) < 0)
        return -1;
    *ret_info = l;
    return 0;
}
