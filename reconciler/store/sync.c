#include "reconciler/store/sync.h"

#include "core/clock.h"
#include "kube/event.h"
#include "reconciler/status.h"
#include "reconciler/store/repositories.h"
#include "reconciler/store/synced.h"
#include "store/limits.h"

#include <pthread.h>
#include <stdio.h>

/* One pass over one repository. */
struct pass {
    struct context *cx;
    struct arena *a;
    const char *store, *content;
    struct known *known;
    struct opened opened;
    struct store_ids ids;
    int64_t apart_ms;
    bool indexed;
    struct sync_result *result;
};

static void note(struct pass *p, const struct err *why)
{
    if (p->result->failures++ == 0)
        snprintf(p->result->failure, sizeof p->result->failure, "%.500s", why->msg);
}

bool sync_is_unreachable(const struct err *err)
{
    return err->kind == ERR_UNAVAILABLE || err->kind == ERR_TIMEOUT;
}

/* Also: sees whether the pass is to be given up. One file, or one repository, that fails by itself
 * must not keep the others from being read. */
static void note_distant(struct pass *p, const struct err *why)
{
    struct err again;
    const char **names;
    size_t n;
    note(p, why);
    if (sync_is_unreachable(why))
        p->result->unreachable =
            store_repositories(p->cx, p->a, p->store, &names, &n, &again) < 0 &&
            sync_is_unreachable(&again);
}

/* ---- snapshots that are no Backups of ours: not looked at again ---- */

static pthread_mutex_t foreign_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *foreign;

static bool is_foreign(const char *hex)
{
    pthread_mutex_lock(&foreign_lock);
    bool is = foreign && map_get(foreign, str_of(hex));
    pthread_mutex_unlock(&foreign_lock);
    return is;
}

static void note_foreign(const char *hex)
{
    static char yes;
    pthread_mutex_lock(&foreign_lock);
    if (!foreign)
        foreign = map_new(NULL);
    map_put(foreign, str_of(hex), &yes);
    pthread_mutex_unlock(&foreign_lock);
}

/* ---- Backups that are missing ---- */

enum sync_verdict sync_judge(const struct known_backup *b, const struct sync_listing *l)
{
    if (!b->ended || !*b->snapshot)
        return SYNC_NOTHING;
    if (l->has)
        return b->missing_since_ms || !streq(b->repository_id, l->repository_id) ? SYNC_FOUND
                                                                                 : SYNC_NOTHING;
    if (l->count == 0 || !*b->repository_id || !streq(b->repository_id, l->repository_id))
        return SYNC_NOTHING;
    if (!b->missing_since_ms || b->missing_since_ms > l->now_ms)
        return SYNC_SUSPECT;
    return l->now_ms - b->missing_since_ms >= l->apart_ms ? SYNC_REMOVE : SYNC_NOTHING;
}

/* Appends the snapshot's own tags to the status. */
static int patch_status(struct pass *p, const struct known_backup *b, json_t *status,
                        struct err *err)
{
    json_t *body CLEANUP_JSON = json_pack("{s:{s:s, s:s}, s:o}", "metadata", "uid", b->object_uid,
                                          "resourceVersion", b->resource_version, "status", status);
    struct buf text CLEANUP(buf_free) = {0};
    struct kube_write opts = {.subresource = "status"};
    json_print(&text, body);
    if (kube_patch(p->cx->kube, p->a, &KUBE_BACKUP, b->ns, b->name, KUBE_PATCH_MERGE,
                   buf_view(&text), &opts, NULL, err) == 0 ||
        err->kind == ERR_CONFLICT || err->kind == ERR_NOT_FOUND)
        return 0; /* somebody was faster: the next pass looks again */
    return err_wrap(err, "Backup %s", b->full);
}

static void tell(struct pass *p, const struct known_backup *b, const char *reason, const char *text)
{
    struct kube_object o;
    struct err ignored;
    if (p->cx->events &&
        kube_get(p->cx->kube, p->a, &KUBE_BACKUP, b->ns, b->name, &o, &ignored) == 0)
        (void)!kube_event_emit(p->cx->events, &o, true, reason, "Sync", text, &ignored);
}

static int set_missing(struct pass *p, const struct known_backup *b, struct err *err)
{
    char now[CLOCK_RFC3339];
    clock_format(clock_wall_ms(), now);
    if (patch_status(p, b, json_pack("{s:s}", "missingSince", now), err) < 0)
        return -1;
    tell(p, b, "SnapshotMissing",
         arena_printf(p->a,
                      "its snapshot %.8s is not in %s any more; if the next look says the same, "
                      "this Backup goes",
                      b->snapshot, p->opened.path));
    return 0;
}

static int set_found(struct pass *p, const struct known_backup *b, const char *id, struct err *err)
{
    return patch_status(p, b, json_pack("{s:n, s:s}", "missingSince", "repositoryID", id), err);
}

static int remove_backup(struct pass *p, const struct known_backup *b, struct err *err)
{
    struct kube_delete only = {
        .uid = b->object_uid, .resource_version = b->resource_version, .grace_seconds = -1};
    tell(p, b, "SnapshotGone",
         arena_printf(p->a, "removed: its snapshot %.8s is not in %s any more", b->snapshot,
                      p->opened.path));
    if (kube_delete(p->cx->kube, &KUBE_BACKUP, b->ns, b->name, &only, err) < 0 &&
        err->kind != ERR_NOT_FOUND && err->kind != ERR_CONFLICT)
        return err_wrap(err, "removing Backup %s", b->full);
    p->result->removed++;
    return 0;
}

static bool listed(const struct pass *p, const char *hex)
{
    struct store_id id;
    if (!store_id_parse(str_of(hex), &id))
        return false;
    for (size_t i = 0; i < p->ids.n; i++)
        if (store_id_equal(&p->ids.p[i], &id))
            return true;
    return false;
}

/* A listing may lack what is there: the file is asked for by its name. */
static bool surely_gone(struct pass *p, const char *hex)
{
    struct backend_file f = {.type = BACKEND_SNAPSHOT};
    struct err why;
    uint64_t size;
    return store_id_parse(str_of(hex), &f.id) &&
           backend_stat(p->opened.backend, &f, &size, &why) < 0 && why.kind == ERR_NOT_FOUND;
}

static int look_at_backup(struct pass *p, const struct known_backup *b, const char *id,
                          struct err *err)
{
    struct sync_listing l = {.repository_id = id,
                             .count = p->ids.n,
                             .has = listed(p, b->snapshot),
                             .now_ms = clock_wall_ms(),
                             .apart_ms = p->apart_ms};
    enum sync_verdict v = sync_judge(b, &l);
    if ((v == SYNC_SUSPECT || v == SYNC_REMOVE) && !surely_gone(p, b->snapshot))
        return 0;
    switch (v) {
    case SYNC_FOUND:
        return set_found(p, b, id, err);
    case SYNC_SUSPECT:
        return set_missing(p, b, err);
    case SYNC_REMOVE:
        return remove_backup(p, b, err);
    case SYNC_NOTHING:
        break;
    }
    return 0;
}

static int look_at_backups(struct pass *p, struct err *err)
{
    char id[STORE_ID_HEX];
    store_id_hex(repository_id(p->opened.repo), id);
    for (size_t i = 0; i < p->known->backups.n; i++) {
        const struct known_backup *b = &p->known->backups.p[i];
        if (streq(b->store, p->store) && streq(b->content, p->content) &&
            look_at_backup(p, b, id, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- snapshots without a Backup ---- */

static int load_index(struct pass *p, struct err *err)
{
    if (!p->indexed && repository_load_index(p->opened.repo, err) < 0)
        return -1;
    p->indexed = true;
    return 0;
}

/* A snapshot whose Backup is there under another snapshot: tags were changed by `restic tag`, which
 * writes it anew. */
static int adopt(struct pass *p, const struct known_backup *b, const char *hex, struct err *err)
{
    if (!b->ended || streq(b->snapshot, hex) || (*b->snapshot && listed(p, b->snapshot)))
        return 0;
    return patch_status(p, b, json_pack("{s:n, s:s}", "missingSince", "snapshot", hex), err);
}

static int look_at_snapshot(struct pass *p, const struct store_id *id, struct err *err)
{
    struct snapshot s;
    struct recorded r;
    struct err why;
    const char *made;
    if (snapshot_load(p->opened.repo, id, p->a, &s, &why) < 0) {
        if (why.kind != ERR_NOT_FOUND) /* forgotten since */
            note_distant(p, &why);
        return 0;
    }
    if (!recorded_read(p->a, &s, &r)) {
        char hex[STORE_ID_HEX];
        store_id_hex(id, hex);
        note_foreign(hex);
        return 0;
    }
    const struct known_backup *b = known_by_uid(p->known, p->store, r.uid);
    bool filled = b && (*b->phase || streq(b->uid, b->object_uid));
    if (filled)
        return adopt(p, b, r.snapshot, err);
    if (load_index(p, &why) < 0 ||
        synced_make(p->cx, p->a, &p->opened, p->content, &s, &r, b, &made, &why) < 0) {
        if (why.kind == ERR_CANCELLED)
            return err_set(err, why.kind, "%s", why.msg);
        if (why.kind != ERR_EXISTS)
            note_distant(p, &why);
        return 0;
    }
    p->result->made++;
    return 0;
}

static int look_at_snapshots(struct pass *p, struct err *err)
{
    struct map *have CLEANUP(map_free_p) = map_new(NULL);
    for (size_t i = 0; i < p->known->backups.n; i++) {
        struct known_backup *b = &p->known->backups.p[i];
        if (*b->snapshot && *b->phase && streq(b->store, p->store))
            map_put(have, str_of(b->snapshot), b);
    }
    for (size_t i = 0; i < p->ids.n && !p->result->unreachable; i++) {
        char hex[STORE_ID_HEX];
        store_id_hex(&p->ids.p[i], hex);
        if (map_get(have, str_of(hex)) || is_foreign(hex))
            continue;
        if (p->cx->stopping && atomic_load(p->cx->stopping))
            return err_set(err, ERR_CANCELLED, "the controller is stopping");
        if (look_at_snapshot(p, &p->ids.p[i], err) < 0)
            return -1;
    }
    return 0;
}

/* ---- passes ---- */

static int list(struct pass *p, struct err *err)
{
    if (store_open(p->cx, p->a, p->store, p->content, false, &p->opened, err) < 0)
        return -1;
    return backend_list_ids(p->opened.backend, BACKEND_SNAPSHOT, false, STORE_SNAPSHOTS_MAX,
                            &p->ids, err);
}

static int sync_repository(struct pass *p, struct err *err)
{
    struct err why;
    int r = list(p, &why);
    if (r < 0) {
        if (why.kind == ERR_CANCELLED)
            return err_set(err, why.kind, "%s", why.msg);
        if (why.kind != ERR_NOT_FOUND) /* a folder, and no repository */
            note_distant(p, &why);
        return 0;
    }
    p->result->repositories++;
    p->result->snapshots += p->ids.n;
    if (look_at_snapshots(p, err) < 0)
        return -1;
    return p->result->unreachable ? 0 : look_at_backups(p, err);
}

int sync_store(struct context *cx, struct arena *a, const char *store,
               const struct sync_options *options, struct sync_result *ret, struct err *err)
{
    struct sync_result result = {0};
    struct known known CLEANUP(known_free) = {0};
    const char **names;
    size_t n;
    int r = 0;
    /* The Backups first: the snapshot of one that has ended was there before the listing. */
    if (known_read(cx, a, &known, err) < 0 || store_repositories(cx, a, store, &names, &n, err) < 0)
        return -1;
    for (size_t i = 0; r == 0 && i < n && !result.unreachable; i++) {
        struct arena *own CLEANUP(arena_free_p) = arena_new();
        struct pass p = {.cx = cx,
                         .a = own,
                         .store = store,
                         .content = names[i],
                         .known = &known,
                         .apart_ms =
                             options && options->apart_ms ? options->apart_ms : SYNC_APART_MS,
                         .result = &result};
        r = sync_repository(&p, err);
        store_close(&p.opened);
        vec_free(&p.ids);
    }
    *ret = result;
    return r;
}
