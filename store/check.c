/* The order of a check, and what its steps share. */
#include "store/check_impl.h"

#include "store/keyfile.h"
#include "store/limits.h"

#include <stdarg.h>
#include <stdio.h>

void check_say(struct check *c, enum check_severity severity, const char *fmt, ...)
{
    char text[1200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    pthread_mutex_lock(&c->mutex);
    if (severity == CHECK_HINT)
        c->result.hints++;
    else if (severity == CHECK_DAMAGE)
        c->result.damages++;
    if (c->options->finding)
        c->options->finding(c->options->ctx, &(struct check_finding){severity, text});
    pthread_mutex_unlock(&c->mutex);
}

int check_progress(struct check *c, const char *what, uint64_t done, uint64_t total,
                   struct err *err)
{
    if (!c->options->progress)
        return 0;
    pthread_mutex_lock(&c->mutex);
    int r = c->options->progress(c->options->ctx, what, done, total, err);
    pthread_mutex_unlock(&c->mutex);
    return r;
}

bool check_is_damage(const struct err *err)
{
    return err->kind == ERR_CORRUPT || err->kind == ERR_UNSUPPORTED || err->kind == ERR_NOT_FOUND ||
           err->kind == ERR_TOO_LARGE || err->kind == ERR_IO || err->kind == ERR_INVALID;
}

static bool is_bad(const struct check *c, uint64_t copy)
{
    size_t from = 0, to = c->bad.n;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (c->bad.p[middle] == copy)
            return true;
        if (c->bad.p[middle] < copy)
            from = middle + 1;
        else
            to = middle;
    }
    return false;
}

bool check_readable(const struct check *c, enum blob_type type, const struct store_id *id)
{
    struct index_place place;
    uint64_t cursor = 0;
    while (index_find(c->repo->index, type, id, &cursor, &place))
        if (bits_has(&c->whole, place.pack) &&
            !is_bad(c, (uint64_t)place.pack << 32 | place.offset))
            return true;
    return false;
}

void check_in_threads(const struct check *c, void *(*fn)(void *ctx), void *ctx)
{
    pthread_t threads[CHECK_THREADS_MAX - 1];
    size_t n = 0, more = (c->options->threads ? c->options->threads : CHECK_THREADS) - 1;
    while (n < MIN(more, ARRAY_LEN(threads)) && pthread_create(&threads[n], NULL, fn, ctx) == 0)
        n++;
    fn(ctx);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

/* ---- keys, locks, the list of snapshots ---- */

static int check_key(struct check *c, const struct store_id *id, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct keyfile key CLEANUP(keyfile_free) = {0};
    struct err why = {0};
    char hex[STORE_ID_HEX];
    store_id_hex(id, hex);
    if (backend_load_all(c->repo->backend, &(struct backend_file){BACKEND_KEY, *id},
                         STORE_SMALL_FILE_MAX, &text, &why) == 0 &&
        keyfile_parse(buf_view(&text), &key, &why) == 0)
        return 0;
    /* Where only one's own key may be read, the others cannot be judged. */
    if (why.kind == ERR_FORBIDDEN)
        return 0;
    if (!check_is_damage(&why)) {
        *err = why;
        return -1;
    }
    check_say(c, CHECK_DAMAGE, "key %.10s is damaged, its password opens nothing: %s", hex,
              why.msg);
    return 0;
}

static int check_locks(struct check *c, struct err *err)
{
    struct store_ids ids = {0};
    int r = backend_list_ids(c->repo->backend, BACKEND_LOCK, false, STORE_LOCKS_MAX, &ids, err);
    for (size_t i = 0; r == 0 && i < ids.n; i++) {
        struct buf text CLEANUP(buf_free) = {0};
        struct err why = {0};
        char hex[STORE_ID_HEX];
        store_id_hex(&ids.p[i], hex);
        if (repository_load_file(c->repo, BACKEND_LOCK, &ids.p[i], &text, &why) < 0 &&
            check_is_damage(&why) && why.kind != ERR_NOT_FOUND)
            check_say(c, CHECK_HINT, "lock %.10s cannot be read: %s", hex, why.msg);
    }
    vec_free(&ids);
    return r;
}

int check_small_files(struct check *c, struct err *err)
{
    struct store_ids keys = {0};
    int r = backend_list_ids(c->repo->backend, BACKEND_KEY, true, STORE_KEYS_MAX, &keys, err);
    for (size_t i = 0; r == 0 && i < keys.n; i++)
        r = check_key(c, &keys.p[i], err);
    vec_free(&keys);
    if (r < 0 || check_locks(c, err) < 0)
        return -1;
    return backend_list_ids(c->repo->backend, BACKEND_SNAPSHOT, true, STORE_SNAPSHOTS_MAX,
                            &c->snapshot_ids, err);
}

/* ---- the whole ---- */

static int collect_hurt(struct check *c)
{
    size_t n = 0;
    c->result.hurt = xmalloc((c->roots.n + 1) * sizeof *c->result.hurt);
    for (size_t i = 0; i < c->roots.n; i++)
        if (c->roots.p[i].hurt)
            c->result.hurt[n++] = c->roots.p[i].snapshot;
    c->result.hurt_n = n;
    return 0;
}

static void collect_broken(struct check *c)
{
    c->result.broken = xmalloc((c->broken.n + 1) * sizeof *c->result.broken);
    for (size_t i = 0; i < c->broken.n; i++) {
        bool twice = false; /* of a wrong size, and then read */
        for (size_t j = 0; j < c->result.broken_n && !twice; j++)
            twice = store_id_equal(&c->result.broken[j], &c->broken.p[i]);
        if (!twice)
            c->result.broken[c->result.broken_n++] = c->broken.p[i];
    }
}

static int run(struct check *c, struct err *err)
{
    if (check_small_files(c, err) < 0 || check_index(c, err) < 0 || check_packs(c, err) < 0 ||
        check_snapshots(c, err) < 0 || check_trees(c, err) < 0 || check_data(c, err) < 0)
        return -1;
    if (c->result.damages && check_hurt(c, err) < 0)
        return -1;
    collect_broken(c);
    return collect_hurt(c);
}

int check_run(struct repository *repo, const struct check_options *options,
              struct check_result *ret_result, struct err *err)
{
    static const struct check_options none;
    struct check c = {.options = options ? options : &none};
    if (repository_reopen(repo, &c.repo, err) < 0)
        return -1;
    pthread_mutex_init(&c.mutex, NULL);
    int r = run(&c, err);
    pthread_mutex_destroy(&c.mutex);
    repository_close(c.repo);
    vec_free(&c.roots);
    vec_free(&c.snapshot_ids);
    vec_free(&c.blobs_of);
    vec_free(&c.bad);
    vec_free(&c.broken);
    bits_free(&c.whole);
    bits_free(&c.seen);
    if (r == 0)
        *ret_result = c.result;
    else
        check_result_free(&c.result);
    return r;
}

void check_result_free(struct check_result *r)
{
    free(r->hurt);
    free(r->broken);
    *r = (struct check_result){0};
}
