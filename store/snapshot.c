#include "store/snapshot.h"

#include "core/vec.h"
#include "store/limits.h"
#include "store/snapshot_text.h"

#include <stdlib.h>

/* ---- one ---- */

static int check(struct repository *repo, const struct snapshot *s, struct err *err)
{
    char hex[STORE_ID_HEX];
    if (s->paths_n == 0)
        return err_set(err, ERR_INVALID, "a snapshot needs a path");
    for (size_t i = 0; i < s->paths_n; i++)
        if (s->paths[i][0] != '/')
            return err_set(err, ERR_INVALID, "a snapshot's path '%s' is not absolute", s->paths[i]);
    for (size_t i = 0; i < s->tags_n; i++)
        if (!*s->tags[i] || strchr(s->tags[i], ','))
            return err_set(err, ERR_INVALID,
                           "'%s' cannot be a snapshot's tag: it is empty or has a comma",
                           s->tags[i]);
    store_id_hex(&s->tree, hex);
    if (!repository_has_blob(repo, BLOB_TREE, &s->tree, NULL))
        return err_set(err, ERR_INVALID, "the snapshot's tree %.16s is not in the repository", hex);
    return 0;
}

int snapshot_save(struct repository *repo, const struct snapshot *snapshot, struct store_id *ret_id,
                  struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    if (check(repo, snapshot, err) < 0 || repository_flush(repo, err) < 0)
        return -1;
    snapshot_text(snapshot, &text);
    return repository_save_file(repo, BACKEND_SNAPSHOT, buf_view(&text), ret_id, err);
}

int snapshot_load(struct repository *repo, const struct store_id *id, struct arena *a,
                  struct snapshot *ret_snapshot, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    if (repository_load_file(repo, BACKEND_SNAPSHOT, id, &text, err) < 0 ||
        snapshot_parse(buf_view(&text), a, ret_snapshot, err) < 0)
        return err_wrap(err, "snapshot %.8s", hex);
    ret_snapshot->id = *id;
    return 0;
}

bool snapshot_has_tag(const struct snapshot *s, const char *tag)
{
    for (size_t i = 0; i < s->tags_n; i++)
        if (streq(s->tags[i], tag))
            return true;
    return false;
}

const char *snapshot_tag_value(const struct snapshot *s, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < s->tags_n; i++)
        if (strncmp(s->tags[i], key, n) == 0 && (s->tags[i][n] == ':' || s->tags[i][n] == '='))
            return s->tags[i] + n + 1;
    return NULL;
}

static int time_cmp(const struct timespec *a, const struct timespec *b)
{
    if (a->tv_sec != b->tv_sec)
        return a->tv_sec < b->tv_sec ? -1 : 1;
    return (a->tv_nsec > b->tv_nsec) - (a->tv_nsec < b->tv_nsec);
}

bool snapshot_matches(const struct snapshot *s, const struct snapshot_filter *f)
{
    if (!f)
        return true;
    if (f->hostname && !(s->hostname && streq(s->hostname, f->hostname)))
        return false;
    bool has_path = !f->path;
    for (size_t i = 0; i < s->paths_n; i++)
        has_path = has_path || streq(s->paths[i], f->path);
    for (size_t i = 0; i < f->tags_n; i++)
        if (!snapshot_has_tag(s, f->tags[i]))
            return false;
    for (size_t i = 0; i < f->not_tags_n; i++)
        if (snapshot_has_tag(s, f->not_tags[i]))
            return false;
    return has_path && !(f->until && time_cmp(&s->time, f->until) > 0);
}

/* ---- many ---- */

static int list_ids(struct repository *repo, struct store_ids *ids, struct err *err)
{
    return backend_list_ids(repository_backend(repo), BACKEND_SNAPSHOT, true, STORE_SNAPSHOTS_MAX,
                            ids, err);
}

static int by_time(const void *a, const void *b)
{
    const struct snapshot *x = a, *y = b;
    int order = time_cmp(&x->time, &y->time);
    return order ? order : memcmp(x->id.b, y->id.b, STORE_ID_SIZE);
}

/* Damage and a vanished file concern one snapshot; anything else concerns the list. */
static bool concerns_one(const struct err *err)
{
    return err->kind == ERR_CORRUPT || err->kind == ERR_UNSUPPORTED || err->kind == ERR_NOT_FOUND ||
           err->kind == ERR_TOO_LARGE;
}

int snapshot_list_all(struct repository *repo, const struct snapshot_filter *filter,
                      struct arena *a, struct snapshot_list *ret_list, size_t *ret_unreadable,
                      struct err *err)
{
    struct store_ids ids = {0};
    size_t unreadable = 0, n = 0;
    int r = list_ids(repo, &ids, err);
    struct snapshot *list = arena_alloc(a, ids.n * sizeof *list);
    for (size_t i = 0; r == 0 && i < ids.n; i++) {
        struct err why = {0};
        if (snapshot_load(repo, &ids.p[i], a, &list[n], &why) == 0) {
            n += snapshot_matches(&list[n], filter);
        } else if (concerns_one(&why)) {
            unreadable += why.kind != ERR_NOT_FOUND;
        } else {
            r = -1;
            if (err)
                *err = why;
        }
    }
    vec_free(&ids);
    if (r < 0)
        return -1;
    qsort(list, n, sizeof *list, by_time);
    *ret_list = (struct snapshot_list){list, n};
    if (ret_unreadable)
        *ret_unreadable = unreadable;
    return 0;
}

static int find_latest(struct repository *repo, const struct snapshot_filter *filter,
                       struct arena *a, struct snapshot *ret_snapshot, struct err *err)
{
    struct snapshot_list list;
    size_t unreadable;
    if (snapshot_list_all(repo, filter, a, &list, &unreadable, err) < 0)
        return -1;
    if (list.n == 0)
        return unreadable ? err_set(err, ERR_NOT_FOUND,
                                    "no snapshot matches; %zu could not be read", unreadable)
                          : err_set(err, ERR_NOT_FOUND, "no snapshot matches");
    *ret_snapshot = list.p[list.n - 1];
    return 0;
}

int snapshot_find(struct repository *repo, const char *which, const struct snapshot_filter *filter,
                  struct arena *a, struct snapshot *ret_snapshot, struct err *err)
{
    struct store_id id;
    str prefix = str_of(which);
    if (streq(which, "latest"))
        return find_latest(repo, filter, a, ret_snapshot, err);
    if (store_id_parse(prefix, &id))
        return snapshot_load(repo, &id, a, ret_snapshot, err);
    if (prefix.n == 0 || prefix.n > 64 || strspn(which, "0123456789abcdef") != prefix.n)
        return err_set(err, ERR_INVALID,
                       "'%s' names no snapshot: give 'latest', an id, or the beginning of one",
                       which);
    struct store_ids ids = {0};
    int r = list_ids(repo, &ids, err);
    size_t matches = 0;
    for (size_t i = 0; i < ids.n; i++) {
        char hex[STORE_ID_HEX];
        store_id_hex(&ids.p[i], hex);
        if (strncmp(hex, which, prefix.n) != 0)
            continue;
        id = ids.p[i];
        matches++;
    }
    vec_free(&ids);
    if (r < 0)
        return -1;
    if (matches != 1)
        return matches ? err_set(err, ERR_INVALID, "'%s' is the beginning of %zu snapshots' ids",
                                 which, matches)
                       : err_set(err, ERR_NOT_FOUND, "there is no snapshot '%s'", which);
    return snapshot_load(repo, &id, a, ret_snapshot, err);
}
