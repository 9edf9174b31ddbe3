#include "reconciler/store/repositories.h"

#include "core/vec.h"
#include "kube/client.h"
#include "store/layout.h"

#include <stdlib.h>

enum { RETRY_SECONDS = 30, NAMESPACES_MAX = 100000 };

struct found {
    struct arena *a;
    const char *cluster;
    VEC(const char *) names;
};

static int add(void *ctx, const char *name, struct err *err)
{
    struct found *f = ctx;
    struct buf path CLEANUP(buf_free) = {0};
    if (layout_repository(&path, f->cluster, name, NULL) < 0)
        return 0; /* not of our making */
    if (f->names.n == NAMESPACES_MAX)
        return err_set(err, ERR_TOO_LARGE, "there are more than %d repositories", NAMESPACES_MAX);
    *vec_add(&f->names) = arena_strdup(f->a, name);
    return 0;
}

static int compare(const void *x, const void *y)
{
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

int store_repositories(struct context *cx, struct arena *a, const char *store, const char ***ret,
                       size_t *ret_n, struct err *err)
{
    struct store_place place CLEANUP(store_place_free) = {0};
    struct backend *b CLEANUP(backend_close_p) = NULL;
    struct found f = {.a = a};
    struct kube_object o;
    if (kube_get(cx->kube, a, &KUBE_BACKUPSTORE, NULL, store, &o, err) < 0)
        return -1;
    f.cluster = raw_text(a, o.raw, "spec", "clusterName", NULL);
    if (!f.cluster)
        f.cluster = cx->cluster;
    if (store_place_read(cx, a, &o, &place, err) < 0 ||
        store_place_open(cx, &place, f.cluster, RETRY_SECONDS, &b, err) < 0 ||
        backend_list_folders(b, add, &f, err) < 0) {
        vec_free(&f.names);
        return err_wrap(err, "store %s", store);
    }
    if (f.names.n)
        qsort(f.names.p, f.names.n, sizeof *f.names.p, compare);
    *ret = arena_alloc(a, (f.names.n + 1) * sizeof **ret);
    if (f.names.n)
        memcpy(*ret, f.names.p, f.names.n * sizeof **ret);
    *ret_n = f.names.n;
    vec_free(&f.names);
    return 0;
}
