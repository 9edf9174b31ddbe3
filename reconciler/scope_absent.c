/* What the books name and the cluster does not hold. A backup that is made then holds less than the
 * one before it, and must not count as complete where that was data. */
#include "reconciler/scope.h"

#include "kube/types.h"

/* Jobs and pods end, and then they may go by themselves. */
static bool comes_and_goes(const struct book_entry *e)
{
    return (streq(e->group, "batch") && streq(e->kind, "Job")) ||
           (streq(e->group, "") && streq(e->kind, "Pod"));
}

/* What Git does not bring back: volumes, and Secrets whose values it does not hold. */
static bool is_data(const struct booking *b)
{
    const struct book_entry *e = &b->entry;
    if (streq(e->group, "apps"))
        return streq(e->kind, "StatefulSet");
    if (!streq(e->group, ""))
        return false;
    bool held = b->by->proven && b->by->declared.reachable == REACHABLE_TRUE && !b->by->chart;
    return streq(e->kind, "PersistentVolumeClaim") || (streq(e->kind, "Secret") && !held);
}

/* A kind that is not served, or may not be read, is told of elsewhere. */
static int is_live(struct scope_set *s, const struct book_entry *e, bool *ret, struct err *err)
{
    const struct kube_type *t = kube_discovery_kind(s->discovery, str_of(e->group), NULL, e->kind);
    struct kube_object o;
    struct err why;
    *ret = true;
    if (map_get(s->by_key, str_of(scope_key(s->a, str_of(e->group), e->kind, e->ns, e->name))))
        return 0;
    if (!t) {
        *ret = !streq(e->ns, s->ns) || *kube_discovery_stale(s->discovery);
        return 0;
    }
    if (kube_get(s->cx->kube, s->a, t, e->ns, e->name, &o, &why) == 0 || why.kind == ERR_FORBIDDEN)
        return 0;
    *ret = false;
    if (why.kind == ERR_NOT_FOUND)
        return 0;
    if (err)
        *err = why;
    return err_wrap(err, "reading %s %s/%s", e->kind, e->ns, e->name);
}

int scope_find_absent(struct scope_set *s, struct err *err)
{
    size_t at = 0, named = 0, absent = 0;
    void *value;
    while (s->ns_exists && map_each(s->books, &at, NULL, &value)) {
        const struct booking *b = value;
        const struct book_entry *e = &b->entry;
        bool live;
        if (!scope_is_content(b) || e->seed)
            continue;
        if (is_live(s, e, &live, err) < 0)
            return -1;
        bool counts = streq(e->ns, s->ns) && !comes_and_goes(e);
        named += counts;
        if (live)
            continue;
        absent += counts;
        scope_warn(is_data(b) ? &s->losses : &s->warnings, s->a,
                   "%s %s/%s is in the books of %s and not in the cluster: what it held is not in "
                   "this backup",
                   e->kind, e->ns, e->name, b->by->text);
    }
    if (absent && absent * 2 >= named)
        scope_warn(&s->losses, s->a,
                   "%zu of the %zu objects that the books of %s name in namespace %s are not "
                   "there: restore an earlier backup, or wait until the engine has made them again",
                   absent, named, s->members.p[0]->text, s->ns);
    return 0;
}
