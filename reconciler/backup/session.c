/* Open repositories with their locks, by Backup. */
#include "reconciler/backup/backup.h"

#include "core/clock.h"
#include "core/map.h"
#include "reconciler/store/lock.h"
#include "store/snapshot.h"

#include <pthread.h>
#include <stdio.h>

static struct session *sessions;
static struct map *places; /* uids; under the same mutex */
static pthread_mutex_t sessions_lock = PTHREAD_MUTEX_INITIALIZER;

bool backup_place_take(const char *uid, size_t most)
{
    pthread_mutex_lock(&sessions_lock);
    if (!places)
        places = map_new(NULL);
    bool has = map_get(places, str_of(uid)) != NULL;
    if (!has && map_count(places) < most) {
        map_put(places, str_of(uid), &places);
        has = true;
    }
    pthread_mutex_unlock(&sessions_lock);
    return has;
}

void backup_place_give(const char *uid)
{
    pthread_mutex_lock(&sessions_lock);
    if (places)
        map_del(places, str_of(uid));
    pthread_mutex_unlock(&sessions_lock);
}

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

static void session_free(struct session *s)
{
    /* A lock that cannot be removed is refreshed by nobody and dies by its age. */
    if (s->leave)
        lock_leave(s->lock);
    else
        (void)!lock_release(s->lock, NULL);
    store_close(&s->opened);
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
    backup_place_give(uid);
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

void backup_session_leave(struct backup_run *b)
{
    if (b->session) {
        pthread_mutex_lock(&sessions_lock);
        b->session->leave = b->session->stored && !b->session->ending;
        pthread_mutex_unlock(&sessions_lock);
    }
    backup_session_close(b);
}

size_t backup_session_uids(struct arena *a, const char ***ret)
{
    pthread_mutex_lock(&sessions_lock);
    size_t n = places ? map_count(places) : 0, at = 0;
    for (const struct session *s = sessions; s; s = s->next)
        n++;
    const char **p = arena_alloc(a, (n + 1) * sizeof *p);
    n = 0;
    for (const struct session *s = sessions; s; s = s->next)
        p[n++] = arena_strdup(a, s->uid);
    for (str uid; places && map_each(places, &at, &uid, NULL);)
        p[n++] = arena_str(a, uid).p;
    pthread_mutex_unlock(&sessions_lock);
    *ret = p;
    return n;
}

void backup_sessions_end(void)
{
    pthread_mutex_lock(&sessions_lock);
    struct session *s = sessions;
    struct map *all = places;
    sessions = NULL;
    places = NULL;
    pthread_mutex_unlock(&sessions_lock);
    map_free(all);
    while (s) {
        struct session *next = s->next;
        s->leave = s->stored;
        session_free(s);
        s = next;
    }
}

int backup_look_at_snapshots(struct backup_run *b, struct session *s, struct err *err)
{
    const char *target = arena_printf(b->a, "target:%s/%s/%s", b->kind, b->target_ns, b->target);
    const char *uid = arena_printf(b->a, "uid:%s", b->uid);
    struct snapshot_list list;
    if (snapshot_list_all(s->opened.repo, NULL, b->a, &list, NULL, err) < 0)
        return -1;
    s->written = (struct backup_written){.known = true};
    for (size_t i = 0; i < list.n; i++) { /* the newest last */
        const struct snapshot *x = &list.p[i];
        if (snapshot_has_tag(x, "gleaner") && snapshot_has_tag(x, target)) {
            s->has_last = true;
            s->last = x->tree;
        }
        if (snapshot_has_tag(x, uid))
            s->written = (struct backup_written){true, true, x->id,
                                                 snapshot_has_tag(x, "phase:PartiallyFailed")};
    }
    return 0;
}

/* First the lock: what is listed after it stays there. Then snapshots, and the index after them.
 * Its movers write under this lock, and under no other of this process. */
static int session_open(struct backup_run *b, struct session *s, struct err *err)
{
    struct lock_options options = store_lock_options(b->cx, b->a);
    options.line = arena_printf(b->a, "backup-%s", b->uid);
    if (store_open(b->cx, b->a, status_text(&b->st, "store"), status_text(&b->st, "namespace"),
                   true, &s->opened, err) < 0 ||
        store_may_write(&s->opened, err) < 0)
        return -1;
    if (lock_acquire(s->opened.repo, &options, &s->lock, err) < 0)
        return err_wrap(err, "locking repository %s", s->opened.path);
    s->confirmed_ms = clock_boot_ms();
    /* Whoever lost the lock must not name what a prune may have taken. */
    repository_guard_writes(s->opened.repo, lock_confirm, s->lock);
    return backup_look_at_snapshots(b, s, err) < 0 ? -1
                                                   : repository_load_index(s->opened.repo, err);
}

static int session_new(struct backup_run *b, struct session **ret, struct err *err)
{
    struct session *s = xcalloc(1, sizeof *s);
    snprintf(s->uid, sizeof s->uid, "%s", b->uid);
    s->since_plan = streq(status_text(&b->st, "phase"), "Plan");
    s->stored = !s->since_plan;
    struct err why;
    if (session_open(b, s, &why) < 0) {
        /* It may have taken over the lock that movers work under. */
        s->leave = s->stored && err_is_transient(&why);
        session_free(s);
        if (err)
            *err = why;
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

static int confirm_if_due(struct session *s, struct err *err)
{
    int64_t now = clock_boot_ms();
    if (now - s->confirmed_ms < BACKUP_CONFIRM_MS)
        return 0;
    if (lock_confirm(s->lock, err) < 0)
        return -1;
    s->confirmed_ms = now;
    return 0;
}

int backup_session(struct backup_run *b, struct err *err)
{
    if (!b->session)
        b->session = session_use(b->uid);
    if (!b->session && session_new(b, &b->session, err) < 0)
        return -1;
    struct err why;
    if (store_keep_lock(b->cx, &b->session->opened, b->session->lock, &why) == 0 &&
        confirm_if_due(b->session, &why) == 0)
        return 0;
    /* Lost: the next look takes a new one, which follows this one if its file is there after all.
     * What movers stored meanwhile is in the index, or is not. */
    if (why.kind == ERR_GONE) {
        backup_session_leave(b);
        why.kind = ERR_UNAVAILABLE;
    }
    if (err)
        *err = why;
    return -1;
}
