#include "reconciler/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"

enum { MESSAGE_CAP = 1000 };

int status_read(struct kube *k, struct arena *a, const struct kube_type *t, const char *ns,
                const char *name, struct status *ret, struct err *err)
{
    struct status s = {.type = t};
    if (kube_get(k, a, t, ns, name, &s.object, err) < 0)
        return -1;
    str raw = raw_get(s.object.raw, "status");
    if (raw.p && raw.p[0] == '{') {
        if (json_parse(raw, &s.before, err) < 0)
            return err_wrap(err, "status of %s %s", t->kind, name);
    } else {
        s.before = json_object();
    }
    s.now = json_deep_copy(s.before);
    *ret = s;
    return 0;
}

void status_free(struct status *s)
{
    json_decref(s->before);
    json_decref(s->now);
    s->before = s->now = NULL;
}

static int64_t generation(const struct status *s)
{
    int64_t g = 0;
    raw_int(raw_at(s->object.raw, "metadata", "generation", NULL), &g);
    return g;
}

static json_t *conditions(struct status *s)
{
    json_t *list = json_object_get(s->now, "conditions");
    if (!json_is_array(list)) {
        list = json_array();
        json_object_set_new(s->now, "conditions", list);
    }
    return list;
}

static size_t find_condition(json_t *list, const char *type)
{
    size_t i;
    json_t *c;
    json_array_foreach(list, i, c) if (streq(json_text_at(c, "type", NULL), type)) return i;
    return json_array_size(list);
}

static void set_condition(struct status *s, const char *type, const char *value, const char *reason,
                          const char *message)
{
    json_t *list = conditions(s);
    size_t at = find_condition(list, type);
    json_t *old = json_array_get(list, at);
    if (!value) {
        if (old)
            json_array_remove(list, at);
        return;
    }
    char now[CLOCK_RFC3339];
    clock_format(clock_wall_ms(), now);
    const char *since = old && streq(json_text_at(old, "status", NULL), value)
                            ? json_text_at(old, "lastTransitionTime", NULL)
                            : NULL;
    json_t *c = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "type", type, "status", value, "reason",
                          reason, "message", message, "lastTransitionTime", since ? since : now,
                          "observedGeneration", (json_int_t)generation(s));
    if (old)
        json_array_set_new(list, at, c);
    else
        json_array_append_new(list, c);
}

void status_condition(struct status *s, const char *type, const char *value, const char *reason,
                      const char *fmt, ...)
{
    char message[MESSAGE_CAP];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    text_mend(message);
    set_condition(s, type, value, reason, message);
}

static const char *condition_text(const struct status *s, const char *type, const char *member)
{
    json_t *list = json_object_get(s->now, "conditions");
    const char *value =
        json_text_at(json_array_get(list, find_condition(list, type)), member, NULL);
    return value ? value : "";
}

const char *status_condition_is(const struct status *s, const char *type)
{
    return condition_text(s, type, "status");
}

const char *status_message(const struct status *s, const char *type)
{
    return condition_text(s, type, "message");
}

const char *status_reason(const struct status *s, const char *type)
{
    return condition_text(s, type, "reason");
}

/* The three kstatus shapes differ in these words. */
static void printf_like(6, 0)
    set_shape(struct status *s, const char *ready, bool reconciling, bool stalled,
              const char *reason, const char *fmt, va_list ap)
{
    char message[MESSAGE_CAP];
    vsnprintf(message, sizeof message, fmt, ap);
    text_mend(message);
    set_condition(s, "Ready", ready, reason, message);
    set_condition(s, "Reconciling", reconciling ? "True" : NULL, reason, message);
    set_condition(s, "Stalled", stalled ? "True" : NULL, reason, message);
    status_set(s, "observedGeneration", json_integer((json_int_t)generation(s)));
}

void status_ready(struct status *s, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_shape(s, "True", false, false, reason, fmt, ap);
    va_end(ap);
}

void status_progress(struct status *s, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_shape(s, "Unknown", true, false, reason, fmt, ap);
    va_end(ap);
}

void status_stalled(struct status *s, const char *reason, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    set_shape(s, "False", false, true, reason, fmt, ap);
    va_end(ap);
}

void status_set(struct status *s, const char *member, json_t *value)
{
    if (value)
        json_object_set_new(s->now, member, value);
    else
        json_object_del(s->now, member);
}

const char *status_text(const struct status *s, const char *member)
{
    const char *text = json_text_at(s->now, member, NULL);
    return text ? text : "";
}

/* The merge patch from `before` to `now`: RFC 7386, where null removes a member. */
static json_t *difference(json_t *before, json_t *now)
{
    json_t *patch = json_object(), *value;
    const char *key;
    json_object_foreach(now, key, value)
    {
        json_t *old = json_object_get(before, key);
        if (json_equal(old, value))
            continue;
        if (json_is_object(old) && json_is_object(value))
            json_object_set_new(patch, key, difference(old, value));
        else
            json_object_set(patch, key, value);
    }
    json_object_foreach(before, key, value)
    {
        if (!json_object_get(now, key))
            json_object_set_new(patch, key, json_null());
    }
    return patch;
}

const char *status_written_at(struct arena *a, const struct status *s)
{
    struct raw_iter it = raw_iter(raw_at(s->object.raw, "metadata", "managedFields", NULL));
    for (str entry; raw_next(&it, NULL, &entry);)
        if (raw_is(raw_get(entry, "manager"), KUBE_MANAGER) &&
            raw_is(raw_get(entry, "subresource"), "status"))
            return raw_string(a, raw_get(entry, "time")).p;
    return "";
}

int status_write(struct kube *k, struct arena *a, struct status *s, bool exclusive, struct err *err)
{
    if (json_equal(s->before, s->now))
        return 0;
    json_t *body CLEANUP_JSON = json_pack("{s:{s:s}, s:o}", "metadata", "uid", s->object.uid,
                                          "status", difference(s->before, s->now));
    if (exclusive)
        json_object_set_new(json_object_get(body, "metadata"), "resourceVersion",
                            json_string(s->object.resource_version));
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    struct kube_write how = {.subresource = "status"};
    if (kube_patch(k, a, s->type, s->object.ns, s->object.name, KUBE_PATCH_MERGE, buf_view(&text),
                   &how, &s->object, err) < 0)
        return err_wrap(err, "writing the status of %s %s", s->type->kind, s->object.name);
    json_decref(s->before);
    s->before = json_deep_copy(s->now);
    return 0;
}
