#include "gitops/marker.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/codec.h"

static const struct {
    const char *name;
    size_t offset;
} members[] = {{"restore", offsetof(struct hold, restore)},
               {"uid", offsetof(struct hold, uid)},
               {"token", offsetof(struct hold, token)},
               {"state", offsetof(struct hold, state)}};

bool hold_read(struct arena *a, const struct kube_object *o, struct hold *ret)
{
    const char *text = kube_annotation(a, o, MARKER_ANNOTATION);
    if (!text)
        return false;
    struct err err;
    struct hold h = {"", "", "", "broken", {0}, {0}};
    str raw = str_of(text);
    bool good = raw_check(raw, &err) == 0 && *text == '{';
    for (size_t i = 0; good && i < ARRAY_LEN(members); i++) {
        const char *value = raw_text(a, raw, members[i].name, NULL);
        good = value && *value;
        *(const char **)((char *)&h + members[i].offset) = value ? value : "";
    }
    if (good) {
        h.added = raw_get(raw, "added");
        h.before = raw_get(raw, "before");
    }
    if (!good || (!streq(h.state, "held") && !streq(h.state, "cleared")))
        h.state = "broken";
    *ret = h;
    return true;
}

const char *marker_text(struct arena *a, const struct hold *h)
{
    struct buf b CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        const char *value = *(const char *const *)((const char *)h + members[i].offset);
        buf_printf(&b, "%s\"%s\":", i ? "," : "{", members[i].name);
        raw_add_string(&b, str_of(value));
    }
    buf_puts(&b, ",\"added\":");
    buf_str(&b, h->added.p ? h->added : STR("[]"));
    buf_puts(&b, ",\"before\":");
    buf_str(&b, h->before.p ? h->before : STR("{}"));
    buf_putc(&b, '}');
    return arena_strndup(a, b.p, b.n);
}

struct hold marker_fresh(struct arena *a, const char *restore, const char *uid)
{
    char token[33];
    random_token(token, 16);
    return (struct hold){
        arena_strdup(a, restore), arena_strdup(a, uid), arena_strdup(a, token), "held", {0}, {0}};
}

int marker_check(struct arena *a, const struct kube_object *o, const char *uid, bool *ret_ours,
                 struct hold *ret_hold, struct err *err)
{
    struct hold h;
    *ret_ours = false;
    if (!hold_read(a, o, &h))
        return 0;
    if (streq(h.state, "broken"))
        return err_set(
            err, ERR_REFUSED,
            "%s %s/%s carries a %s annotation that cannot be read: look at it, and remove "
            "it by hand",
            o->kind, o->ns, o->name, MARKER_ANNOTATION);
    if (!streq(h.uid, uid))
        return err_set(err, ERR_REFUSED,
                       "%s %s/%s is held by Restore %s: resume or finish that one first", o->kind,
                       o->ns, o->name, h.restore);
    *ret_ours = true;
    *ret_hold = h;
    return 0;
}

const char *application_title(struct arena *a, const struct application *app)
{
    return arena_printf(a, "%s %s/%s", app->type->kind, app->object.ns, app->object.name);
}

int application_again(struct kube *k, struct arena *a, const struct application *app,
                      struct kube_object *ret, struct err *err)
{
    struct kube_object o;
    if (kube_get(k, a, app->type, app->object.ns, app->object.name, &o, err) < 0)
        return err_wrap(err, "%s", application_title(a, app));
    if (!streq(o.uid, app->object.uid))
        return err_set(err, ERR_CONFLICT, "%s was deleted and made again meanwhile",
                       application_title(a, app));
    *ret = o;
    return 0;
}

int marker_held(struct kube *k, struct arena *a, const struct application *app,
                struct kube_object *ret, struct hold *ret_hold, struct err *err)
{
    if (application_again(k, a, app, ret, err) < 0)
        return -1;
    if (!hold_read(a, ret, ret_hold) || streq(ret_hold->state, "broken"))
        return err_set(err, ERR_REFUSED, "%s: somebody removed the hold's marker",
                       application_title(a, app));
    return 0;
}

int marker_kept(struct arena *a, const struct application *app, const struct kube_object *o,
                const char *uid, bool held, struct err *err)
{
    bool ours;
    struct hold h;
    if (marker_check(a, o, uid, &ours, &h, err) < 0)
        return -1;
    if (!ours || !held)
        return err_set(err, ERR_REFUSED, "%s: the API server did not keep the hold",
                       application_title(a, app));
    return 0;
}

int refuse_deleting(const struct kube_object *o, struct err *err)
{
    if (!raw_at(o->raw, "metadata", "deletionTimestamp", NULL).p)
        return 0;
    return err_set(err, ERR_REFUSED, "%s %s/%s is being deleted: a hold would not keep it", o->kind,
                   o->ns, o->name);
}

int not_yet(bool *ret, char *why, size_t why_n, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, why_n, fmt, ap);
    va_end(ap);
    *ret = false;
    return 0;
}

bool our_trace(struct arena *a, const struct kube_object *o)
{
    (void)a;
    struct raw_iter it = raw_iter(raw_at(o->raw, "metadata", "managedFields", NULL));
    for (str entry; raw_next(&it, NULL, &entry);)
        if (raw_is(raw_get(entry, "manager"), KUBE_MANAGER))
            return true;
    return false;
}
