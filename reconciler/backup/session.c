/* Open repositories with their locks, by Backup. */
#include "reconciler/backup/backup.h"

#include "core/clock.h"
#include "kube/types.h"

#include <pthread.h>
#include <stdio.h>

static struct session *sessions;
static pthread_mutex_t sessions_lock = PTHREAD_MUTEX_INITIALIZER;

/* Takes a use of the Backup's session, or NULL. */
static struct session *session_use(const char *uid)
{
    pthread_mutex_lock(&sessions_lock);
    struct session *s = sessions;
    while (s && (s->ending || !streq(s->uid, uid)))
        s = s->next;
    if (s)
        s->users++;
    pthread_mutex_unlock(&sessions_lock);
    return s;
}

/* True if another Backup of this process has the repository open. */
static bool repository_in_use(const struct opened *o)
{
    bool used = false;
    pthread_mutex_lock(&sessions_lock);
    for (const struct session *s = sessions; s; s = s->next)
        used |= streq(s->opened.path, o->path) && streq(s->opened.place.id, o->place.id);
    pthread_mutex_unlock(&sessions_lock);
    return used;
}

static void session_free(struct session *s)
{
    /* A lock that cannot be removed is refreshed by nobody and dies by its age. */
    (void)!lock_release(s->lock, NULL);
    store_close(&s->opened);
    free_p(&s->holder);
    free_p(&s);
}

/* Unlinks what is ending and in nobody's hands, the first found. One in use stays listed, for its
 * lock is no left-over yet. */
static struct session *unlink_ended(void)
{
    struct session **at = &sessions;
    while (*at && !((*at)->ending && (*at)->users == 0))
        at = &(*at)->next;
    struct session *found = *at;
    if (found)
        *at = found->next;
    return found;
}

void backup_session_end(const char *uid)
{
    pthread_mutex_lock(&sessions_lock);
    for (struct session *s = sessions; s; s = s->next)
        s->ending |= streq(s->uid, uid);
    struct session *found = unlink_ended();
    pthread_mutex_unlock(&sessions_lock);
    if (found)
        session_free(found);
}

void backup_session_give(struct backup_run *b)
{
    struct session *s = b->session, *found = NULL;
    b->session = NULL;
    if (!s)
        return;
    pthread_mutex_lock(&sessions_lock);
    s->users--;
    found = unlink_ended();
    pthread_mutex_unlock(&sessions_lock);
    if (found)
        session_free(found);
}

void backup_session_close(struct backup_run *b)
{
    backup_session_give(b);
    backup_session_end(b->uid);
}

size_t backup_session_uids(struct arena *a, const char ***ret)
{
    size_t n = 0;
    pthread_mutex_lock(&sessions_lock);
    for (const struct session *s = sessions; s; s = s->next)
        n++;
    const char **p = arena_alloc(a, (n + 1) * sizeof *p);
    n = 0;
    for (const struct session *s = sessions; s; s = s->next)
        p[n++] = arena_strdup(a, s->uid);
    pthread_mutex_unlock(&sessions_lock);
    *ret = p;
    return n;
}

void backup_sessions_end(void)
{
    pthread_mutex_lock(&sessions_lock);
    struct session *s = sessions;
    sessions = NULL;
    pthread_mutex_unlock(&sessions_lock);
    while (s) {
        struct session *next = s->next;
        session_free(s);
        s = next;
    }
}

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

static int take_lock(struct backup_run *b, struct session *s, struct err *err)
{
    struct buf holder CLEANUP(buf_free) = {0};
    lock_identity(&holder, b->cx->cluster, b->cx->ns, b->cx->instance, b->cx->instance_uid);
    s->holder = buf_take(&holder);
    struct lock_options options = {
        .hostname = s->holder,
        .username = "gleaner",
        .cluster = b->cx->cluster,
        .judge = judge,
        .judge_ctx = b->cx,
        /* This process has no other session there: what carries its name is of one that was killed.
         */
        .own_left_over = !repository_in_use(&s->opened),
    };
    if (lock_sweep(s->opened.repo, &options, err) < 0)
        return err_wrap(err, "looking for left-over locks in %s", s->opened.path);
    if (lock_acquire(s->opened.repo, &options, &s->lock, err) < 0)
        return err_wrap(err, "locking repository %s", s->opened.path);
    return 0;
}

/* One opens at a time: between taking a lock and being listed a session would look like a
 * left-over. */
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

static int session_open(struct backup_run *b, struct session **ret, struct err *err)
{
    struct session *s = xcalloc(1, sizeof *s);
    snprintf(s->uid, sizeof s->uid, "%s", b->uid);
    if (store_open(b->cx, b->a, status_text(&b->st, "store"), status_text(&b->st, "namespace"),
                   true, &s->opened, err) < 0 ||
        store_may_write(&s->opened, err) < 0 || take_lock(b, s, err) < 0) {
        session_free(s);
        return -1;
    }
    s->users = 1;
    pthread_mutex_lock(&sessions_lock);
    s->next = sessions;
    sessions = s;
    pthread_mutex_unlock(&sessions_lock);
    *ret = s;
    return 0;
}

static int session_new(struct backup_run *b, struct session **ret, struct err *err)
{
    pthread_mutex_lock(&opening);
    int result = session_open(b, ret, err);
    pthread_mutex_unlock(&opening);
    return result;
}

int backup_keep_lock(struct context *cx, struct session *s, struct err *err)
{
    if (!lock_refresh_due(s->lock))
        return 0;
    /* Credentials that are made for an hour do not last as long as a backup may. */
    return store_renew(cx, &s->opened, err) < 0 ? -1 : lock_refresh(s->lock, err);
}

int backup_session(struct backup_run *b, struct err *err)
{
    if (!b->session)
        b->session = session_use(b->uid);
    if (!b->session && session_new(b, &b->session, err) < 0)
        return -1;
    if (backup_keep_lock(b->cx, b->session, err) == 0 && lock_confirm(b->session->lock, err) == 0)
        return 0;
    /* Lost: the next look takes a new one. What movers stored meanwhile is in the index, or is not.
     */
    backup_session_close(b);
    if (err && err->kind == ERR_GONE)
        err->kind = ERR_UNAVAILABLE;
    return -1;
}
