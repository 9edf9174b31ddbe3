/* A cluster after an accident, and the backup that was made before it: fixture/cluster.json, one of
 * fixture/kustomization.json and application.json; fixture/backup.json, by path. */
#include "restore_torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/codec.h"
#include "reconciler/store/open.h"
#include "store/snapshot.h"
#include "store/synthetic.h"

#define STORE_PASSWORD "01234567890123456789012345678901234567890" /* as in cluster.json */

static void must(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->msg);
}

/* A new reference. */
static json_t *fixture(const char *name)
{
    json_error_t why;
    char *path CLEANUP(free_p) = xasprintf(FIXTURE "/%s.json", name);
    json_t *j = json_load_file(path, 0, &why);
    if (!j)
        fail_msg("%s:%d: %s", path, why.line, why.text);
    return j;
}

static void post_fixture(struct fake_child *fake, const char *name)
{
    json_t *j CLEANUP_JSON = fixture(name);
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, j);
    fake_post(fake, "objects", text.p);
}

/* Keys that cost nothing: each of some hundred processes opens the repository, and how long scrypt
 * takes is not what is tested here. */
static void make_repository(const char *root)
{
    struct err err = {0};
    struct backend *b CLEANUP(backend_close_p) = NULL;
    char *path CLEANUP(free_p) = xasprintf("%s/store/torture/shop", root);
    const struct repository_key key = {.password = STORE_PASSWORD, .scrypt_log2 = 10};
    must(backend_open_local(path, &b, &err), &err);
    must(backend_create(b, &err), &err);
    must(repository_init(b, &key, 1, NULL, &err), &err);
}

static int take_password(void *ctx, const struct kube_object *o, struct err *err)
{
    if (!str_starts(str_of(o->name), "gleaner-repository-"))
        return 0;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    return base64_decode(ctx, raw_string(a, raw_at(o->raw, "data", "password", NULL)), err);
}

static void make_mover_key_cheap(struct kube *k, struct opened *o)
{
    struct err err = {0};
    struct buf password CLEANUP(buf_free) = {0};
    struct kube_list opts = {.ns = GLEANER_NS};
    must(kube_list(k, &KUBE_SECRET, &opts, take_password, &password, NULL, &err), &err);
    struct backend_file dear = {.type = BACKEND_KEY};
    assert_true(password.n > 0 && store_id_parse(str_of(o->mover_key_id), &dear.id));
    const struct repository_key key = {.password = password.p, .scrypt_log2 = 10};
    struct store_id id;
    must(repository_add_key(o->repo, &key, &id, &err), &err);
    must(backend_remove(o->backend, &dear, &err), &err);
}

static void write_snapshot(struct context *cx, struct arena *a, char id[STORE_ID_HEX])
{
    struct err err = {0};
    struct opened o CLEANUP(store_close) = {0};
    struct store_id tree, written;
    make_repository(cx->local_root);
    must(store_open(cx, a, "local", "shop", true, &o, &err), &err);
    make_mover_key_cheap(cx->kube, &o);
    struct synthetic *s CLEANUP(synthetic_free_p) = synthetic_new(o.repo, 0);
    json_t *files CLEANUP_JSON = fixture("backup"), *file;
    const char *path;
    json_object_foreach(files, path, file)
    {
        struct buf text CLEANUP(buf_free) = {0};
        if (json_is_string(file))
            buf_puts(&text, json_string_value(file));
        else
            json_print(&text, file);
        must(synthetic_add(s, path, text.p, text.n, 0, &err), &err);
    }
    must(synthetic_finish(s, &tree, &err), &err);
    must(repository_flush(o.repo, &err), &err);
    static const char *const paths[] = {"/"};
    struct snapshot snap = {.time = {1, 0}, .tree = tree, .paths = paths, .paths_n = 1};
    must(snapshot_save(o.repo, &snap, &written, &err), &err);
    store_id_hex(&written, id);
}

json_t *fixture_make(struct fake_child *fake, enum target t, const char *root)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube *k CLEANUP(kube_free_p) = fake_client(fake);
    struct context cx = {.kube = k, .ns = GLEANER_NS, .local_root = root, .cluster = "torture"};
    char id[STORE_ID_HEX];
    bool flux = t == TARGET_KUSTOMIZATION;
    post_fixture(fake, "cluster");
    post_fixture(fake, flux ? "kustomization" : "application");
    write_snapshot(&cx, a, id);
    json_t *backup CLEANUP_JSON = json_pack(
        "{s:s, s:s, s:{s:s, s:s, s:s}, s:{s:{s:s, s:s, s:s}}, s:{s:s, s:s, s:s, s:s, s:[{s:s, "
        "s:s}]}}",
        "apiVersion", "gleaner.dev/v1alpha1", "kind", "Backup", "metadata", "name", "b1",
        "namespace", GLEANER_NS, "uid", "u-backup", "spec", "target", "kind",
        flux ? "Kustomization" : "Application", "namespace", flux ? "flux-system" : "argocd",
        "name", "shop", "status", "phase", "Completed", "snapshot", id, "store", "local",
        "namespace", "shop", "volumes", "claim", "data-shop-0", "phase", "Completed");
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, backup);
    fake_post(fake, "objects", text.p);
    return fake_get(fake, "objects");
}
