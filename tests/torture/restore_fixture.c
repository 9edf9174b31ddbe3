/* A cluster after an accident, and the backup that was made before it. */
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

#define ENTRY(manager, op, fields)                                                                 \
    "{\"manager\":\"" manager "\",\"operation\":\"" op "\",\"apiVersion\":\"v1\","                 \
    "\"time\":\"2026-01-01T00:00:00Z\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":" fields "}"
#define GIT(fields) ENTRY("kustomize-controller", "Apply", fields)
#define HAND(fields) ENTRY("person", "Update", fields)
#define STORE_PASSWORD "01234567890123456789012345678901234567890"
#define META(name, uid) "\"name\":\"" name "\",\"namespace\":\"shop\",\"uid\":\"" uid "\""

/* ---- what the backup holds ---- */

static const struct {
    const char *path, *text;
} files[] = {
    {"/resources/secrets/namespaces/shop/handmade.json",
     "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{" META(
         "handmade", "u-1") ",\"managedFields\":[" HAND("{\"f:data\":{\".\":{},\"f:key\":{}},\"f:"
                                                        "type\":{}}") "]},\"data\":{\"key\":"
                                                                      "\"aGFuZA==\"},\"type\":"
                                                                      "\"Opaque\"}"},
    {"/resources/configmaps/namespaces/shop/tuned.json",
     "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{" META(
         "tuned", "u-2") ",\"managedFields\":[" HAND("{\"f:data\":{\".\":{},\"f:a\":{},\"f:b\":{}}"
                                                     "}") "]},\"data\":{\"a\":\"1\",\"b\":\"2\"}}"},
    {"/resources/secrets/namespaces/shop/shared.json",
     "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{" META(
         "shared",
         "u-3") ",\"managedFields\":[" HAND("{\"f:data\":{\"f:k\":{}}}") "]},\"data\":{\"k\":"
                                                                         "\"b2xk\"},\"type\":"
                                                                         "\"Opaque\"}"},
    {"/resources/persistentvolumeclaims/namespaces/shop/data-shop-0.json",
     "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{" META(
         "data-shop-0", "u-4") "},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],"
                               "\"volumeName\":\"pv-1\"},\"status\":{\"phase\":\"Bound\"}}"},
    {"/resources/jobs.batch/namespaces/shop/import.json",
     "{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{" META(
         "import",
         "u-5") ",\"managedFields\":[" HAND("{\"f:spec\":{\"f:suspend\":{}}}") ","
                                                                               "{\"manager\":"
                                                                               "\"kube-controller-"
                                                                               "manager\","
                                                                               "\"operation\":"
                                                                               "\"Update\","
                                                                               "\"apiVersion\":"
                                                                               "\"batch/v1\","
                                                                               "\"subresource\":"
                                                                               "\"status\","
                                                                               "\"fieldsType\":"
                                                                               "\"FieldsV1\","
                                                                               "\"fieldsV1\":{\"f:"
                                                                               "status\":{"
                                                                               "\"f:conditions\":{}"
                                                                               ",\"f:succeeded\":{}"
                                                                               "}}}]},\"spec\":{"
                                                                               "\"suspend\":false,"
                                                                               "\"template\":{}},"
                                                                               "\"status\":{"
                                                                               "\"conditions\":[{"
                                                                               "\"type\":"
                                                                               "\"Complete\","
                                                                               "\"status\":"
                                                                               "\"True\"}],"
                                                                               "\"succeeded\":1}}"},
    {"/residue/secrets/namespaces/shop/app.json",
     "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{" META(
         "app",
         "u-6") ",\"managedFields\":[" GIT("{\"f:data\":{\"f:git\":{}}}") "," HAND("{\"f:data\":{"
                                                                                   "\"f:added\":{}}"
                                                                                   "}") "]},"
                                                                                        "\"data\":{"
                                                                                        "\"added\":"
                                                                                        "\"YWRkZWQ="
                                                                                        "\"}}"},
    {"/meta/plan.json",
     "{\"objects\":["
     "{\"group\":\"apps\",\"kind\":\"StatefulSet\",\"namespace\":\"shop\",\"name\":\"shop\","
     "\"class\":\"declared\",\"keep\":\"none\",\"restore\":\"normal\",\"core\":true},"
     "{\"group\":\"\",\"kind\":\"Secret\",\"namespace\":\"shop\",\"name\":\"shared\","
     "\"class\":\"secret\",\"keep\":\"object\",\"restore\":\"normal\",\"core\":false}]}"},
    {"/meta/backup.json",
     "{\"target\":{},\"volumes\":[{\"claim\":\"data-shop-0\",\"root\":\"0755:0:0:0.0\"}]}"},
    {"/volumes/data-shop-0/ledger", "some bytes\n"},
};

/* ---- the cluster ---- */

static const char
    cluster[] =
        "[{\"apiVersion\":\"gleaner.dev/"
        "v1alpha1\",\"kind\":\"BackupStore\",\"metadata\":{\"name\":\"local\","
        "\"uid\":\"u-store\"},\"spec\":{\"default\":true,\"local\":{\"path\":\"store\"},"
        "\"passwordSecretRef\":{\"name\":\"password\",\"key\":\"password\"}}},"
        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"password\","
        "\"namespace\":\"" GLEANER_NS "\",\"uid\":\"u-password\"},\"data\":{\"password\":"
        "\"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTA=\"}},"
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\",\"metadata\":{" META(
            "shop",
            "u-"
            "st"
            "s") ",\"generation\":1,\"managedFields\":[" GIT("{\"f:spec\":{\"f:replicas\":{},\"f:"
                                                             "template\":{}}}") "]},\"spec\":{"
                                                                                "\"replicas\":2,"
                                                                                "\"template\":{}},"
                                                                                "\"status\":"
                                                                                "{"
                                                                                "\"replicas\":2,"
                                                                                "\"readyReplicas\":"
                                                                                "2,"
                                                                                "\"observedGenerati"
                                                                                "on\":1}},"
                                                                                "{\"apiVersion\":"
                                                                                "\"v1\","
                                                                                "\"kind\":"
                                                                                "\"Pod\","
                                                                                "\"metadata\":"
                                                                                "{" META(
                                                                                    "shop-0",
                                                                                    "u-pod") ",\"ow"
                                                                                             "nerRe"
                                                                                             "feren"
                                                                                             "ces"
                                                                                             "\":[{"
                                                                                             "\"api"
                                                                                             "Versi"
                                                                                             "on\":"
                                                                                             "\"app"
                                                                                             "s/"
                                                                                             "v1\","
                                                                                             "\"kin"
                                                                                             "d\":"
                                                                                             "\"Sta"
                                                                                             "teful"
                                                                                             "Set\""
                                                                                             ","
                                                                                             "\"nam"
                                                                                             "e\":"
                                                                                             "\"sho"
                                                                                             "p\","
                                                                                             "\"uid"
                                                                                             "\":"
                                                                                             "\"u-"
                                                                                             "sts\""
                                                                                             ","
                                                                                             "\"con"
                                                                                             "troll"
                                                                                             "er\":"
                                                                                             "true}"
                                                                                             "]},"
                                                                                             "\"spe"
                                                                                             "c\":{"
                                                                                             "\"nod"
                                                                                             "eName"
                                                                                             "\":"
                                                                                             "\"n\""
                                                                                             ","
                                                                                             "\"vol"
                                                                                             "umes"
                                                                                             "\":[{"
                                                                                             "\"nam"
                                                                                             "e\":"
                                                                                             "\"d\""
                                                                                             ","
                                                                                             "\"per"
                                                                                             "siste"
                                                                                             "ntVol"
                                                                                             "umeC"
                                                                                             "laim"
                                                                                             "\":{"
                                                                                             "\"cla"
                                                                                             "imNam"
                                                                                             "e\":"
                                                                                             "\"dat"
                                                                                             "a-"
                                                                                             "shop-"
                                                                                             "0\"}}"
                                                                                             "]}"
                                                                                             ",\"st"
                                                                                             "atus"
                                                                                             "\":{"
                                                                                             "\"pha"
                                                                                             "se\":"
                                                                                             "\"Run"
                                                                                             "ning"
                                                                                             "\"}},"
                                                                                             "{\"ap"
                                                                                             "iVers"
                                                                                             "ion\""
                                                                                             ":"
                                                                                             "\"v1"
                                                                                             "\","
                                                                                             "\"kin"
                                                                                             "d\":"
                                                                                             "\"Per"
                                                                                             "siste"
                                                                                             "ntVol"
                                                                                             "umeC"
                                                                                             "laim"
                                                                                             "\","
                                                                                             "\"met"
                                                                                             "adata"
                                                                                             "\":"
                                                                                             "{" META("data-shop-"
                                                                                                      "0",
                                                                                                      "u-claim") ",\"m"
                                                                                                                 "anag"
                                                                                                                 "edFi"
                                                                                                                 "elds"
                                                                                                                 "\":"
                                                                                                                 "[" HAND("{\"f:spec\":{}}") "]},"
                                                                                                                                             "\"spec\":{\"accessModes\":[\"ReadWriteOnce\"]},\"status\":{\"phase\":\"Bound\"}},"
                                                                                                                                             "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{" META("app", "u-app") ",\"managedFields\":[" GIT("{\"f:data\":{\"f:git\":{}}}") "]},\"data\":{\"git\":\"Z2l0\"}},"
                                                                                                                                                                                                                                                                                        "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{" META("shared", "u-shared") ",\"managedFields\":[" HAND("{\"f:data\":{\"f:k\":{}}}") "]},\"data\":{\"k\":\"bmV3\"}},"
                                                                                                                                                                                                                                                                                                                                                                                                                                        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{" META("tuned",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            "u-tuned") ",\"managedFields\":[" HAND("{\"f:data\":{\".\":{},\"f:a\":{}}}") "]},\"data\":{\"a\":\"changed\","
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "\"c\":\"new\"}},"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "{\"apiVersion\":\"gleaner.dev/v1alpha1\",\"kind\":\"Restore\",\"metadata\":{\"name\":\"r1\","
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "\"namespace\":\"" GLEANER_NS "\",\"uid\":\"" RESTORE_UID "\",\"managedFields\":[" HAND("{\"f:spec\":{}}") "]},\"spec\":{\"backupRef\":{"
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "\"name\":\"b1\"}}}]";

static const char kustomization[] =
    "{\"apiVersion\":\"kustomize.toolkit.fluxcd.io/v1\",\"kind\":\"Kustomization\",\"metadata\":{"
    "\"name\":\"shop\",\"namespace\":\"flux-system\",\"uid\":\"u-engine\",\"generation\":1,"
    "\"managedFields\":[" HAND(
        "{\"f:spec\":{\"f:path\":{}}}") "]},"
                                        "\"spec\":{\"path\":\"./"
                                        "\",\"interval\":\"10s\",\"prune\":true,"
                                        "\"targetNamespace\":\"shop\","
                                        "\"sourceRef\":{\"kind\":\"GitRepository\",\"name\":"
                                        "\"shop\"}},"
                                        "\"status\":{\"observedGeneration\":1,"
                                        "\"lastAppliedRevision\":\"main@sha1:"
                                        "0123456789012345678901234567890123456789\",\"conditions\":"
                                        "[{\"type\":\"Ready\","
                                        "\"status\":\"True\",\"reason\":\"ok\",\"message\":\"ok\"}]"
                                        ",\"inventory\":{\"entries\":["
                                        "{\"id\":\"shop_shop_apps_StatefulSet\",\"v\":\"v1\"},{"
                                        "\"id\":\"shop_app__Secret\",\"v\":\"v1\"}]}}}";

static const char application[] =
    "{\"apiVersion\":\"argoproj.io/v1alpha1\",\"kind\":\"Application\",\"metadata\":{"
    "\"name\":\"shop\",\"namespace\":\"argocd\",\"uid\":\"u-engine\",\"generation\":1,"
    "\"managedFields\":[" HAND(
        "{\"f:spec\":{\"f:project\":{}}}") "]},"
                                           "\"spec\":{\"project\":\"default\",\"destination\":{"
                                           "\"server\":\"https://kubernetes.default.svc\","
                                           "\"namespace\":\"shop\"},\"source\":{\"repoURL\":\"http:"
                                           "//git/shop.git\",\"path\":\".\"},"
                                           "\"syncPolicy\":{\"automated\":{\"prune\":true,"
                                           "\"selfHeal\":true}}},"
                                           "\"status\":{\"reconciledAt\":\"2026-01-01T00:00:00Z\","
                                           "\"sync\":{\"status\":\"Synced\"},"
                                           "\"health\":{\"status\":\"Healthy\"},\"operationState\":"
                                           "{\"phase\":\"Succeeded\"},"
                                           "\"resources\":[{\"group\":\"apps\",\"version\":\"v1\","
                                           "\"kind\":\"StatefulSet\",\"namespace\":\"shop\","
                                           "\"name\":\"shop\",\"status\":\"Synced\"}]}}";

static void must(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->msg);
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
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        must(synthetic_add(s, files[i].path, files[i].text, strlen(files[i].text), 0, &err), &err);
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
    fake_post(fake, "objects", cluster);
    fake_post(fake, "objects", flux ? kustomization : application);
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
