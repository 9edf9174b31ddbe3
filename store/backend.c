#include "store/backend.h"

#include "store/backend_s3.h"
#include "store/layout.h"

/* "local: keys/0123abcd…": what a message calls a file. */
static int wrap(struct backend *b, const struct backend_file *f, const char *doing, struct err *err)
{
    struct buf name CLEANUP(buf_free) = {0};
    layout_file(&name, f, false);
    return err_wrap(err, "%s %s (%s)", doing, name.p, b->ops->name);
}

int backend_create(struct backend *b, struct err *err)
{
    return b->ops->create(b, err);
}

int backend_save_as(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                    struct err *err)
{
    struct store_id id;
    store_id_of(p, n, &id);
    if (f->type != BACKEND_CONFIG && !store_id_equal(&id, &f->id)) {
        err_set(err, ERR_INVALID, "the content's SHA-256 is not the file's name");
        return wrap(b, f, "saving", err);
    }
    return b->ops->save(b, f, p, n, err) < 0 ? wrap(b, f, "saving", err) : 0;
}

int backend_save(struct backend *b, enum backend_type type, const void *p, size_t n,
                 struct store_id *ret_id, struct err *err)
{
    struct backend_file f = {.type = type};
    store_id_of(p, n, &f.id);
    if (b->ops->save(b, &f, p, n, err) < 0)
        return wrap(b, &f, "saving", err);
    if (ret_id)
        *ret_id = f.id;
    return 0;
}

int backend_load_range(struct backend *b, const struct backend_file *f, uint64_t offset, size_t n,
                       struct buf *out, struct err *err)
{
    buf_reset(out);
    if (b->ops->load(b, f, offset, n, n, out, err) < 0)
        return wrap(b, f, "reading", err);
    if (out->n != n) {
        err_set(err, ERR_CORRUPT, "%zu bytes instead of %zu from offset %llu", out->n, n,
                (unsigned long long)offset);
        return wrap(b, f, "reading", err);
    }
    return 0;
}

int backend_load_all(struct backend *b, const struct backend_file *f, size_t max, struct buf *out,
                     struct err *err)
{
    buf_reset(out);
    if (b->ops->load(b, f, 0, BACKEND_ALL, max, out, err) < 0)
        return wrap(b, f, "reading", err);
    struct store_id id;
    store_id_of(out->p, out->n, &id);
    if (f->type != BACKEND_CONFIG && !store_id_equal(&id, &f->id)) {
        err_set(err, ERR_CORRUPT, "the content's SHA-256 is not the file's name: it is damaged");
        return wrap(b, f, "reading", err);
    }
    return 0;
}

int backend_stat(struct backend *b, const struct backend_file *f, uint64_t *ret_size,
                 struct err *err)
{
    return b->ops->stat(b, f, ret_size, err) < 0 ? wrap(b, f, "looking for", err) : 0;
}

int backend_list(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                 struct err *err)
{
    if (b->ops->list(b, type, fn, ctx, err) < 0)
        return err_wrap(err, "listing %s (%s)", layout_type_name(type), b->ops->name);
    return 0;
}

struct collecting {
    struct store_ids *ids;
    bool empty_too;
    size_t max;
};

static int collect(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    struct collecting *c = ctx;
    if (size == 0 && !c->empty_too)
        return 0;
    if (c->ids->n >= c->max)
        return err_set(err, ERR_TOO_LARGE, "there are more than %zu files", c->max);
    *vec_add(c->ids) = *id;
    return 0;
}

int backend_list_ids(struct backend *b, enum backend_type type, bool empty_too, size_t max,
                     struct store_ids *ids, struct err *err)
{
    struct collecting c = {ids, empty_too, max};
    return backend_list(b, type, collect, &c, err);
}

void backend_look_again(struct backend *b, enum backend_type type)
{
    if (b->ops->look_again)
        b->ops->look_again(b, type);
}

int backend_foresee(struct backend *b, struct err *err)
{
    if (b->ops->foresee && b->ops->foresee(b, err) < 0)
        return err_wrap(err, "listing (%s)", b->ops->name);
    return 0;
}

int backend_remove(struct backend *b, const struct backend_file *f, struct err *err)
{
    return b->ops->remove(b, f, err) < 0 ? wrap(b, f, "removing", err) : 0;
}

int backend_list_folders(struct backend *b, backend_folder_fn *fn, void *ctx, struct err *err)
{
    if (!b->ops->folders)
        return err_set(err, ERR_UNSUPPORTED, "a %s store does not tell its folders", b->ops->name);
    if (b->ops->folders(b, fn, ctx, err) < 0)
        return err_wrap(err, "listing folders (%s)", b->ops->name);
    return 0;
}

void backend_close(struct backend *b)
{
    if (b)
        b->ops->close(b);
}

int backend_open_url(const char *url, const struct backend_rest_options *rest,
                     struct backend **ret_backend, struct err *err)
{
    str u = str_of(url);
    if (str_starts(u, "local:"))
        return backend_open_local(url + strlen("local:"), ret_backend, err);
    if (str_starts(u, "rest:")) {
        struct backend_rest_options options = rest ? *rest : (struct backend_rest_options){0};
        options.url = url + strlen("rest:");
        return backend_open_rest(&options, ret_backend, err);
    }
    if (str_starts(u, "s3:")) {
        struct backend_s3_options options = {0};
        if (rest) {
            options.ca_pem = rest->ca_pem;
            options.timeout_seconds = rest->timeout_seconds;
            options.retry_seconds = rest->retry_seconds;
        }
        return backend_open_s3_url(url + strlen("s3:"), &options, ret_backend, err);
    }
    const char *colon = strchr(url, ':'), *slash = strchr(url, '/');
    if (colon && (!slash || colon < slash))
        return err_set(err, ERR_UNSUPPORTED,
                       "repository '%.*s:…': only /path, local:/path, rest:http(s)://… and "
                       "s3:… are supported",
                       (int)(colon - url), url);
    return backend_open_local(url, ret_backend, err);
}
