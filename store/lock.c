#include "store/lock.h"

#include "core/clock.h"
#include "core/codec.h"
#include "core/vec.h"
#include "store/gojson.h"
#include "store/limits.h"
#include "store/lock_text.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MARK_HEX = 16 };

struct lock {
    struct lock *next; /* in `held` */
    bool writing;      /* a file of ours is there or not, and its id is not known yet */
    struct repository *repo;
    char *hostname, *username;
    bool exclusive;
    pthread_mutex_t mutex; /* below */
    struct store_id id;
    /* The wall clock is what others judge us by; the other one nobody sets. */
    int64_t refreshed_wall_ms, refreshed_boot_ms;
    bool lost;
    bool strays; /* more files of it may be there */
};

void lock_identity(struct buf *out, const char *cluster, const char *namespace, const char *pod,
                   const char *uid)
{
    buf_printf(out, "%s/%s/%s/%s", cluster, namespace, pod, uid);
}

/* ---- since when a lock is known ---- */

enum { SEEN_MAX = 1024 };

struct seen {
    struct store_id id;
    int64_t first_ms, last_ms;
};

static struct {
    pthread_mutex_t mutex;
    struct seen p[SEEN_MAX];
    size_t n;
} seen = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* For how long this lock file has been there, as far as this process knows. */
static int64_t note_seen(const struct store_id *id)
{
    int64_t now = clock_boot_ms();
    pthread_mutex_lock(&seen.mutex);
    size_t i = 0, oldest = 0;
    while (i < seen.n && !store_id_equal(&seen.p[i].id, id)) {
        oldest = seen.p[i].last_ms < seen.p[oldest].last_ms ? i : oldest;
        i++;
    }
    if (i == seen.n) {
        i = seen.n < SEEN_MAX ? seen.n++ : oldest;
        seen.p[i] = (struct seen){.id = *id, .first_ms = now};
    }
    seen.p[i].last_ms = now;
    int64_t first = seen.p[i].first_ms;
    pthread_mutex_unlock(&seen.mutex);
    return now - first;
}

/* ---- the files ---- */

static int load_one(struct repository *repo, const struct store_id *id, struct arena *a,
                    struct lock_info *ret, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    if (repository_load_file(repo, BACKEND_LOCK, id, &text, err) < 0 ||
        lock_parse(buf_view(&text), a, ret, err) < 0)
        return err_wrap(err, "lock %.8s", hex);
    ret->id = *id;
    ret->seen_ms = note_seen(id);
    return 0;
}

/* own (may be NULL) is left out. *ret_unread: what kept a file that is there from being read, or no
 * error. */
static int list_locks(struct repository *repo, struct arena *a, const struct store_id *own,
                      struct lock_list *ret_list, struct err *ret_unread, struct err *err)
{
    struct store_ids ids = {0};
    int r =
        backend_list_ids(repository_backend(repo), BACKEND_LOCK, false, STORE_LOCKS_MAX, &ids, err);
    struct lock_info *list = arena_alloc(a, ids.n * sizeof *list);
    size_t n = 0;
    *ret_unread = (struct err){0};
    for (size_t i = 0; r == 0 && i < ids.n; i++) {
        struct err why = {0};
        if (own && store_id_equal(own, &ids.p[i]))
            continue;
        if (load_one(repo, &ids.p[i], a, &list[n], &why) == 0)
            n++;
        else if (why.kind != ERR_NOT_FOUND) /* not found: released since the list */
            *ret_unread = why;
    }
    vec_free(&ids);
    if (r == 0)
        *ret_list = (struct lock_list){list, n};
    return r;
}

int lock_list_all(struct repository *repo, struct arena *a, struct lock_list *ret_list,
                  struct err *err)
{
    struct err unread;
    return list_locks(repo, a, NULL, ret_list, &unread, err);
}

static int write_file(const struct lock *l, int64_t now_ms, struct store_id *ret_id,
                      struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct lock_info info = {.time_ms = now_ms,
                             .exclusive = l->exclusive,
                             .hostname = l->hostname,
                             .username = l->username,
                             .pid = getpid()};
    lock_text(&info, &text);
    return repository_save_file(l->repo, BACKEND_LOCK, buf_view(&text), ret_id, err);
}

/* The locks of this process. The mutex guards their ids too, and is not held while a store is
 * asked: one that does not answer must not keep the locks of others from being refreshed. */
static struct {
    pthread_mutex_t mutex;
    struct lock *first;
} held = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct lock **find_held(const struct lock *l)
{
    struct lock **at = &held.first;
    while (*at && *at != l)
        at = &(*at)->next;
    return at;
}

/* Whether this process may hold the lock of that file; while it writes one under that host name,
 * any may be it. */
static bool may_be_held(const struct lock_info *info)
{
    pthread_mutex_lock(&held.mutex);
    const struct lock *l = held.first;
    while (l && !store_id_equal(&l->id, &info->id) &&
           !(l->writing && streq(l->hostname, info->hostname)))
        l = l->next;
    pthread_mutex_unlock(&held.mutex);
    return l != NULL;
}

/* Writes a lock file that becomes this lock's. */
static int write_lock(struct lock *l, struct err *err)
{
    int64_t wall = clock_wall_ms(), boot = clock_boot_ms();
    struct store_id id;
    pthread_mutex_lock(&held.mutex);
    struct lock **at = find_held(l);
    if (!*at)
        *at = l;
    l->writing = true;
    pthread_mutex_unlock(&held.mutex);
    int r = write_file(l, wall, &id, err);
    pthread_mutex_lock(&held.mutex);
    l->writing = false;
    if (r == 0)
        l->id = id;
    pthread_mutex_unlock(&held.mutex);
    if (r < 0)
        return -1;
    l->refreshed_wall_ms = wall;
    l->refreshed_boot_ms = boot;
    return 0;
}

static int remove_file(struct repository *repo, const struct store_id *id, struct err *err)
{
    return backend_remove(repository_backend(repo), &(struct backend_file){BACKEND_LOCK, *id}, err);
}

/* ---- lines ---- */

/* Bears the name of a line: "LINE+MARK". */
static bool is_of_a_line(const struct lock_info *info)
{
    str mark = str_of(info->username), line = str_cut(&mark, '+');
    return !info->exclusive && line.n && mark.n == MARK_HEX;
}

/* Of the line that o names, in our own cluster. */
static bool is_of_our_line(const struct lock_info *info, const struct lock_options *o)
{
    str host = str_of(info->hostname), name = str_of(info->username);
    return o->line && is_of_a_line(info) && str_is(str_cut(&name, '+'), o->line) &&
           str_is(str_cut(&host, '/'), o->cluster);
}

/* The name to be handed on, or NULL. */
static const char *name_to_inherit(const struct lock_list *list, const struct lock_options *o)
{
    for (size_t i = 0; i < list->n; i++) {
        if (is_of_our_line(&list->p[i], o))
            return list->p[i].username;
    }
    return NULL;
}

/* list: what is there beside ours, which bears an inherited name. One who is alive all the same
 * sees that its lock is gone. */
static int succeed(struct lock *l, const struct lock_options *o, const struct lock_list *list,
                   struct err *err)
{
    bool there = false;
    for (size_t i = 0; i < list->n; i++)
        there |= is_of_our_line(&list->p[i], o) && streq(list->p[i].username, l->username);
    if (!there)
        return err_set(err, ERR_UNAVAILABLE,
                       "the lock %s, which was to be taken over, was removed meanwhile; try again",
                       l->username);
    for (size_t i = 0; i < list->n; i++) {
        if (is_of_our_line(&list->p[i], o))
            l->strays |= remove_file(l->repo, &list->p[i].id, NULL) < 0;
    }
    return 0;
}

/* ---- judging ---- */

/* A lock of a line is waited for, whatever became of its holder: who works under it goes on, and
 * the next of its line takes it over. */
static bool is_awaited(const struct lock_info *info)
{
    return is_of_a_line(info) && info->seen_ms < LOCK_STALE_MS;
}

/* True if the holder is proven dead: only for locks of our own cluster, never for our own identity.
 */
static bool is_dead(const struct lock_info *info, const struct lock_options *o)
{
    str rest = str_of(info->hostname), uid = {0};
    str cluster = str_cut(&rest, '/'), namespace = str_cut(&rest, '/'), pod = str_cut(&rest, '/');
    uid = rest;
    if (!o->judge || !o->cluster || !str_is(cluster, o->cluster) || uid.n == 0 ||
        memchr(uid.p, '/', uid.n) || streq(info->hostname, o->hostname))
        return false;
    switch (o->judge(o->judge_ctx, namespace, pod, uid)) {
    case LOCK_HOLDER_TERMINATED:
        return !is_awaited(info);
    case LOCK_HOLDER_VANISHED:
        return info->seen_ms >= LOCK_STALE_MS;
    case LOCK_HOLDER_UNKNOWN:
    case LOCK_HOLDER_ALIVE:
        break;
    }
    return false;
}

/* Removes what is dead or left over, and takes it off the list; how many. */
static int sweep(struct repository *repo, const struct lock_options *o, struct lock_list *list,
                 struct err *err)
{
    size_t kept = 0;
    int removed = 0;
    for (size_t i = 0; i < list->n; i++) {
        const struct lock_info *info = &list->p[i];
        bool own = streq(info->hostname, o->hostname) && !may_be_held(info) && !is_awaited(info);
        if (is_of_our_line(info, o) || (!own && !is_dead(info, o))) {
            list->p[kept++] = *info;
            continue;
        }
        if (remove_file(repo, &info->id, err) < 0)
            return -1;
        removed++;
    }
    list->n = kept;
    return removed;
}

/* The locks beside ours. ERR_BUSY if a living holder has one that ours may not stand beside. own:
 * ours, once it is written. */
static int check_conflicts(struct repository *repo, const struct lock_options *o,
                           const struct store_id *own, struct arena *a, struct lock_list *ret_list,
                           struct err *err)
{
    struct err unread;
    if (list_locks(repo, a, own, ret_list, &unread, err) < 0)
        return -1;
    if (unread.kind != ERR_NONE) {
        if (err)
            *err = unread;
        return -1;
    }
    if (o->sweep && !own && sweep(repo, o, ret_list, err) < 0)
        return -1;
    for (size_t i = 0; i < ret_list->n; i++) {
        const struct lock_info *info = &ret_list->p[i];
        if (!(o->exclusive || info->exclusive))
            continue;
        if (is_dead(info, o)) {
            if (remove_file(repo, &info->id, err) < 0)
                return -1;
            continue;
        }
        char hex[STORE_ID_HEX], when[CLOCK_RFC3339];
        store_id_hex(&info->id, hex);
        clock_format(info->time_ms, when);
        return err_set(
            err, ERR_BUSY, "the repository is locked%s by %s (process %lld) since %s, lock %.8s",
            info->exclusive ? " exclusively" : "", info->hostname, (long long)info->pid, when, hex);
    }
    return 0;
}

static void wait_ms(unsigned ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&t, &t) < 0 && errno == EINTR)
        ;
}

static void lock_free(struct lock *l)
{
    pthread_mutex_lock(&held.mutex);
    struct lock **at = find_held(l);
    if (*at)
        *at = l->next;
    pthread_mutex_unlock(&held.mutex);
    pthread_mutex_destroy(&l->mutex);
    free(l->hostname);
    free(l->username);
    free(l);
}
DEFINE_CLEANUP(struct lock *, lock_free)

static struct lock *lock_new(struct repository *repo, const struct lock_options *o,
                             const char *inherited)
{
    struct lock *l = xcalloc(1, sizeof *l);
    pthread_mutex_init(&l->mutex, NULL);
    l->repo = repo;
    l->hostname = xstrdup(o->hostname ? o->hostname : "");
    l->exclusive = o->exclusive;
    if (o->line && !inherited) {
        struct buf name = {0};
        char mark[MARK_HEX + 1];
        random_token(mark, MARK_HEX / 2);
        buf_printf(&name, "%s+%s", o->line, mark);
        l->username = buf_take(&name);
    } else {
        l->username = xstrdup(inherited ? inherited : o->username ? o->username : "");
    }
    return l;
}

int lock_acquire(struct repository *repo, const struct lock_options *o, struct lock **ret_lock,
                 struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct lock_list before, beside;
    if (check_conflicts(repo, o, NULL, a, &before, err) < 0)
        return -1;
    const char *inherited = name_to_inherit(&before, o);
    struct lock *l CLEANUP(lock_free_p) = lock_new(repo, o, inherited);
    if (write_lock(l, err) < 0)
        return -1;
    wait_ms(o->settle_ms ? o->settle_ms : LOCK_SETTLE_MS);
    /* The lists of snapshots and indexes that follow are of a time when the lock is there. */
    if (backend_foresee(repository_backend(repo), err) < 0 ||
        check_conflicts(repo, o, &l->id, a, &beside, err) < 0 ||
        (inherited && succeed(l, o, &beside, err) < 0)) {
        (void)remove_file(repo, &l->id, NULL);
        return -1;
    }
    *ret_lock = TAKE(l);
    return 0;
}

/* ---- holding ---- */

static int lose(struct lock *l, const char *why, struct err *err)
{
    l->lost = true;
    return err_set(err, ERR_GONE, "the lock of the repository is lost: %s; writing stops", why);
}

/* Too long ago by either clock, or in the future: the wall clock was set, and stock restic judges
 * us by it. The other one tells the truth also where the wall clock was set back, or the machine
 * slept.
 */
static int check_age(struct lock *l, struct err *err)
{
    int64_t wall = clock_wall_ms() - l->refreshed_wall_ms;
    int64_t boot = clock_boot_ms() - l->refreshed_boot_ms;
    if (l->lost)
        return lose(l, "it was lost before", err);
    if (boot >= LOCK_STOP_MS)
        return lose(l, "it was not refreshed for too long", err);
    if (wall >= LOCK_STOP_MS || wall <= -LOCK_STOP_MS)
        return lose(l, "this machine's clock was set, or it was not refreshed for too long", err);
    return 0;
}

static int check_file(struct lock *l, const struct store_id *id, struct err *err)
{
    uint64_t size;
    struct err why = {0};
    if (backend_stat(repository_backend(l->repo), &(struct backend_file){BACKEND_LOCK, *id}, &size,
                     &why) == 0)
        return 0;
    if (why.kind == ERR_NOT_FOUND)
        return lose(l, "somebody removed its file", err);
    if (err)
        *err = why;
    return -1;
}

/* The old file is looked for once more when the new one is there: had it been removed before,
 * somebody could have locked, and pruned, in between. */
static int refresh(struct lock *l, struct err *err)
{
    struct store_id old = l->id;
    int64_t wall = l->refreshed_wall_ms, boot = l->refreshed_boot_ms;
    if (check_age(l, err) < 0 || check_file(l, &old, err) < 0)
        return -1;
    if (write_lock(l, err) < 0) {
        l->strays = true; /* an answer may be lost */
        return -1;
    }
    if (check_file(l, &old, err) == 0) {
        l->strays |= remove_file(l->repo, &old, NULL) < 0;
        return 0;
    }
    l->strays |= remove_file(l->repo, &l->id, NULL) < 0;
    pthread_mutex_lock(&held.mutex);
    l->id = old;
    pthread_mutex_unlock(&held.mutex);
    l->refreshed_wall_ms = wall;
    l->refreshed_boot_ms = boot;
    return -1;
}

int lock_refresh(struct lock *lock, struct err *err)
{
    pthread_mutex_lock(&lock->mutex);
    int r = refresh(lock, err);
    pthread_mutex_unlock(&lock->mutex);
    return r;
}

int lock_confirm(void *ctx, struct err *err)
{
    struct lock *lock = ctx;
    pthread_mutex_lock(&lock->mutex);
    int r = check_age(lock, err);
    if (r == 0)
        r = check_file(lock, &lock->id, err);
    pthread_mutex_unlock(&lock->mutex);
    return r;
}

/* No other lock bears the name of one of a line. */
static void remove_strays(const struct lock *l)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct lock_list list = {0};
    if (lock_list_all(l->repo, a, &list, NULL) < 0)
        return;
    for (size_t i = 0; i < list.n; i++) {
        if (is_of_a_line(&list.p[i]) && streq(list.p[i].username, l->username))
            (void)remove_file(l->repo, &list.p[i].id, NULL);
    }
}

int lock_release(struct lock *lock, struct err *err)
{
    if (!lock)
        return 0;
    int r = remove_file(lock->repo, &lock->id, err);
    if (lock->strays)
        remove_strays(lock);
    lock_free(lock);
    return r;
}

void lock_leave(struct lock *lock)
{
    if (lock)
        lock_free(lock);
}

const char *lock_name(const struct lock *lock)
{
    return lock->username;
}

const struct store_id *lock_id(const struct lock *lock)
{
    return &lock->id;
}

bool lock_refresh_due(struct lock *lock)
{
    pthread_mutex_lock(&lock->mutex);
    bool due = clock_boot_ms() - lock->refreshed_boot_ms >= LOCK_REFRESH_MS;
    pthread_mutex_unlock(&lock->mutex);
    return due;
}

int lock_confirm_name(struct repository *repo, const char *name, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct lock_list list;
    struct err unread;
    /* Twice: a refresh may have removed the file that was listed. */
    for (int look = 0; look < 2; look++) {
        if (list_locks(repo, a, NULL, &list, &unread, err) < 0)
            return -1;
        for (size_t i = 0; i < list.n; i++) {
            const struct lock_info *info = &list.p[i];
            if (streq(info->username, name) && !info->exclusive && info->seen_ms < LOCK_STOP_MS)
                return 0;
        }
    }
    if (unread.kind != ERR_NONE && err_is_transient(&unread))
        return err_set(err, unread.kind, "%s", unread.msg);
    return err_set(err, ERR_GONE, "the repository has no fresh lock %s", name);
}

int lock_sweep(struct repository *repo, const struct lock_options *options, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct lock_list list;
    return lock_list_all(repo, a, &list, err) < 0 ? -1 : sweep(repo, options, &list, err);
}
