#include "reconciler/target_lease.h"

#include "core/codec.h"
#include "core/json.h"

const char *lease_of_target(struct arena *a, const char *kind, const char *ns, const char *name)
{
    const char *text = arena_printf(a, "%s/%s/%s", kind, ns, name);
    uint8_t hash[32];
    sha256(text, strlen(text), hash);
    char hex[17];
    hex_encode(hash, 8, hex);
    return arena_printf(a, "gleaner-target-%s", hex);
}

static const char *identity(struct arena *a, const struct lease_holder *h)
{
    return arena_printf(a, "%s/%s/%s/%s", h->type->kind, h->ns, h->name, h->uid);
}

/* "Restore/ns/name/uid" torn apart; false if somebody else wrote it. */
static bool parse_identity(struct arena *a, const char *text, struct lease_holder *ret)
{
    str rest = str_of(text);
    const char *kind = arena_str(a, str_cut(&rest, '/')).p;
    const char *ns = arena_str(a, str_cut(&rest, '/')).p;
    const char *name = arena_str(a, str_cut(&rest, '/')).p;
    const char *uid = arena_str(a, rest).p;
    if (!kind || !ns || !name || !uid)
        return false;
    if (streq(kind, KUBE_BACKUP.kind))
        ret->type = &KUBE_BACKUP;
    else if (streq(kind, KUBE_RESTORE.kind))
        ret->type = &KUBE_RESTORE;
    else
        return false;
    ret->ns = ns;
    ret->name = name;
    ret->uid = uid;
    return true;
}

static bool finished(const char *phase)
{
    static const char *const ends[] = {"Completed", "PartiallyFailed", "Failed", "Done",
                                       "Cancelled"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (streq(phase, ends[i]))
            return true;
    return false;
}

/* True if the holder still works. */
static int is_alive(struct context *cx, struct arena *a, const struct lease_holder *h, bool *ret,
                    struct err *err)
{
    struct kube_object o;
    struct err why;
    if (kube_get(cx->kube, a, h->type, h->ns, h->name, &o, &why) < 0) {
        if (why.kind != ERR_NOT_FOUND)
            return err_set(err, why.kind, "%s", why.msg);
        *ret = false;
        return 0;
    }
    const char *phase = raw_text(a, o.raw, "status", "phase", NULL);
    *ret = streq(o.uid, h->uid) && !finished(phase ? phase : "");
    return 0;
}

static str lease_body(struct arena *a, const struct kube_object *old, const char *lease,
                      const char *holder)
{
    json_t *body CLEANUP_JSON =
        json_pack("{s:s, s:s, s:{s:s}, s:{s:s}}", "apiVersion", "coordination.k8s.io/v1", "kind",
                  "Lease", "metadata", "name", lease, "spec", "holderIdentity", holder);
    if (old) {
        json_t *m = json_object_get(body, "metadata");
        json_object_set_new(m, "uid", json_string(old->uid));
        json_object_set_new(m, "resourceVersion", json_string(old->resource_version));
    }
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    return arena_str(a, buf_view(&text));
}

int lease_take(struct context *cx, struct arena *a, const char *lease,
               const struct lease_holder *me, bool *ret_taken, const char **ret_other,
               struct err *err)
{
    const char *mine = identity(a, me);
    struct kube_object o;
    struct err why;
    if (kube_get(cx->kube, a, &KUBE_LEASE, cx->ns, lease, &o, &why) < 0) {
        if (why.kind != ERR_NOT_FOUND)
            return err_set(err, why.kind, "Lease %s: %s", lease, why.msg);
        if (kube_create(cx->kube, a, &KUBE_LEASE, cx->ns, lease_body(a, NULL, lease, mine), NULL,
                        NULL, &why) < 0)
            return err_set(err, why.kind == ERR_EXISTS ? ERR_CONFLICT : why.kind, "Lease %s: %s",
                           lease, why.msg);
        *ret_taken = true;
        return 0;
    }
    const char *holder = raw_text(a, o.raw, "spec", "holderIdentity", NULL);
    struct lease_holder other = {0};
    bool alive = false;
    if (streq(holder, mine)) {
        *ret_taken = true;
        return 0;
    }
    if (holder && parse_identity(a, holder, &other) && is_alive(cx, a, &other, &alive, err) < 0)
        return err_wrap(err, "Lease %s", lease);
    if (alive) {
        *ret_taken = me->guest_of && streq(me->guest_of, other.uid);
        *ret_other = arena_printf(a, "%s %s/%s", other.type->kind, other.ns, other.name);
        return 0;
    }
    if (kube_patch(cx->kube, a, &KUBE_LEASE, cx->ns, lease, KUBE_PATCH_MERGE,
                   lease_body(a, &o, lease, mine), NULL, NULL, err) < 0)
        return err_wrap(err, "Lease %s", lease);
    *ret_taken = true;
    return 0;
}

struct restore_search {
    struct arena *a;
    const char *content_ns, *guest_of, *found;
};

static int restore_seen(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct restore_search *s = ctx;
    static const char *const harmless[] = {"Validate", "Plan", "Lock"};
    const char *phase = raw_text(s->a, o->raw, "status", "phase", NULL);
    bool works = phase && !finished(phase);
    for (size_t i = 0; works && i < ARRAY_LEN(harmless); i++)
        works = !streq(phase, harmless[i]);
    if (works && raw_is(raw_at(o->raw, "status", "source", "namespace", NULL), s->content_ns) &&
        !(s->guest_of && streq(s->guest_of, o->uid)))
        s->found = arena_printf(s->a, "%s/%s", o->ns, o->name);
    return 0;
}

int lease_restore_in(struct context *cx, struct arena *a, const char *content_ns,
                     const struct lease_holder *me, const char **ret, struct err *err)
{
    struct restore_search s = {a, content_ns, me->guest_of, NULL};
    if (kube_list(cx->kube, &KUBE_RESTORE, NULL, restore_seen, &s, NULL, err) < 0)
        return err_wrap(err, "looking for Restores that work in namespace %s", content_ns);
    *ret = s.found;
    return 0;
}

int lease_give(struct context *cx, struct arena *a, const char *lease,
               const struct lease_holder *me, struct err *err)
{
    struct kube_object o;
    struct err why;
    if (kube_get(cx->kube, a, &KUBE_LEASE, cx->ns, lease, &o, &why) < 0)
        return why.kind == ERR_NOT_FOUND ? 0
                                         : err_set(err, why.kind, "Lease %s: %s", lease, why.msg);
    if (!streq(raw_text(a, o.raw, "spec", "holderIdentity", NULL), identity(a, me)))
        return 0;
    struct kube_delete how = {
        .uid = o.uid, .resource_version = o.resource_version, .grace_seconds = -1};
    if (kube_delete(cx->kube, &KUBE_LEASE, cx->ns, lease, &how, &why) < 0 &&
        why.kind != ERR_NOT_FOUND && why.kind != ERR_CONFLICT)
        return err_set(err, why.kind, "Lease %s: %s", lease, why.msg);
    return 0;
}
