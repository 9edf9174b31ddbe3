#include "memory.h"

#include <stdlib.h>

static struct memory_files *files_of(struct backend *b)
{
    return &((struct memory *)b)->files;
}

size_t memory_find(const struct memory_files *files, enum backend_type type,
                   const struct store_id *id)
{
    size_t i = 0;
    while (i < files->n && !(files->p[i].type == type &&
                             (type == BACKEND_CONFIG || store_id_equal(&files->p[i].id, id))))
        i++;
    return i;
}

void memory_add(struct memory_files *files, enum backend_type type, const struct store_id *id,
                str bytes)
{
    struct memory_file *f = vec_add(files);
    f->type = type;
    f->id = *id;
    buf_str(&f->bytes, bytes);
}

void memory_drop(struct memory_files *files, size_t at)
{
    buf_free(&files->p[at].bytes);
    files->p[at] = files->p[--files->n];
}

void memory_free(struct memory_files *files)
{
    for (size_t i = 0; i < files->n; i++)
        buf_free(&files->p[i].bytes);
    vec_free(files);
}

void memory_copy(const struct memory_files *from, struct memory_files *to)
{
    memory_free(to);
    for (size_t i = 0; i < from->n; i++)
        memory_add(to, from->p[i].type, &from->p[i].id, buf_view(&from->p[i].bytes));
}

/* ---- the backend ---- */

static int create(struct backend *b, struct err *err)
{
    (void)b, (void)err;
    return 0;
}

static int save(struct backend *b, const struct backend_file *f, const void *p, size_t n,
                struct err *err)
{
    struct memory_files *files = files_of(b);
    if (memory_find(files, f->type, &f->id) < files->n)
        return f->type == BACKEND_CONFIG ? err_set(err, ERR_EXISTS, "it is there") : 0;
    memory_add(files, f->type, &f->id, (str){p, n});
    return 0;
}

static int find(struct backend *b, const struct backend_file *f, struct memory_file **ret,
                struct err *err)
{
    struct memory_files *files = files_of(b);
    size_t at = memory_find(files, f->type, &f->id);
    if (at == files->n)
        return err_set(err, ERR_NOT_FOUND, "no such file");
    *ret = &files->p[at];
    return 0;
}

static int load(struct backend *b, const struct backend_file *f, uint64_t offset, size_t n,
                size_t max, struct buf *out, struct err *err)
{
    struct memory_file *file;
    if (find(b, f, &file, err) < 0)
        return -1;
    size_t there = offset < file->bytes.n ? file->bytes.n - offset : 0;
    if (n == BACKEND_ALL)
        n = there;
    if (n > max)
        return err_set(err, ERR_TOO_LARGE, "%zu bytes", n);
    if (n > there)
        return err_set(err, ERR_CORRUPT, "the file is too short");
    buf_add(out, file->bytes.p + offset, n);
    return 0;
}

static int stat_file(struct backend *b, const struct backend_file *f, uint64_t *ret_size,
                     struct err *err)
{
    struct memory_file *file;
    if (find(b, f, &file, err) < 0)
        return -1;
    *ret_size = file->bytes.n;
    return 0;
}

static int list(struct backend *b, enum backend_type type, backend_list_fn *fn, void *ctx,
                struct err *err)
{
    struct memory_files *files = files_of(b);
    int r = 0;
    for (size_t i = 0; r >= 0 && i < files->n; i++)
        if (files->p[i].type == type)
            r = fn(ctx, &files->p[i].id, files->p[i].bytes.n, err);
    return MIN(r, 0);
}

static int remove_file(struct backend *b, const struct backend_file *f, struct err *err)
{
    struct memory_files *files = files_of(b);
    size_t at = memory_find(files, f->type, &f->id);
    (void)err;
    if (at < files->n)
        memory_drop(files, at);
    return 0;
}

static void close_memory(struct backend *b)
{
    (void)b;
}

void memory_init(struct memory *m)
{
    static const struct backend_ops ops = {
        .name = "memory",
        .create = create,
        .save = save,
        .load = load,
        .stat = stat_file,
        .list = list,
        .remove = remove_file,
        .close = close_memory,
    };
    *m = (struct memory){.base.ops = &ops};
}
