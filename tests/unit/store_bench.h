/* A cluster that is a fake API server, a store in a folder, and an application without volumes. */
#ifndef STORE_BENCH_H
#define STORE_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/clock.h"
#include "fake_child.h"
#include "kube/types.h"
#include "reconciler/backup/backup.h"
#include "reconciler/store/lock.h"
#include "reconciler/store/retain.h"
#include "reconciler/store/sync.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SNAPSHOTS "snapshots"

static const char world[] =
    "[{'apiVersion':'v1','kind':'Namespace','metadata':{'name':'kube-system','uid':'cluster-1'}},"
    "{'apiVersion':'v1','kind':'Secret','metadata':{'name':'password','namespace':'gleaner-system'}"
    ",'data':{'password':'YS1wYXNzd29yZC10aGF0LWlzLWxvbmctZW5vdWdo'}},"
    "{'apiVersion':'gleaner.dev/v1alpha1','kind':'BackupStore','metadata':{'name':'local'},"
    "'spec':{'local':{'path':'b'},'clusterName':'first','passwordSecretRef':{'name':'password',"
    "'key':'password'}}}]";

static const char application[] =
    "[{'apiVersion':'kustomize.toolkit.fluxcd.io/v1','kind':'Kustomization',"
    "'metadata':{'name':'app','namespace':'flux-system'},"
    "'spec':{'interval':'1m','path':'./','prune':true,'targetNamespace':'app',"
    "'sourceRef':{'kind':'GitRepository','name':'app'}},"
    "'status':{'lastAppliedRevision':'main@sha1:0123456789012345678901234567890123456789',"
    "'inventory':{'entries':[{'id':'app_conf__ConfigMap','v':'v1'}]}}},"
    "{'apiVersion':'source.toolkit.fluxcd.io/v1','kind':'GitRepository',"
    "'metadata':{'name':'app','namespace':'flux-system'},"
    "'spec':{'interval':'1m','url':'http://127.0.0.1:9/app.git','ref':{'branch':'main'}}},"
    "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'conf','namespace':'app'},'data':{'a'"
    ":'1'}},"
    "{'apiVersion':'v1','kind':'Secret','metadata':{'name':'hand','namespace':'app'},'data':{'a':"
    "'YQ=='}}]";

/* Time that passes while nobody waits for it. */
static int64_t ahead_ms;

static int64_t wall_ahead(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + ahead_ms;
}

__attribute__((unused)) static void pass(int64_t ms)
{
    ahead_ms += ms;
    clock_override_wall(wall_ahead);
}

struct bench {
    struct fake_child *fake;
    struct kube *kube;
    struct arena *a;
    char folder[64];
    struct context cx;
};

__attribute__((unused)) static int bench_remove_entry(const char *path, const struct stat *st,
                                                      int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

__attribute__((unused)) static void post(const struct bench *b, const char *text)
{
    char *json CLEANUP(free_p) = xstrdup(text);
    for (char *p = json; *p; p++)
        if (*p == '\'')
            *p = '"';
    fake_post(b->fake, "objects", json);
}

/* A cluster beside the folder of another one, or a new folder. */
__attribute__((unused)) static void bench_up(struct bench *b, const struct bench *beside)
{
    static atomic_bool stopping;
    b->fake = fake_start(NULL);
    b->kube = fake_client(b->fake);
    b->a = arena_new();
    snprintf(b->folder, sizeof b->folder, "%s",
             beside ? beside->folder : "/tmp/gleaner-sync-XXXXXX");
    if (!beside)
        assert_non_null(mkdtemp(b->folder));
    b->cx = (struct context){.kube = b->kube,
                             .ns = "gleaner-system",
                             .instance = "pod",
                             .instance_uid = "pod-1",
                             .program = "/bin/false",
                             .mover_image = "x",
                             .local_root = b->folder,
                             .stopping = &stopping};
    snprintf(b->cx.cluster, sizeof b->cx.cluster, "%s",
             beside ? "22222222-2222-2222-2222-222222222222"
                    : "11111111-1111-1111-1111-111111111111");
    post(b, world);
}

__attribute__((unused)) static void bench_down(struct bench *b, bool with_folder)
{
    backup_sessions_end();
    kube_free(b->kube);
    fake_stop(b->fake);
    arena_free(b->a);
    if (with_folder)
        nftw(b->folder, bench_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((unused)) static void back_up(struct bench *b, const char *name, const char *more)
{
    post(b, arena_printf(b->a,
                         "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Backup','metadata':{'name':"
                         "'%s','namespace':'gleaner-system','uid':'uid-%s','labels':{"
                         "'gleaner.dev/schedule':'nightly'}},'spec':{'target':{'kind':"
                         "'Kustomization','namespace':'flux-system','name':'app'}%s}}]",
                         name, name, more));
    for (int i = 0; i < 100; i++) {
        struct outcome o;
        struct err err;
        if (backup_reconcile(&b->cx, b->a, "gleaner-system", name, &o, &err) < 0)
            fail_msg("reconcile: %s", err.msg);
        if (o.what == OUTCOME_DONE)
            return;
    }
    fail_msg("Backup %s does not end", name);
}

__attribute__((unused)) static struct sync_result sync_now(struct bench *b, int64_t apart_ms)
{
    struct sync_options options = {.apart_ms = apart_ms};
    struct sync_result r = {0};
    struct err err;
    if (sync_store(&b->cx, b->a, "local", &options, &r, &err) < 0)
        fail_msg("sync: %s", err.msg);
    return r;
}

__attribute__((unused)) static bool get(struct bench *b, const char *name, struct kube_object *ret)
{
    struct err err;
    if (kube_get(b->kube, b->a, &KUBE_BACKUP, "gleaner-system", name, ret, &err) == 0)
        return true;
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    return false;
}

__attribute__((unused)) static bool there(struct bench *b, const char *name)
{
    struct kube_object o;
    return get(b, name, &o);
}

__attribute__((unused)) static const char *status_at(struct bench *b, const char *name,
                                                     const char *member)
{
    struct kube_object o;
    assert_true(get(b, name, &o));
    const char *text = raw_text(b->a, o.raw, "status", member, NULL);
    return text ? text : "";
}

__attribute__((unused)) static void delete (struct bench *b, const char *name)
{
    struct err err;
    assert_int_equal(kube_delete(b->kube, &KUBE_BACKUP, "gleaner-system", name, NULL, &err), 0);
}

__attribute__((unused)) static int count_backup(void *ctx, const struct kube_object *o,
                                                struct err *err)
{
    (void)o;
    (void)err;
    (*(size_t *)ctx)++;
    return 0;
}

__attribute__((unused)) static size_t backups(struct bench *b)
{
    size_t n = 0;
    struct err err;
    assert_int_equal(kube_list(b->kube, &KUBE_BACKUP, NULL, count_backup, &n, NULL, &err), 0);
    return n;
}

__attribute__((unused)) static const char *repository(struct bench *b)
{
    return arena_printf(b->a, "%s/b/first/app", b->folder);
}

__attribute__((unused)) static void move(struct bench *b, const char *from, const char *to)
{
    const char *base = repository(b);
    assert_int_equal(
        rename(arena_printf(b->a, "%s/%s", base, from), arena_printf(b->a, "%s/%s", base, to)), 0);
}

__attribute__((unused)) static void remove_snapshot(struct bench *b, const char *hex)
{
    assert_int_equal(unlink(arena_printf(b->a, "%s/" SNAPSHOTS "/%s", repository(b), hex)), 0);
}

#endif
