#include "store/repository_impl.h"

#include "core/clock.h"
#include "store/keyfile.h"
#include "store/limits.h"
#include "store/unpacked.h"

#include <stdlib.h>

struct repository_memory {
    struct crypto_key key;
    struct store_id key_id;
    struct buf sealed_config;
};

struct work *repository_take_work(struct repository *repo)
{
    pthread_mutex_lock(&repo->lock);
    struct work *w = repo->works;
    if (w)
        repo->works = w->next;
    pthread_mutex_unlock(&repo->lock);
    return w ? w : work_new();
}

void repository_give_work(struct repository *repo, struct work *w)
{
    pthread_mutex_lock(&repo->lock);
    w->next = repo->works;
    repo->works = w;
    pthread_mutex_unlock(&repo->lock);
}

static struct repository *new_repository(struct backend *b,
                                         const struct repository_options *options)
{
    struct repository *repo = xcalloc(1, sizeof *repo);
    repo->backend = b;
    if (options)
        repo->options = *options;
    repo->options.key_hint = NULL; /* borrowed for the time of opening only, all three */
    repo->options.memory = NULL;
    repo->options.keys = NULL;
    if (repo->options.compression == 0)
        repo->options.compression = 3;
    if (repo->options.pack_target == 0)
        repo->options.pack_target = STORE_PACK_TARGET;
    if (repo->options.lean_ids == 0)
        repo->options.lean_ids = STORE_LEAN_IDS;
    pthread_mutex_init(&repo->index_lock, NULL);
    pthread_mutex_init(&repo->lock, NULL);
    pthread_cond_init(&repo->idle, NULL);
    repository_queue_init(repo);
    repo->index_files = map_new(NULL);
    repo->index = index_new();
    if (repo->options.lean)
        index_make_lean(repo->index, repo->options.lean_ids);
    repo->indexed_ms = clock_mono_ms();
    return repo;
}

void repository_close(struct repository *repo)
{
    if (!repo)
        return;
    repository_queue_end(repo);
    for (int t = 0; t < 2; t++) {
        pack_free(repo->open[t]);
        buf_free(&repo->spare[t]);
    }
    for (int i = 0; i < READ_WINDOWS; i++)
        buf_free(&repo->windows[i].bytes);
    vec_free(&repo->written);
    for (size_t i = 0; i < repo->unindexed.n; i++)
        pack_free(repo->unindexed.p[i]);
    vec_free(&repo->unindexed);
    for (struct work *w = repo->works, *next; w; w = next) {
        next = w->next;
        work_free(w);
    }
    index_free(repo->index);
    map_free(repo->index_files);
    pthread_cond_destroy(&repo->idle);
    pthread_mutex_destroy(&repo->lock);
    pthread_mutex_destroy(&repo->index_lock);
    crypto_key_wipe(&repo->key);
    buf_free(&repo->sealed_config);
    vec_free(&repo->keys);
    free(repo);
}

struct backend *repository_backend(struct repository *repo)
{
    return repo->backend;
}

const struct store_id *repository_id(const struct repository *repo)
{
    return &repo->config.id;
}

const struct store_id *repository_key_id(const struct repository *repo)
{
    return &repo->key_id;
}

uint64_t repository_polynomial(const struct repository *repo)
{
    return repo->config.polynomial;
}

unsigned repository_version(const struct repository *repo)
{
    return repo->config.version;
}

str repository_sealed_config(const struct repository *repo)
{
    return buf_view(&repo->sealed_config);
}

bool repository_lists_key(const struct repository *repo, const struct store_id *id)
{
    for (size_t i = 0; i < repo->keys.n; i++)
        if (store_id_equal(&repo->keys.p[i], id))
            return true;
    return false;
}

void repository_guard_writes(struct repository *repo, int (*fn)(void *ctx, struct err *err),
                             void *ctx)
{
    repo->options.before_index = repo->options.before_snapshot = fn;
    repo->options.ctx = ctx;
}

/* ---- keys ---- */

static int try_key(struct backend *b, const struct store_id *id, const char *password,
                   struct crypto_key *ret_key, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct keyfile k CLEANUP(keyfile_free) = {0};
    if (backend_load_all(b, &(struct backend_file){BACKEND_KEY, *id}, STORE_SMALL_FILE_MAX, &text,
                         err) < 0 ||
        keyfile_parse(buf_view(&text), &k, err) < 0)
        return -1;
    return keyfile_open(&k, password, ret_key, err);
}

static int list_keys(struct backend *b, struct store_ids *ids, struct err *err)
{
    return backend_foresee(b, err) < 0
               ? -1
               : backend_list_ids(b, BACKEND_KEY, false, STORE_KEYS_MAX, ids, err);
}

/* Up to STORE_KEYS_TRIED of them, and not the hint. A key file that is broken or may not be read (a
 * gateway shows its mover only one) is as good as one of another password. */
static int try_keys(struct backend *b, const struct store_ids *ids, const char *password,
                    const struct store_id *hint, struct crypto_key *ret_key,
                    struct store_id *ret_id, struct err *err)
{
    struct err why = {0}, first_failure = {0};
    size_t tried = 0;
    for (size_t i = 0; i < ids->n && tried < STORE_KEYS_TRIED; i++, tried++) {
        if (hint && store_id_equal(hint, &ids->p[i]))
            continue;
        if (try_key(b, &ids->p[i], password, ret_key, &why) == 0) {
            *ret_id = ids->p[i];
            return 0;
        }
        if (why.kind != ERR_UNAUTHORIZED && first_failure.kind == ERR_NONE)
            first_failure = why;
    }
    if (first_failure.kind != ERR_NONE) {
        err_set(err, first_failure.kind, "%s", first_failure.msg);
        return err_wrap(err, "no key file of the repository could be opened");
    }
    return err_set(err, ERR_UNAUTHORIZED,
                   "wrong password: it opens none of the repository's %zu key files tried", tried);
}

static int find_key(struct backend *b, const char *password, struct crypto_key *ret_key,
                    struct store_id *ret_id, struct err *err)
{
    struct store_ids ids = {0};
    int r = list_keys(b, &ids, err);
    if (r == 0)
        r = try_keys(b, &ids, password, NULL, ret_key, ret_id, err);
    vec_free(&ids);
    return r;
}

static int save_key(struct backend *b, const struct repository_key *key,
                    const struct crypto_key *master, struct store_id *ret_id, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    if (!key->password || !*key->password)
        return err_set(err, ERR_INVALID, "a key needs a password");
    if (keyfile_make(key, master, &text, err) < 0)
        return -1;
    return backend_save(b, BACKEND_KEY, text.p, text.n, ret_id, err);
}

int repository_add_key(struct repository *repo, const struct repository_key *key,
                       struct store_id *ret_id, struct err *err)
{
    if (repository_check_writable(repo, err) < 0)
        return -1;
    return save_key(repo->backend, key, &repo->key, ret_id, err);
}

int repository_key_text(struct repository *repo, const struct repository_key *key, struct buf *out,
                        struct store_id *ret_id, struct err *err)
{
    size_t before = out->n;
    if (!key->password || !*key->password)
        return err_set(err, ERR_INVALID, "a key needs a password");
    if (keyfile_make(key, &repo->key, out, err) < 0)
        return -1;
    store_id_of(out->p + before, out->n - before, ret_id);
    return 0;
}

/* ---- init, open ---- */

static int count_file(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    (void)id, (void)size, (void)err;
    ++*(size_t *)ctx;
    return 0;
}

/* That nothing would be overwritten. Keys alone, without a config, are what a crash in here leaves.
 */
static int check_vacant(struct backend *b, size_t *ret_keys, struct err *err)
{
    uint64_t size;
    struct err why = {0};
    size_t snapshots = 0;
    if (backend_stat(b, &(struct backend_file){.type = BACKEND_CONFIG}, &size, &why) == 0)
        return err_set(err, ERR_EXISTS, "there is a repository already");
    if (why.kind != ERR_NOT_FOUND)
        return err_set(err, why.kind, "%s", why.msg);
    *ret_keys = 0;
    if (backend_list(b, BACKEND_KEY, count_file, ret_keys, err) < 0 ||
        backend_list(b, BACKEND_SNAPSHOT, count_file, &snapshots, err) < 0)
        return -1;
    if (snapshots)
        return err_set(
            err, ERR_EXISTS,
            "there are %zu snapshots but no config: a damaged repository is not made anew",
            snapshots);
    return 0;
}

/* The master key of an earlier, unfinished init, by one of our passwords. */
static int find_left_key(struct backend *b, const struct repository_key *keys, size_t keys_n,
                         struct crypto_key *ret_master, struct err *err)
{
    struct store_id id;
    for (size_t i = 0; i < keys_n; i++) {
        struct err why = {0};
        if (find_key(b, keys[i].password, ret_master, &id, &why) == 0)
            return 0;
        if (why.kind != ERR_UNAUTHORIZED)
            return err_set(err, why.kind, "%s", why.msg);
    }
    return err_set(err, ERR_EXISTS,
                   "there are key files but no config, and the password opens none of them: "
                   "choose another path, or remove what an unfinished init left there");
}

int repository_init(struct backend *b, const struct repository_key *keys, size_t keys_n,
                    struct store_id *ret_key_ids, struct err *err)
{
    size_t left = 0;
    if (keys_n == 0)
        return err_set(err, ERR_INVALID, "a repository needs a key");
    if (backend_create(b, err) < 0 || check_vacant(b, &left, err) < 0)
        return -1;
    struct crypto_key master CLEANUP(crypto_key_wipe);
    crypto_key_random(&master);
    if (left && find_left_key(b, keys, keys_n, &master, err) < 0)
        return -1;
    for (size_t i = 0; i < keys_n; i++) {
        struct store_id id;
        struct crypto_key same CLEANUP(crypto_key_wipe) = {0};
        struct err why = {0};
        bool there = left && find_key(b, keys[i].password, &same, &id, &why) == 0 &&
                     memcmp(&same, &master, sizeof same) == 0;
        if (!there && save_key(b, &keys[i], &master, &id, err) < 0)
            return -1;
        if (ret_key_ids)
            ret_key_ids[i] = id;
    }
    struct store_config config;
    struct buf text CLEANUP(buf_free) = {0}, sealed CLEANUP(buf_free) = {0};
    store_config_make(&config);
    store_config_text(&config, &text);
    crypto_seal(&master, text.p, text.n, &sealed);
    return backend_save_as(b, &(struct backend_file){.type = BACKEND_CONFIG}, sealed.p, sealed.n,
                           err);
}

static int load_config(struct backend *b, struct buf *sealed, struct err *err)
{
    return backend_load_all(b, &(struct backend_file){.type = BACKEND_CONFIG}, STORE_SMALL_FILE_MAX,
                            sealed, err);
}

static int open_config(struct repository *repo, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    if (crypto_open(&repo->key, repo->sealed_config.p, repo->sealed_config.n, &text, err) < 0)
        return err_set(err, ERR_CORRUPT,
                       "the repository's config does not fit its key files: it is damaged");
    return store_config_parse(buf_view(&text), &repo->config, err);
}

/* The key of an earlier opening, if it is still good: it opens the config, and its file is listed.
 */
static bool take_memory(struct repository *repo, const struct repository_memory *m)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct err ignored;
    if (!repository_lists_key(repo, &m->key_id) ||
        crypto_open(&m->key, repo->sealed_config.p, repo->sealed_config.n, &text, &ignored) < 0)
        return false;
    repo->key = m->key;
    repo->key_id = m->key_id;
    return true;
}

static int open_key(struct repository *repo, const char *password,
                    const struct repository_options *o, struct err *err)
{
    struct err ignored;
    if (o && o->key_hint &&
        try_key(repo->backend, o->key_hint, password, &repo->key, &ignored) == 0) {
        repo->key_id = *o->key_hint;
        return 0;
    }
    for (size_t i = 0; o && o->keys && i < o->keys->n; i++)
        *vec_add(&repo->keys) = o->keys->p[i];
    if (!(o && o->keys) && list_keys(repo->backend, &repo->keys, err) < 0)
        return -1;
    if (o && o->memory && take_memory(repo, o->memory))
        return 0;
    if (o && o->memory && o->config_known &&
        load_config(repo->backend, &repo->sealed_config, err) < 0)
        return -1;
    return try_keys(repo->backend, &repo->keys, password, o ? o->key_hint : NULL, &repo->key,
                    &repo->key_id, err);
}

int repository_open(struct backend *b, const char *password,
                    const struct repository_options *options, struct repository **ret_repo,
                    struct err *err)
{
    struct repository *repo CLEANUP(repository_close_p) = new_repository(b, options);
    if (options && options->memory && options->config_known)
        buf_str(&repo->sealed_config, buf_view(&options->memory->sealed_config));
    else if (load_config(b, &repo->sealed_config, err) < 0)
        return err && err->kind == ERR_NOT_FOUND ? err_wrap(err, "there is no repository") : -1;
    if (open_key(repo, password, options, err) < 0 || open_config(repo, err) < 0)
        return -1;
    *ret_repo = TAKE(repo);
    return 0;
}

int repository_reopen(struct repository *from, struct repository **ret_repo, struct err *err)
{
    struct repository_options options = {.read_only = true};
    struct repository *repo CLEANUP(repository_close_p) = new_repository(from->backend, &options);
    repo->key = from->key;
    repo->key_id = from->key_id;
    if (load_config(repo->backend, &repo->sealed_config, err) < 0 || open_config(repo, err) < 0)
        return -1;
    *ret_repo = TAKE(repo);
    return 0;
}

/* ---- what is kept of it ---- */

struct repository_memory *repository_remember(const struct repository *repo)
{
    struct repository_memory *m = xcalloc(1, sizeof *m);
    m->key = repo->key;
    m->key_id = repo->key_id;
    buf_str(&m->sealed_config, buf_view(&repo->sealed_config));
    return m;
}

struct repository_memory *repository_memory_copy(const struct repository_memory *from)
{
    struct repository_memory *m = xcalloc(1, sizeof *m);
    m->key = from->key;
    m->key_id = from->key_id;
    buf_str(&m->sealed_config, buf_view(&from->sealed_config));
    return m;
}

void repository_memory_free(struct repository_memory *m)
{
    if (!m)
        return;
    crypto_key_wipe(&m->key);
    buf_free(&m->sealed_config);
    free(m);
}

/* ---- unpacked files ---- */

static int run_hook(struct repository *repo, enum backend_type type, struct err *err)
{
    const struct repository_options *o = &repo->options;
    if (type == BACKEND_INDEX && o->before_index)
        return o->before_index(o->ctx, err);
    if (type == BACKEND_SNAPSHOT && o->before_snapshot)
        return o->before_snapshot(o->ctx, err);
    return 0;
}

int repository_save_sealed(struct repository *repo, enum backend_type type,
                           const struct buf *sealed, struct store_id *ret_id, struct err *err)
{
    if (run_hook(repo, type, err) < 0)
        return -1;
    return backend_save(repo->backend, type, sealed->p, sealed->n, ret_id, err);
}

int repository_save_file(struct repository *repo, enum backend_type type, str text,
                         struct store_id *ret_id, struct err *err)
{
    if (type != BACKEND_LOCK && repository_check_writable(repo, err) < 0)
        return -1;
    struct work *w = repository_take_work(repo);
    int r = unpacked_seal(&repo->key, repo->config.version, w, text, &w->sealed, err);
    if (r == 0)
        r = repository_save_sealed(repo, type, &w->sealed, ret_id, err);
    repository_give_work(repo, w);
    return r;
}

int repository_load_file(struct repository *repo, enum backend_type type, const struct store_id *id,
                         struct buf *out, struct err *err)
{
    struct work *w = repository_take_work(repo);
    int r = backend_load_all(repo->backend, &(struct backend_file){type, *id}, STORE_FILE_MAX,
                             &w->sealed, err);
    if (r == 0) {
        r = unpacked_open(&repo->key, w, w->sealed.p, w->sealed.n, STORE_SMALL_FILE_MAX, out, err);
        if (r < 0 && err && err->kind == ERR_UNAUTHORIZED)
            err->kind = ERR_CORRUPT; /* the key is right: it opened the config */
    }
    repository_give_work(repo, w);
    return r;
}

void repository_get_stats(struct repository *repo, struct repository_stats *ret_stats)
{
    pthread_mutex_lock(&repo->lock);
    *ret_stats = repo->stats;
    ret_stats->index_blobs = index_blobs(repo->index);
    ret_stats->index_memory = index_memory(repo->index);
    pthread_mutex_unlock(&repo->lock);
}
