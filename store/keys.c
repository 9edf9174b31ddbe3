#include "store/keys.h"

#include "store/jsonin.h"
#include "store/limits.h"
#include "store/repository_impl.h"

struct reading {
    struct arena *a;
    struct key_info info;
};

static int read_member(void *ctx, struct json_in *in, str key)
{
    struct reading *r = ctx;
    const char **text = str_is(key, "username")   ? &r->info.username
                        : str_is(key, "hostname") ? &r->info.hostname
                        : str_is(key, "created")  ? &r->info.created
                                                  : NULL;
    str value;
    if (str_is(key, "N"))
        return json_in_u64(in, &r->info.n);
    if (str_is(key, "r"))
        return json_in_u64(in, &r->info.r);
    if (str_is(key, "p"))
        return json_in_u64(in, &r->info.p);
    if (!text)
        return json_in_skip(in);
    if (json_in_string(in, &value) < 0)
        return -1;
    *text = arena_strndup(r->a, value.p, value.n);
    return 0;
}

static int load_key(struct repository *repo, const struct store_id *id, struct arena *a,
                    struct key_info *ret, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct reading r = {.a = a, .info = {.id = *id, .username = "", .hostname = "", .created = ""}};
    if (backend_load_all(repo->backend, &(struct backend_file){BACKEND_KEY, *id},
                         STORE_SMALL_FILE_MAX, &text, err) < 0)
        return -1;
    struct json_in in CLEANUP(json_in_free);
    json_in_text(&in, buf_view(&text), err);
    if (json_in_members(&in, read_member, &r) < 0 || json_in_end(&in) < 0)
        return -1;
    r.info.current = store_id_equal(id, &repo->key_id);
    *ret = r.info;
    return 0;
}

int key_list_all(struct repository *repo, struct arena *a, struct key_list *ret,
                 size_t *ret_unreadable, struct err *err)
{
    struct store_ids ids = {0};
    size_t n = 0, unreadable = 0;
    int r = backend_list_ids(repo->backend, BACKEND_KEY, true, STORE_KEYS_MAX, &ids, err);
    struct key_info *list = arena_alloc(a, ids.n * sizeof *list);
    for (size_t i = 0; r == 0 && i < ids.n; i++) {
        struct err why = {0};
        if (load_key(repo, &ids.p[i], a, &list[n], &why) == 0)
            n++;
        else
            unreadable++;
    }
    vec_free(&ids);
    if (r < 0)
        return -1;
    *ret = (struct key_list){list, n};
    if (ret_unreadable)
        *ret_unreadable = unreadable;
    return 0;
}

int key_remove(struct repository *repo, const struct store_id *id, struct err *err)
{
    if (store_id_equal(id, &repo->key_id))
        return err_set(err, ERR_REFUSED,
                       "this key opened the repository: remove it with another key's password");
    if (repo->options.read_only)
        return err_set(err, ERR_REFUSED, "the repository was opened for reading only");
    return backend_remove(repo->backend, &(struct backend_file){BACKEND_KEY, *id}, err);
}

int key_replace(struct repository *repo, const struct repository_key *key, struct store_id *ret_id,
                struct err *err)
{
    struct repository *again CLEANUP(repository_close_p) = NULL;
    struct store_id old = repo->key_id, id;
    if (repository_add_key(repo, key, &id, err) < 0)
        return -1;
    struct repository_options options = {.read_only = true, .key_hint = &id};
    if (repository_open(repo->backend, key->password, &options, &again, err) < 0)
        return err_wrap(err, "the new key does not open; the old one stays");
    if (!store_id_equal(&again->key_id, &id))
        return err_set(err, ERR_EXISTS, "another key has this password already; the old one stays");
    if (backend_remove(repo->backend, &(struct backend_file){BACKEND_KEY, old}, err) < 0)
        return -1;
    *ret_id = id;
    return 0;
}

int store_find_id(struct repository *repo, enum backend_type type, const char *prefix,
                  struct store_id *ret, struct err *err)
{
    struct store_ids ids = {0};
    size_t n = strlen(prefix), found = 0;
    if (n == 0 || n > 64 || strspn(prefix, "0123456789abcdef") != n)
        return err_set(err, ERR_INVALID, "'%s' is not an id", prefix);
    if (store_id_parse(str_of(prefix), ret))
        return 0;
    if (backend_list_ids(repo->backend, type, true, SIZE_MAX, &ids, err) < 0) {
        vec_free(&ids);
        return -1;
    }
    for (size_t i = 0; i < ids.n; i++) {
        char hex[STORE_ID_HEX];
        store_id_hex(&ids.p[i], hex);
        if (strncmp(hex, prefix, n) == 0) {
            *ret = ids.p[i];
            found++;
        }
    }
    vec_free(&ids);
    if (found == 1)
        return 0;
    return found ? err_set(err, ERR_INVALID, "'%s' is the beginning of %zu ids", prefix, found)
                 : err_set(err, ERR_NOT_FOUND, "no id begins with '%s'", prefix);
}

int repository_each_blob(struct repository *repo,
                         int (*fn)(void *ctx, enum blob_type type, const struct store_id *id,
                                   struct err *err),
                         void *ctx, struct err *err)
{
    if (repository_load_index(repo, err) < 0)
        return -1;
    for (uint32_t i = 0; i < index_blobs(repo->index); i++) {
        enum blob_type type;
        struct store_id id;
        struct index_place place;
        if (index_entry(repo->index, i, &type, &id, &place) && fn(ctx, type, &id, err) < 0)
            return -1;
    }
    return 0;
}
