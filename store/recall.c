#include "store/recall.h"

#include "core/map.h"
#include "core/vec.h"

#include <pthread.h>
#include <stdlib.h>

/* ---- the memory of the process ---- */

struct kept {
    struct kept *newer, *older;
    struct store_id id;
    size_t n;
    char bytes[];
};

static struct {
    pthread_mutex_t lock;
    struct map *files; /* of struct kept, by id */
    struct kept *newest, *oldest;
    size_t bytes;
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

static str key_of(const struct store_id *id)
{
    return (str){(const char *)id->b, STORE_ID_SIZE};
}

static void unlink_kept(struct kept *k)
{
    *(k->newer ? &k->newer->older : &memory.newest) = k->older;
    *(k->older ? &k->older->newer : &memory.oldest) = k->newer;
}

static void link_kept(struct kept *k)
{
    k->newer = NULL;
    k->older = memory.newest;
    *(memory.newest ? &memory.newest->newer : &memory.oldest) = k;
    memory.newest = k;
}

static void drop_kept(struct kept *k)
{
    struct store_id id = k->id;
    unlink_kept(k);
    memory.bytes -= sizeof *k + k->n;
    map_del(memory.files, key_of(&id));
}

static void keep(const struct store_id *id, const struct buf *bytes)
{
    if (bytes->n > RECALL_FILE)
        return;
    struct kept *k = xmalloc(sizeof *k + bytes->n);
    *k = (struct kept){.id = *id, .n = bytes->n};
    if (bytes->n)
        memcpy(k->bytes, bytes->p, bytes->n);
    pthread_mutex_lock(&memory.lock);
    if (!memory.files)
        memory.files = map_new(free);
    struct kept *there = map_get(memory.files, key_of(id));
    if (there)
        drop_kept(there);
    map_put(memory.files, key_of(id), k);
    link_kept(k);
    memory.bytes += sizeof *k + k->n;
    while (memory.bytes > RECALL_ALL)
        drop_kept(memory.oldest);
    pthread_mutex_unlock(&memory.lock);
}

/* Appends the file if it is kept and has that size. */
static bool recall(const struct store_id *id, uint64_t size, struct buf *out)
{
    pthread_mutex_lock(&memory.lock);
    struct kept *k = memory.files ? map_get(memory.files, key_of(id)) : NULL;
    bool has = k && k->n == size;
    if (has) {
        buf_add(out, k->bytes, k->n);
        unlink_kept(k);
        link_kept(k);
    }
    pthread_mutex_unlock(&memory.lock);
    return has;
}

size_t recall_bytes(void)
{
    pthread_mutex_lock(&memory.lock);
    size_t n = memory.bytes;
    pthread_mutex_unlock(&memory.lock);
    return n;
}

void recall_forget(void)
{
    pthread_mutex_lock(&memory.lock);
    map_free(memory.files);
    memory.files = NULL;
    memory.newest = memory.oldest = NULL;
    memory.bytes = 0;
    pthread_mutex_unlock(&memory.lock);
}

/* ---- a backend ---- */

struct listed {
    struct store_id id;
    uint64_t size;
};

struct listing {
    struct listed *p; /* in order of their ids */
    size_t n, room;
};

struct recall {
    struct backend base;
    struct backend_ops ops; /* with the name of the one behind */
    struct backend *inner;
    pthread_mutex_t lock;
    struct listing lists[BACKEND_TYPES]; /* the last of each type */
};

static struct recall *of(struct backend *b)
{
    return (struct recall *)b;
}

static bool is_kept_type(enum backend_type type)
{
    return type == BACKEND_KEY || type == BACKEND_LOCK || type == BACKEND_SNAPSHOT ||
           type == BACKEND_INDEX;
}

static int by_id(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    return memcmp(x->id.b, y->id.b, STORE_ID_SIZE);
}

static bool is_listed(struct recall *r, const struct backend_file *f, uint64_t *ret_size)
{
    struct listed wanted = {.id = f->id};
    pthread_mutex_lock(&r->lock);
    const struct listing *l = &r->lists[f->type];
    const struct listed *found = l->n ? bsearch(&wanted, l->p, l->n, sizeof *l->p, by_id) : NULL;
    if (found)
        *ret_size = found->size;
    pthread_mutex_unlock(&r->lock);
    return found;
}

static void forget_list(struct recall *r, enum backend_type type)
{
    pthread_mutex_lock(&r->lock);
    vec_free(&r->lists[type]);
    pthread_mutex_unlock(&r->lock);
}

struct noting {
    struct listing list;
    backend_list_fn *fn;
    void *ctx;
};

static int note(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    struct noting *n = ctx;
    *vec_add(&n->list) = (struct listed){*id, size};
    return n->fn(n->ctx, id, size, err);
}

static int recall_list(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                       struct err *err)
{
    struct recall *r = of(b);
    struct noting n = {.fn = fn, .ctx = ctx};
    if (!is_kept_type(type))
        return r->inner->ops->list(r->inner, type, fn, ctx, err);
    int result = r->inner->ops->list(r->inner, type, note, &n, err);
    if (result < 0) {
        vec_free(&n.list);
        forget_list(r, type);
        return result;
    }
    if (n.list.n)
        qsort(n.list.p, n.list.n, sizeof *n.list.p, by_id);
    pthread_mutex_lock(&r->lock);
    struct listing old = r->lists[type];
    r->lists[type] = n.list;
    pthread_mutex_unlock(&r->lock);
    vec_free(&old);
    return result;
}

static int recall_load(struct backend *b, const struct backend_file *f, uint64_t offset, size_t n,
                       size_t max, struct buf *out, struct err *err)
{
    struct recall *r = of(b);
    uint64_t size;
    bool whole = is_kept_type(f->type) && offset == 0 && n == BACKEND_ALL && out->n == 0;
    if (whole && is_listed(r, f, &size) && size <= max && recall(&f->id, size, out))
        return 0;
    if (r->inner->ops->load(r->inner, f, offset, n, max, out, err) < 0)
        return -1;
    struct store_id id;
    if (whole && out->n <= RECALL_FILE) {
        store_id_of(out->p, out->n, &id);
        if (store_id_equal(&id, &f->id))
            keep(&id, out);
    }
    return 0;
}

static int recall_create(struct backend *b, struct err *err)
{
    struct backend *inner = of(b)->inner;
    return inner->ops->create(inner, err);
}

static int recall_save(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                       struct err *err)
{
    struct backend *inner = of(b)->inner;
    return inner->ops->save(inner, f, p, n, err);
}

static int recall_stat(struct backend *b, const struct backend_file *f, uint64_t *ret_size,
                       struct err *err)
{
    struct backend *inner = of(b)->inner;
    return inner->ops->stat(inner, f, ret_size, err);
}

static int recall_foresee(struct backend *b, struct err *err)
{
    struct backend *inner = of(b)->inner;
    return inner->ops->foresee ? inner->ops->foresee(inner, err) : 0;
}

static void recall_look_again(struct backend *b, enum backend_type type)
{
    backend_look_again(of(b)->inner, type);
}

static int recall_remove(struct backend *b, const struct backend_file *f, struct err *err)
{
    struct backend *inner = of(b)->inner;
    if (is_kept_type(f->type))
        forget_list(of(b), f->type);
    return inner->ops->remove(inner, f, err);
}

static int recall_folders(struct backend *b, backend_folder_fn *fn, void *ctx, struct err *err)
{
    struct backend *inner = of(b)->inner;
    return inner->ops->folders(inner, fn, ctx, err);
}

static void recall_close(struct backend *b)
{
    struct recall *r = of(b);
    backend_close(r->inner);
    for (int t = 0; t < BACKEND_TYPES; t++)
        vec_free(&r->lists[t]);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

struct backend *backend_recall(struct backend *inner)
{
    struct recall *r = xcalloc(1, sizeof *r);
    r->ops = (struct backend_ops){.name = inner->ops->name,
                                  .create = recall_create,
                                  .save = recall_save,
                                  .load = recall_load,
                                  .stat = recall_stat,
                                  .list = recall_list,
                                  .foresee = recall_foresee,
                                  .look_again = recall_look_again,
                                  .remove = recall_remove,
                                  .folders = inner->ops->folders ? recall_folders : NULL,
                                  .close = recall_close};
    r->base.ops = &r->ops;
    r->inner = inner;
    pthread_mutex_init(&r->lock, NULL);
    return &r->base;
}

struct backend *backend_behind(struct backend *b)
{
    return b->ops->close == recall_close ? of(b)->inner : b;
}
