/* What the store's tests share: folders that vanish, a backend that fails at its nth call. */
#ifndef TESTS_STORE_SUPPORT_H
#define TESTS_STORE_SUPPORT_H

#include "store/repository.h"
#include "store/snapshot.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- bytes ---- */

/* The SplitMix64 stream from a seed; n is a multiple of 8. */
static inline void fill_splitmix(uint64_t seed, uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        memcpy(p + i, &z, 8);
    }
}

/* ---- folders ---- */

static inline char *make_folder(void)
{
    const char *base = getenv("TMPDIR");
    char *path = xasprintf("%s/gleaner-store.XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(path))
        abort();
    return path;
}

static inline int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline void remove_folder(char *path)
{
    nftw(path, remove_entry, 20, FTW_DEPTH | FTW_PHYS);
    free(path);
}

/* ---- faults ---- */

/* What happens at call number `at` (from 1; 0: nothing). */
enum fault {
    FAULT_BEFORE, /* the call does nothing and fails */
    FAULT_AFTER,  /* the call does its work and fails: an answer that was lost */
};

struct fault_backend {
    struct backend base;
    struct backend *inner; /* borrowed */
    enum fault fault;
    bool dead_after; /* every later call fails too: the process has died */
    int at, calls;
    bool hit;
};

static inline struct fault_backend *fault_of(struct backend *b)
{
    return (struct fault_backend *)b;
}

/* True if this call must fail; *ret_work says whether it does its work first. */
static inline bool fault_now(struct backend *b, bool *ret_work)
{
    struct fault_backend *f = fault_of(b);
    int call = __atomic_add_fetch(&f->calls, 1, __ATOMIC_SEQ_CST); /* from several threads */
    bool now = f->at && (call == f->at || (f->dead_after && call > f->at));
    if (now)
        __atomic_store_n(&f->hit, true, __ATOMIC_SEQ_CST);
    *ret_work = !now || (f->fault == FAULT_AFTER && call == f->at);
    return now;
}

#define FAULT_CALL(b, call)                                                                        \
    do {                                                                                           \
        bool work_, fail_ = fault_now(b, &work_);                                                  \
        int r_ = work_ ? (call) : 0;                                                               \
        return fail_ ? err_set(err, ERR_IO, "injected fault at a call") : r_;                      \
    } while (0)

static inline int fault_create(struct backend *b, struct err *err)
{
    FAULT_CALL(b, backend_create(fault_of(b)->inner, err));
}

static inline int fault_save(struct backend *b, const struct backend_file *f, const void *p,
                             size_t n, struct err *err)
{
    FAULT_CALL(b, backend_save_as(fault_of(b)->inner, f, p, n, err));
}

static inline int fault_load(struct backend *b, const struct backend_file *f, uint64_t offset,
                             size_t n, size_t max, struct buf *out, struct err *err)
{
    struct backend *inner = fault_of(b)->inner;
    FAULT_CALL(b, inner->ops->load(inner, f, offset, n, max, out, err));
}

static inline int fault_stat(struct backend *b, const struct backend_file *f, uint64_t *ret_size,
                             struct err *err)
{
    FAULT_CALL(b, fault_of(b)->inner->ops->stat(fault_of(b)->inner, f, ret_size, err));
}

static inline int fault_list(struct backend *b, enum backend_type type, backend_list_fn *fn,
                             void *ctx, struct err *err)
{
    FAULT_CALL(b, backend_list(fault_of(b)->inner, type, fn, ctx, err));
}

static inline int fault_remove(struct backend *b, const struct backend_file *f, struct err *err)
{
    FAULT_CALL(b, backend_remove(fault_of(b)->inner, f, err));
}

static inline void fault_close(struct backend *b)
{
    (void)b;
}

static const struct backend_ops fault_ops = {
    .name = "fault",
    .create = fault_create,
    .save = fault_save,
    .load = fault_load,
    .stat = fault_stat,
    .list = fault_list,
    .remove = fault_remove,
    .close = fault_close,
};

/* ---- small repositories ---- */

/* A cheap key: what scrypt costs is not what these tests are about. */
static inline struct repository_key cheap_key(const char *password)
{
    return (struct repository_key){
        .password = password, .username = "u", .hostname = "h", .scrypt_log2 = 10};
}

static inline int save_test_snapshot(struct repository *repo, const struct store_id *tree,
                                     const char *tag, struct store_id *ret_id, struct err *err)
{
    static const char *const paths[] = {"/plan"};
    const char *tags[] = {tag};
    struct snapshot s = {.time = {1700000000, 0},
                         .tree = *tree,
                         .paths = paths,
                         .paths_n = 1,
                         .tags = tags,
                         .tags_n = 1,
                         .hostname = "cluster"};
    return snapshot_save(repo, &s, ret_id, err);
}

#endif
