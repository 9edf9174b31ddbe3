#include "reconciler/store/lock.h"

#include "kube/types.h"

/* What the API server knows of the pod that holds a lock. */
static enum lock_holder judge(void *ctx, str ns, str pod, str uid)
{
    struct context *cx = ctx;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube_object o;
    struct err err;
    if (kube_get(cx->kube, a, &KUBE_POD, arena_str(a, ns).p, arena_str(a, pod).p, &o, &err) < 0)
        return err.kind == ERR_NOT_FOUND ? LOCK_HOLDER_VANISHED : LOCK_HOLDER_UNKNOWN;
    if (!str_is(uid, o.uid))
        return LOCK_HOLDER_VANISHED;
    str phase = raw_at(o.raw, "status", "phase", NULL);
    return raw_is(phase, "Succeeded") || raw_is(phase, "Failed") ? LOCK_HOLDER_TERMINATED
                                                                 : LOCK_HOLDER_ALIVE;
}

struct lock_options store_lock_options(struct context *cx, struct arena *a)
{
    struct buf holder CLEANUP(buf_free) = {0};
    lock_identity(&holder, cx->cluster, cx->ns, cx->instance, cx->instance_uid);
    return (struct lock_options){.hostname = arena_str(a, buf_view(&holder)).p,
                                 .username = "gleaner",
                                 .cluster = cx->cluster,
                                 .judge = judge,
                                 .judge_ctx = cx,
                                 .settle_ms = cx->lock_settle_ms,
                                 .sweep = true};
}

int store_lock(struct context *cx, struct arena *a, struct opened *o, bool exclusive,
               struct lock **ret_lock, struct err *err)
{
    struct lock_options options = store_lock_options(cx, a);
    options.exclusive = exclusive;
    if (store_may_write(o, err) < 0)
        return -1;
    if (lock_acquire(o->repo, &options, ret_lock, err) < 0)
        return err_wrap(err, "locking repository %s", o->path);
    return 0;
}

int store_keep_lock(struct context *cx, struct opened *o, struct lock *lock, struct err *err)
{
    if (!lock_refresh_due(lock))
        return 0;
    /* Credentials that are made for an hour do not last as long as a lock may. */
    return store_renew(cx, o, err) < 0 ? -1 : lock_refresh(lock, err);
}
