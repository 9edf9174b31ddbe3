/* What a Backup costs where each request is a round trip: a Backup resource with one volume on a
 * store on S3, driven to its end against the fake API server, its mover's part over a gateway in a
 * process of its own, and the retention that follows it. */
#include "store_bench.h"
#include "store_s3_server.h"

#include "gateway/client.h"
#include "gateway/server.h"
#include "gateway/tls.h"
#include "mover/archive.h"
#include "mover/mover.h"
#include "reconciler/mover_pod.h"
#include "reconciler/store/keyring.h"
#include "store/recall.h"
#include "store/snapshot.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* What the whole of an unchanged Backup may cost, and a look at a store for each repository. Once
 * in the life of a process a repository is opened with the mover's password too. */
enum { UNCHANGED_MAX = 15, LOOK_MAX = 2, MOVER_KEY_OPENING = 2 };

/* ---- what was asked ---- */

static struct {
    char *p[1024];
    size_t n;
} asked;

/* The kind of a request: no two requests of one kind differ in what they are for. */
static void note_request(struct MHD_Connection *c, const char *method, const char *key)
{
    const char *prefix = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "prefix");
    const char *after = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "start-after");
    const char *delimiter = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "delimiter");
    if (asked.n == ARRAY_LEN(asked.p))
        abort();
    asked.p[asked.n++] =
        *key    ? xasprintf("%s %s", method, key)
        : after ? xasprintf("LIST %s(all but data)", prefix)
                : xasprintf("LIST %s%s", prefix ? prefix : "", delimiter ? "(folders)" : "");
}

static size_t requests(void)
{
    pthread_mutex_lock(&s3_server.lock);
    size_t n = asked.n;
    pthread_mutex_unlock(&s3_server.lock);
    return n;
}

static void forget_requests(void)
{
    pthread_mutex_lock(&s3_server.lock);
    while (asked.n)
        free(asked.p[--asked.n]);
    pthread_mutex_unlock(&s3_server.lock);
}

static void print_requests(const char *what, size_t from)
{
    pthread_mutex_lock(&s3_server.lock);
    printf("%s: %zu requests\n", what, asked.n - from);
    for (size_t i = from; i < asked.n; i++)
        printf("    %.60s\n", asked.p[i]);
    pthread_mutex_unlock(&s3_server.lock);
}

static size_t count_objects(const char *below)
{
    size_t n = 0;
    pthread_mutex_lock(&s3_server.lock);
    for (size_t i = 0; i < s3_server.objects.n; i++)
        n += strstr(s3_server.objects.p[i].key, below) != NULL;
    pthread_mutex_unlock(&s3_server.lock);
    return n;
}

/* ---- a cluster, a bucket, a gateway ---- */

struct world_on_s3 {
    struct bench b;
    char endpoint[64], url[64], token[96], controller_token[96], volume[96];
    struct gateway_certificate certificate;
    pid_t gateway;
    int gateway_ends; /* when it is closed */
    struct gateway_client *controller;
};

static int review(void *ctx, const char *token, struct gateway_identity *ret, struct err *err)
{
    (void)ctx, (void)err;
    *ret = (struct gateway_identity){.authenticated = true};
    snprintf(ret->username, sizeof ret->username, "%s", token);
    snprintf(ret->pod_uid, sizeof ret->pod_uid, "%s", streq(token, "mover") ? "pod-mover" : "");
    return 0;
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void serve(const struct gateway_options *options, int said, int ends)
{
    struct gateway *g;
    struct err err;
    char end;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (gateway_start(options, &g, &err) < 0)
        _exit(1);
    unsigned port = gateway_port(g);
    if (write(said, &port, sizeof port) != sizeof port)
        _exit(1);
    (void)!read(ends, &end, 1);
    gateway_stop(g);
    _exit(0);
}

/* No thread of this process may run yet. */
static void start_gateway(struct world_on_s3 *w)
{
    int said[2], ends[2];
    unsigned port;
    static const char *const addresses[] = {"127.0.0.1", NULL};
    struct err err = {0};
    struct gateway_options options = {.listen = "127.0.0.1:0",
                                      .local_root = w->b.folder,
                                      .controller = "controller",
                                      .review = review};
    assert_int_equal(gateway_make_certificate(NULL, addresses, 10, &w->certificate, &err), 0);
    options.cert_pem = w->certificate.cert_pem;
    options.key_pem = w->certificate.key_pem;
    assert_int_equal(pipe2(said, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    w->gateway = fork();
    if (w->gateway == 0) {
        close(ends[1]);
        serve(&options, said[1], ends[0]);
    }
    close(said[1]);
    close(ends[0]);
    w->gateway_ends = ends[1];
    assert_int_equal(read(said[0], &port, sizeof port), sizeof port);
    close(said[0]);
    snprintf(w->url, sizeof w->url, "https://127.0.0.1:%u", port);
    snprintf(w->token, sizeof w->token, "%s/token", w->b.folder);
    snprintf(w->controller_token, sizeof w->controller_token, "%s/controller", w->b.folder);
    write_text(w->token, "mover");
    write_text(w->controller_token, "controller");
    assert_int_equal(gateway_client_new(w->url, w->certificate.ca_pem, w->controller_token,
                                        &w->controller, &err),
                     0);
}

static void fill_volume(struct world_on_s3 *w)
{
    snprintf(w->volume, sizeof w->volume, "%s/volume", w->b.folder);
    assert_int_equal(mkdir(w->volume, 0755), 0);
    for (int i = 0; i < 20; i++) {
        const char *folder = arena_printf(w->b.a, "%s/%d", w->volume, i);
        assert_int_equal(mkdir(folder, 0755), 0);
        write_text(arena_printf(w->b.a, "%s/file", folder), folder);
    }
}

static int up(void **state)
{
    struct world_on_s3 *w = xcalloc(1, sizeof *w);
    bench_up(&w->b, NULL);
    start_gateway(w);
    s3_server_start();
    s3_server.page = 1000; /* as real ones */
    s3_server.asked = note_request;
    w->b.cx.lock_settle_ms = 1;
    w->b.cx.events = kube_events_new(w->b.kube, "gleaner", "pod");
    snprintf(w->endpoint, sizeof w->endpoint, "http://127.0.0.1:%u", s3_server.port);
    post(&w->b, application);
    post(&w->b,
         arena_printf(
             w->b.a,
             "[{'apiVersion':'v1','kind':'Secret','metadata':{'name':'bucket','namespace':"
             "'gleaner-system'},'data':{'AWS_ACCESS_KEY_ID':'QUtJRFRFU1Q=',"
             "'AWS_SECRET_ACCESS_KEY':'c2VjcmV0'}},"
             "{'apiVersion':'gleaner.dev/v1alpha1','kind':'BackupStore','metadata':{'name':'s3'},"
             "'spec':{'s3':{'endpoint':'%s','bucket':'bucket','prefix':'pre'},"
             "'credentialsSecretRef':{'name':'bucket'},"
             "'passwordSecretRef':{'name':'password','key':'password'}}}]",
             w->endpoint));
    fill_volume(w);
    *state = w;
    return 0;
}

static int down(void **state)
{
    struct world_on_s3 *w = *state;
    kube_events_free(w->b.cx.events);
    keyring_wipe();
    recall_forget();
    gateway_client_free(w->controller);
    close(w->gateway_ends);
    assert_int_equal(waitpid(w->gateway, NULL, 0), w->gateway);
    gateway_certificate_free(&w->certificate);
    bench_down(&w->b, true);
    s3_server_stop();
    forget_requests();
    free(w);
    return 0;
}

/* ---- the mover ---- */

static void must(int r, const struct err *err)
{
    if (r < 0)
        fail_msg("%s", err->msg);
}

/* As the controller does at each look at the pod. */
static void register_mover(struct world_on_s3 *w, const struct mover_pod_spec *spec)
{
    struct store_place place CLEANUP(store_place_free) = {0};
    struct mover_pod_registration r;
    struct err err = {0};
    must(store_now(&w->b.cx, w->b.a, spec->store, &place, &err), &err);
    mover_pod_registration(spec, "pod-mover", &place, &r);
    must(gateway_register(w->controller, &r.mover, &err), &err);
}

/* As the mover's process does. */
static void move_volume(struct world_on_s3 *w, const struct mover_pod_spec *spec,
                        struct mover_report *report)
{
    struct backend *rest CLEANUP(backend_close_p) = NULL;
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    char *url CLEANUP(free_p) = xasprintf("%s/%s/", w->url, spec->store->path), *password;
    struct backend_rest_options options = {
        .url = url, .ca_pem = w->certificate.ca_pem, .token_file = w->token, .retry_seconds = 2};
    struct gateway_client *client;
    struct repository_options how;
    struct store_id parent;
    struct err err = {0};
    mover_repository_options(false, &how);
    must(gateway_client_new(w->url, w->certificate.ca_pem, w->token, &client, &err), &err);
    must(gateway_fetch_password(client, &password, &err), &err);
    must(backend_open_rest(&options, &rest, &err), &err);
    must(repository_open(rest, password, &how, &repo, &err), &err);
    must(repository_load_index(repo, &err), &err);
    int volume = open(w->volume, O_RDONLY | O_DIRECTORY);
    bool has = spec->tree && store_id_parse(str_of(spec->tree), &parent);
    must(archive_volume(repo, volume, has ? &parent : NULL, NULL, report, &err), &err);
    close(volume);
    free(password);
    gateway_client_free(client);
}

/* A running Backup gets a volume, and the mover's answer into its row. */
static void play_mover(struct world_on_s3 *w, const char *name, struct mover_report *report)
{
    struct bench *b = &w->b;
    struct backup_run run = {.cx = &b->cx, .a = b->a};
    struct err err = {0};
    char tree[STORE_ID_HEX];
    must(status_read(b->kube, b->a, &KUBE_BACKUP, "gleaner-system", name, &run.st, &err), &err);
    run.uid = run.st.object.uid;
    run.kind = "Kustomization", run.target_ns = "flux-system", run.target = "app";
    struct mover_pod_spec spec = {.direction = MOVER_BACKUP, .ns = "app", .claim = "data"};
    for (int looks = 0; looks < 5; looks++) { /* one each second */
        must(backup_session(&run, &err), &err);
        spec.store = &run.session->opened;
        spec.lock = lock_name(run.session->lock);
        spec.tree = backup_last_tree(&run, "data");
        register_mover(w, &spec);
        if (looks < 4)
            backup_session_give(&run);
    }
    move_volume(w, &spec, report);
    backup_session_give(&run);
    store_id_hex(&report->tree, tree);
    struct kube_object claim;
    const char *since = NULL;
    if (kube_get(b->kube, b->a, &KUBE_PVC, "app", "data", &claim, &err) == 0)
        since = raw_text(b->a, claim.raw, "metadata", "creationTimestamp", NULL);
    const char *rows = arena_printf(
        b->a,
        "{\"status\":{\"volumes\":[{\"claim\":\"data\",\"phase\":\"Completed\","
        "\"tree\":\"%s\",\"root\":\"%s\"%s%s%s}]}}",
        tree, report->root, since ? ",\"since\":\"" : "", since ? since : "", since ? "\"" : "");
    must(kube_patch(b->kube, b->a, &KUBE_BACKUP, "gleaner-system", name, KUBE_PATCH_MERGE,
                    str_of(rows), &(struct kube_write){.subresource = "status"}, NULL, &err),
         &err);
    status_free(&run.st);
}

/* ---- Backups ---- */

typedef void meanwhile_fn(struct bench *b);

/* To its end; `meanwhile`, if given, once the volume is copied. */
static void run_backup(struct world_on_s3 *w, const char *name, struct mover_report *report,
                       meanwhile_fn *meanwhile)
{
    struct bench *b = &w->b;
    struct outcome o = {0};
    struct err err = {0};
    bool moved = false;
    post(b, arena_printf(b->a,
                         "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Backup','metadata':{'name':"
                         "'%s','namespace':'gleaner-system','uid':'uid-%s'},'spec':{'target':{"
                         "'kind':'Kustomization','namespace':'flux-system','name':'app'},"
                         "'storeRef':{'name':'s3'}}}]",
                         name, name));
    *report = (struct mover_report){0};
    for (int i = 0; i < 20 && (i == 0 || o.what != OUTCOME_DONE); i++) {
        size_t before = requests();
        must(backup_reconcile(&b->cx, b->a, "gleaner-system", name, &o, &err), &err);
        print_requests(status_at(b, name, "phase"), before);
        if (moved || !streq(status_at(b, name, "phase"), "Volumes"))
            continue;
        before = requests();
        play_mover(w, name, report);
        print_requests("mover", before);
        if (meanwhile)
            meanwhile(b);
        moved = true;
    }
}

static void back_up_whole(struct world_on_s3 *w, const char *name, struct mover_report *report)
{
    struct bench *b = &w->b;
    struct retain_result retained;
    struct err err;
    run_backup(w, name, report, NULL);
    if (!streq(status_at(b, name, "phase"), "Completed"))
        fail_msg("%s: %s", name, status_at(b, name, "conditions"));
    size_t before = requests();
    must(store_retain(&b->cx, b->a, "s3", "app", &retained, &err), &err);
    print_requests("retention", before);
    assert_int_equal(retained.forgotten, 0);
}

static void an_unchanged_one(void **state)
{
    struct world_on_s3 *w = *state;
    struct mover_report report;
    back_up_whole(w, "one", &report);
    assert_int_equal(report.files, 20);
    assert_true(report.moved > 0);
    back_up_whole(w, "two", &report);
    size_t before = requests();
    back_up_whole(w, "three", &report);
    assert_int_equal(report.files, 20);
    assert_int_equal(report.moved, 0);
    assert_string_equal(status_at(&w->b, "two", "phase"), "Completed");
    print_requests("an unchanged Backup", before);
    assert_in_range(requests() - before, 1, UNCHANGED_MAX);
}

/* Below a clusterName of people's choice the key files are asked whose it is. */
static void an_unchanged_one_below_a_name(void **state)
{
    struct world_on_s3 *w = *state;
    struct err err = {0};
    must(kube_patch(w->b.kube, w->b.a, &KUBE_BACKUPSTORE, NULL, "s3", KUBE_PATCH_MERGE,
                    STR("{\"spec\":{\"clusterName\":\"production\"}}"), NULL, NULL, &err),
         &err);
    an_unchanged_one(state);
    assert_true(count_objects("/production/app/snapshots/") == 3);
}

/* The first one after the controller began anew: keys, snapshots and indexes are read once. */
static void one_after_a_restart(void **state)
{
    struct world_on_s3 *w = *state;
    struct mover_report report;
    back_up_whole(w, "one", &report);
    back_up_whole(w, "two", &report);
    keyring_wipe();
    recall_forget();
    size_t before = requests(), files = count_objects("/app/keys/") + count_objects("/app/index/") +
                                        count_objects("/app/snapshots/");
    back_up_whole(w, "three", &report);
    assert_int_equal(report.moved, 0);
    print_requests("an unchanged Backup after a restart", before);
    assert_in_range(requests() - before, 1, UNCHANGED_MAX + MOVER_KEY_OPENING + files);
}

/* ---- looks ---- */

/* What a store of so many repositories costs every five minutes. */
static void a_look_at_a_store(void **state)
{
    struct world_on_s3 *w = *state;
    struct bench *b = &w->b;
    struct mover_report report;
    struct sync_result r = {0};
    struct outcome o;
    struct err err;
    must(backupstore_reconcile(&b->cx, b->a, NULL, "s3", &o, &err), &err); /* makes _cluster */
    back_up_whole(w, "one", &report);
    back_up_whole(w, "two", &report);
    size_t before = requests();
    must(backupstore_reconcile(&b->cx, b->a, NULL, "s3", &o, &err), &err);
    print_requests("the Ready check", before);
    assert_in_range(requests() - before, 1, LOOK_MAX);
    before = requests();
    must(sync_store(&b->cx, b->a, "s3", NULL, &r, &err), &err);
    print_requests("a look at two repositories", before);
    assert_int_equal(r.repositories, 2);
    assert_int_equal(r.snapshots, 2);
    assert_int_equal(r.failures, 0);
    assert_in_range(requests() - before, 1, 1 + 2 * LOOK_MAX);
}

/* ---- a store that does not answer ---- */

static void remove_objects(const char *below)
{
    pthread_mutex_lock(&s3_server.lock);
    for (size_t i = s3_server.objects.n; i-- > 0;)
        if (strstr(s3_server.objects.p[i].key, below))
            s3_forget(&s3_server.objects.p[i]);
    pthread_mutex_unlock(&s3_server.lock);
}

static int64_t hurry(void)
{
    static atomic_llong later;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + atomic_fetch_add(&later, 60000);
}

static void die_after_the_folders(struct MHD_Connection *c, const char *method, const char *key)
{
    note_request(c, method, key);
    if (MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "delimiter")) {
        s3_server.fail = 1000000;
        s3_server.fail_status = 503;
    }
}

/* Each of its repositories would be waited for in turn, while the other stores wait for the thread.
 * One that fails by itself is passed over. */
static void a_pass_over_a_dead_store_is_given_up(void **state)
{
    struct world_on_s3 *w = *state;
    struct bench *b = &w->b;
    struct mover_report report;
    struct sync_result r = {0};
    struct outcome o;
    struct err err;
    must(backupstore_reconcile(&b->cx, b->a, NULL, "s3", &o, &err), &err);
    back_up_whole(w, "one", &report);
    pass(0); /* the wall clock stays what it is */
    s3_server.asked = die_after_the_folders;
    clock_override(hurry); /* half a minute of tries is over at once */
    must(sync_store(&b->cx, b->a, "s3", NULL, &r, &err), &err);
    clock_override(NULL);
    assert_int_equal(r.failures, 1);
    assert_true(r.unreachable);
    assert_true(there(b, "one"));
    s3_server.asked = note_request;
    s3_server.fail = 0;
    remove_objects("/_cluster/config");
    must(sync_store(&b->cx, b->a, "s3", NULL, &r, &err), &err);
    assert_false(r.unreachable);
    assert_int_equal(r.repositories, 1);
    assert_int_equal(r.snapshots, 1);
}

/* curl says how long it tried: each time another number, which as a write of ours would wake us at
 * once, back to back. */
static void a_dead_store_does_not_wake_itself(void **state)
{
    struct world_on_s3 *w = *state;
    struct bench *b = &w->b;
    struct outcome o;
    struct err err;
    pass(0);
    for (int round = 0; round < 2; round++) {
        struct status st CLEANUP(status_free) = {0};
        assert_int_equal(
            kube_patch(b->kube, b->a, &KUBE_BACKUPSTORE, NULL, "s3", KUBE_PATCH_MERGE,
                       STR("{\"spec\":{\"s3\":{\"endpoint\":\"http://127.0.0.1:9\"}}}"), NULL, NULL,
                       &err),
            0);
        clock_override(hurry);
        must(backupstore_reconcile(&b->cx, b->a, NULL, "s3", &o, &err), &err);
        clock_override(NULL);
        must(status_read(b->kube, b->a, &KUBE_BACKUPSTORE, NULL, "s3", &st, &err), &err);
        const char *said = status_message(&st, "Ready");
        if (round)
            assert_non_null(strstr(said, "after 9876 ms"));
        const char *at = strstr(said, "after "), *end = at ? strstr(at, " ms") : NULL;
        assert_non_null(end);
        status_progress(&st, arena_strdup(b->a, status_reason(&st, "Ready")), "%s",
                        arena_printf(b->a, "%.*safter 9876%s", (int)(at - said), said, end));
        must(status_write(b->kube, b->a, &st, false, &err), &err);
    }
}

/* ---- what must not be believed from memory ---- */

/* The lock is looked at before the snapshot is written, however short ago that was: no snapshot is
 * written under a lock that is gone, and the Backup goes on with a new one. */
static void a_lost_lock_is_seen_before_the_snapshot(void **state)
{
    struct world_on_s3 *w = *state;
    struct bench *b = &w->b;
    struct outcome o = {0};
    struct err err;
    bool removed = false;
    post(b, "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Backup','metadata':{'name':'one',"
            "'namespace':'gleaner-system','uid':'uid-one'},'spec':{'target':{'kind':"
            "'Kustomization','namespace':'flux-system','name':'app'},'storeRef':{'name':'s3'}}}]");
    for (int i = 0; i < 20 && (i == 0 || o.what != OUTCOME_DONE); i++) {
        bool writes = streq(status_at(b, "one", "phase"), "Write");
        if (writes && !removed)
            remove_objects("/app/locks/");
        must(backup_reconcile(&b->cx, b->a, "gleaner-system", "one", &o, &err), &err);
        if (writes && !removed) {
            assert_string_equal(status_at(b, "one", "phase"), "Write");
            assert_int_equal(count_objects("/app/snapshots/"), 0);
            removed = true;
        }
    }
    assert_true(removed);
    assert_string_equal(status_at(b, "one", "phase"), "Completed");
    assert_int_equal(count_objects("/app/snapshots/"), 1);
    assert_int_equal(count_objects("/app/locks/"), 0);
}

static void set_password(struct bench *b, const char *base64)
{
    struct err err;
    must(kube_patch(b->kube, b->a, &KUBE_SECRET, "gleaner-system", "password", KUBE_PATCH_MERGE,
                    str_of(arena_printf(b->a, "{\"data\":{\"password\":\"%s\"}}", base64)), NULL,
                    NULL, &err),
         &err);
}

/* A key that is in memory opens nothing for another password, nor once its key file is gone. */
static void passwords_are_asked(void **state)
{
    struct world_on_s3 *w = *state;
    struct bench *b = &w->b;
    struct mover_report report;
    struct opened o = {0};
    struct err err;
    back_up_whole(w, "one", &report);
    must(store_open(&b->cx, b->a, "s3", "app", false, &o, &err), &err);
    store_close(&o);
    set_password(b, "YW5vdGhlci1wYXNzd29yZC10aGF0LWlzLWxvbmc=");
    assert_int_equal(store_open(&b->cx, b->a, "s3", "app", false, &o, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_int_equal(store_open_again(&b->cx, b->a, "s3", "app", &o, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
    set_password(b, "YS1wYXNzd29yZC10aGF0LWlzLWxvbmctZW5vdWdo");
    must(store_open(&b->cx, b->a, "s3", "app", false, &o, &err), &err);
    store_close(&o);
    remove_objects("/app/keys/");
    assert_int_equal(store_open(&b->cx, b->a, "s3", "app", false, &o, &err), -1);
    assert_int_equal(err.kind, ERR_REFUSED);
}

/* A store that has lost a snapshot is believed, not the memory of it. */
static void a_lost_snapshot_is_not_remembered(void **state)
{
    struct world_on_s3 *w = *state;
    struct bench *b = &w->b;
    struct mover_report report;
    struct retain_result retained;
    struct opened o CLEANUP(store_close) = {0};
    struct snapshot s;
    struct err err;
    back_up_whole(w, "one", &report);
    back_up_whole(w, "two", &report);
    const char *lost = status_at(b, "one", "snapshot");
    remove_objects(lost);
    must(store_retain(&b->cx, b->a, "s3", "app", &retained, &err), &err);
    assert_int_equal(retained.kept, 1);
    must(store_open(&b->cx, b->a, "s3", "app", false, &o, &err), &err);
    assert_int_equal(snapshot_find(o.repo, lost, NULL, b->a, &s, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
}

/* ---- claims ---- */

static void post_claim(struct bench *b, const char *since)
{
    post(b, arena_printf(b->a,
                         "[{'apiVersion':'v1','kind':'PersistentVolumeClaim','metadata':{'name':"
                         "'data','namespace':'app','creationTimestamp':'%s'},'spec':{'accessModes':"
                         "['ReadWriteOnce']},'status':{'phase':'Bound'}}]",
                         since));
}

static void make_claim_anew(struct bench *b)
{
    struct err err;
    must(kube_delete(b->kube, &KUBE_PVC, "app", "data", NULL, &err), &err);
    post_claim(b, "2026-03-03T03:03:03Z");
}

static bool has_tag(struct world_on_s3 *w, const char *backup, const char *tag)
{
    struct bench *b = &w->b;
    struct opened o CLEANUP(store_close) = {0};
    struct snapshot s;
    struct err err;
    must(store_open(&b->cx, b->a, "s3", "app", false, &o, &err), &err);
    must(snapshot_find(o.repo, status_at(b, backup, "snapshot"), NULL, b->a, &s, &err), &err);
    return snapshot_has_tag(&s, tag);
}

static bool volumes_say(struct bench *b, const char *backup, const char *member, const char *text)
{
    struct kube_object o;
    str row;
    assert_true(get(b, backup, &o));
    struct raw_iter it = raw_iter(raw_at(o.raw, "status", "volumes", NULL));
    return raw_next(&it, NULL, &row) && raw_is(raw_get(row, member), text);
}

/* A snapshot says which claims its volumes are of, also to a cluster that knows nothing of it. One
 * that was made anew after it was copied is not in it. */
static void a_volume_is_of_the_claim_that_was_copied(void **state)
{
    static const char tag[] = "claim:data@2026-02-02T02:02:02Z";
    struct world_on_s3 *w = *state;
    struct bench *b = &w->b;
    struct mover_report report;
    struct sync_result r = {0};
    struct err err;
    post_claim(b, "2026-02-02T02:02:02Z");
    back_up_whole(w, "one", &report);
    assert_true(has_tag(w, "one", tag));
    must(kube_delete(b->kube, &KUBE_BACKUP, "gleaner-system", "one", NULL, &err), &err);
    must(sync_store(&b->cx, b->a, "s3", NULL, &r, &err), &err);
    assert_true(volumes_say(b, "one", "since", "2026-02-02T02:02:02Z"));
    run_backup(w, "two", &report, make_claim_anew);
    assert_string_equal(status_at(b, "two", "phase"), "PartiallyFailed");
    assert_true(
        volumes_say(b, "two", "message",
                    "the claim was made anew after it was copied: what it has now is not in "
                    "this backup"));
    assert_false(has_tag(w, "two", tag));
    assert_true(has_tag(w, "two", "part:data@2026-02-02T02:02:02Z"));
    assert_false(has_tag(w, "two", "claim:data@2026-03-03T03:03:03Z"));
    back_up_whole(w, "three", &report);
    assert_true(has_tag(w, "three", "claim:data@2026-03-03T03:03:03Z"));
}

/* Once the Failed Backup is deleted, nothing but the tags is known of what it wrote. */
static void what_cannot_be_read_back_is_never_complete(void **state)
{
    struct world_on_s3 *w = *state;
    struct bench *b = &w->b;
    struct mover_report report;
    struct outcome o = {0};
    struct err err;
    post_claim(b, "2026-02-02T02:02:02Z");
    back_up_whole(w, "one", &report);
    post(b, "[{'apiVersion':'gleaner.dev/v1alpha1','kind':'Backup','metadata':{'name':'two',"
            "'namespace':'gleaner-system','uid':'uid-two'},'spec':{'target':{'kind':"
            "'Kustomization','namespace':'flux-system','name':'app'},'storeRef':{'name':'s3'}}}]");
    bool moved = false, lost = false;
    for (int i = 0; i < 20 && (i == 0 || o.what != OUTCOME_DONE); i++) {
        must(backup_reconcile(&b->cx, b->a, "gleaner-system", "two", &o, &err), &err);
        if (!moved && streq(status_at(b, "two", "phase"), "Volumes")) {
            play_mover(w, "two", &report);
            moved = true;
        }
        if (!lost && streq(status_at(b, "two", "phase"), "ReadBack")) {
            assert_true(has_tag(w, "two", "phase:Completed"));
            remove_objects("/app/data/");
            lost = true;
        }
    }
    assert_true(lost);
    assert_string_equal(status_at(b, "two", "phase"), "Failed");
    assert_int_equal(count_objects("/app/snapshots/"), 2);
    assert_true(has_tag(w, "two", "phase:PartiallyFailed"));
    assert_false(has_tag(w, "two", "phase:Completed"));
    assert_true(has_tag(w, "two", "part:data@2026-02-02T02:02:02Z"));
    assert_true(has_tag(w, "one", "claim:data@2026-02-02T02:02:02Z"));
}

int main(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    setenv("HOME", "/nonexistent", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_unchanged_one, up, down),
        cmocka_unit_test_setup_teardown(an_unchanged_one_below_a_name, up, down),
        cmocka_unit_test_setup_teardown(one_after_a_restart, up, down),
        cmocka_unit_test_setup_teardown(a_look_at_a_store, up, down),
        cmocka_unit_test_setup_teardown(a_pass_over_a_dead_store_is_given_up, up, down),
        cmocka_unit_test_setup_teardown(a_dead_store_does_not_wake_itself, up, down),
        cmocka_unit_test_setup_teardown(a_lost_lock_is_seen_before_the_snapshot, up, down),
        cmocka_unit_test_setup_teardown(passwords_are_asked, up, down),
        cmocka_unit_test_setup_teardown(a_lost_snapshot_is_not_remembered, up, down),
        cmocka_unit_test_setup_teardown(a_volume_is_of_the_claim_that_was_copied, up, down),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_back_is_never_complete, up, down),
    };
    return cmocka_run_group_tests_name("backup/requests", tests, NULL, NULL);
}
