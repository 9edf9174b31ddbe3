/* A Backup against the fake API server: straight through, and with its process killed before and
 * after every write that it makes. All runs end the same: Completed, one snapshot, no lock, no
 * Lease. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/json.h"
#include "fake_child.h"
#include "kube/types.h"
#include "reconciler/backup/backup.h"
#include "reconciler/gateway_setup.h"
#include "reconciler/mover_pod.h"
#include "mover/report.h"
#include "reconciler/store/lock.h"
#include "store/snapshot.h"
#include "store/tree.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CANARY "Y2FuYXJ5LXZhbHVlLTQ3MTE="

static const char world[] =
    "[{'apiVersion':'v1','kind':'Namespace','metadata':{'name':'kube-system','uid':'cluster-1'}},"
    "{'apiVersion':'v1','kind':'Secret','metadata':{'name':'password','namespace':'gleaner-system'}"
    ","
    "'data':{'password':'YS1wYXNzd29yZC10aGF0LWlzLWxvbmctZW5vdWdo'}},"
    "{'apiVersion':'gleaner.dev/v1alpha1','kind':'BackupStore','metadata':{'name':'local'},"
    "'spec':{'local':{'path':'b'},'passwordSecretRef':{'name':'password','key':'password'}}},"
    "{'apiVersion':'kustomize.toolkit.fluxcd.io/v1','kind':'Kustomization',"
    "'metadata':{'name':'app','namespace':'flux-system'},"
    "'spec':{'interval':'1m','path':'./','prune':true,'targetNamespace':'app',"
    "'sourceRef':{'kind':'GitRepository','name':'app'}},"
    "'status':{'lastAppliedRevision':'main@sha1:0123456789012345678901234567890123456789',"
    "'inventory':{'entries':[{'id':'app_conf__ConfigMap','v':'v1'},{'id':'app_keys__Secret','v':'"
    "v1'}]}}},"
    "{'apiVersion':'source.toolkit.fluxcd.io/v1','kind':'GitRepository',"
    "'metadata':{'name':'app','namespace':'flux-system'},"
    "'spec':{'interval':'1m','url':'http://127.0.0.1:9/app.git','ref':{'branch':'main'}}},"
    "{'apiVersion':'v1','kind':'ConfigMap','metadata':{'name':'conf','namespace':'app'},'data':{'a'"
    ":'1'}},"
    "{'apiVersion':'v1','kind':'Secret','metadata':{'name':'keys','namespace':'app'},'data':{'a':"
    "'" CANARY "'}},"
    "{'apiVersion':'v1','kind':'Secret','metadata':{'name':'hand','namespace':'app'},'data':{'a':"
    "'" CANARY "'}},"
    "{'apiVersion':'gleaner.dev/v1alpha1','kind':'Backup',"
    "'metadata':{'name':'one','namespace':'gleaner-system','uid':'backup-1'},"
    "'spec':{'target':{'kind':'Kustomization','namespace':'flux-system','name':'app'}}}]";

struct bench {
    struct fake_child *fake;
    char folder[64];
};

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void bench_up(struct bench *b)
{
    char *json = xstrdup(world);
    for (char *p = json; *p; p++) {
        if (*p == '\'')
            *p = '"';
    }
    b->fake = fake_start(NULL);
    fake_post(b->fake, "objects", json);
    free(json);
    snprintf(b->folder, sizeof b->folder, "/tmp/gleaner-backup-test-XXXXXX");
    assert_non_null(mkdtemp(b->folder));
}

static void bench_down(struct bench *b)
{
    fake_stop(b->fake);
    nftw(b->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static struct context context_of(const struct bench *b, struct kube *k)
{
    static atomic_bool stopping;
    return (struct context){.kube = k,
                            .ns = "gleaner-system",
                            .instance = "pod",
                            .instance_uid = "pod-1",
                            .lock_settle_ms = 1,
                            .program = "/bin/false",
                            .mover_image = "x",
                            .local_root = b->folder,
                            .cluster = "cluster-1",
                            .stopping = &stopping};
}

/* The controller: reconciles until the Backup has ended. Exit code 0: it has. */
static int work(const struct bench *b)
{
    struct kube *k = fake_client(b->fake);
    struct context cx = context_of(b, k);
    for (int i = 0; i < 100; i++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        struct outcome o;
        struct err err;
        if (backup_reconcile(&cx, a, "gleaner-system", "one", &o, &err) < 0) {
            fprintf(stderr, "reconcile: %s\n", err.msg);
            return 1;
        }
        if (o.what == OUTCOME_DONE)
            return 0;
    }
    return 2;
}

static pid_t start(const struct bench *b)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(work(b));
    return pid;
}

static int wait_end(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static size_t count_files(const char *folder, const char *kind)
{
    char command[256];
    size_t n = 0;
    snprintf(command, sizeof command, "find %s -type f -path '*/%s/*' | wc -l", folder, kind);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    assert_int_equal(fscanf(p, "%zu", &n), 1);
    pclose(p);
    return n;
}

static void assert_ended_well(const struct bench *b, const char *when)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct kube *k = fake_client(b->fake);
    struct kube_object o;
    struct err err;
    assert_int_equal(kube_get(k, a, &KUBE_BACKUP, "gleaner-system", "one", &o, &err), 0);
    const char *phase = raw_text(a, o.raw, "status", "phase", NULL);
    if (!streq(phase, "Completed"))
        fail_msg("%s: %s", when, o.raw.p);
    assert_null(strstr(o.raw.p, CANARY));
    if (count_files(b->folder, "snapshots") != 1 || count_files(b->folder, "locks") != 0)
        fail_msg("%s: %zu snapshots, %zu locks", when, count_files(b->folder, "snapshots"),
                 count_files(b->folder, "locks"));
    struct kube_object lease;
    const char *name = lease_of_target(a, "Kustomization", "flux-system", "app");
    assert_int_equal(kube_get(k, a, &KUBE_LEASE, "gleaner-system", name, &lease, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    kube_free(k);
}

/* The number of writes of a run without faults. */
static int straight_through(void)
{
    struct bench b;
    bench_up(&b);
    assert_int_equal(wait_end(start(&b)), 0);
    assert_ended_well(&b, "straight through");
    json_t *state CLEANUP_JSON = fake_get(b.fake, "state"), *row;
    size_t i;
    int n = 0;
    json_array_foreach(json_object_get(state, "log"), i, row)
    {
        const char *path = json_text_at(row, "path", NULL);
        n += path && !strstr(path, "/fake/");
    }
    bench_down(&b);
    return n;
}

static void kill_at(int nth, bool after)
{
    struct bench b;
    char fault[256], when[64];
    bench_up(&b);
    snprintf(when, sizeof when, "killed %s write %d", after ? "after" : "before", nth);
    snprintf(fault, sizeof fault,
             "{\"match\":{\"mutating\":true},\"nth\":%d,\"times\":1,\"do\":\"%s\"}", nth,
             after ? "pauseAfter" : "pauseBefore");
    fake_post(b.fake, "faults", fault);
    pid_t pid = start(&b);
    json_t *paused CLEANUP_JSON = fake_get(b.fake, "paused?timeoutMs=30000");
    if (!json_is_true(json_object_get(paused, "paused")))
        fail_msg("%s: there was no such write", when);
    kill(pid, SIGKILL);
    wait_end(pid);
    fake_post(b.fake, "resume", after ? "{}" : "{\"discard\":true}");
    fake_clear_faults(b.fake);
    assert_int_equal(wait_end(start(&b)), 0);
    assert_ended_well(&b, when);
    bench_down(&b);
}

static void test_kill_at_every_write(void **state)
{
    (void)state;
    int n = straight_through();
    assert_true(n >= 7);
    for (int i = 1; i <= n; i++) {
        kill_at(i, false);
        kill_at(i, true);
    }
}

static const char *ready_reason(struct arena *a, const struct bench *b, const char **ret_message)
{
    struct kube *k = fake_client(b->fake);
    struct kube_object o;
    str c;
    const char *reason = NULL;
    assert_int_equal(kube_get(k, a, &KUBE_BACKUP, "gleaner-system", "one", &o, NULL), 0);
    for (struct raw_iter it = raw_iter(raw_at(o.raw, "status", "conditions", NULL));
         raw_next(&it, NULL, &c);) {
        if (!raw_is(raw_get(c, "type"), "Ready"))
            continue;
        reason = raw_text(a, c, "reason", NULL);
        *ret_message = raw_text(a, c, "message", NULL);
    }
    kube_free(k);
    return reason;
}

/* Trouble of the API server is waited out, and the status says so meanwhile. */
static void test_waits_for_the_api_server(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct bench b;
    const char *message;
    bench_up(&b);
    fake_post(b.fake, "faults",
              "{\"match\":{\"method\":\"GET\",\"path\":\"/secrets\"},\"nth\":1,\"times\":1,"
              "\"do\":\"status\",\"code\":500}");
    struct kube *k = fake_client(b.fake);
    struct context cx = context_of(&b, k);
    struct outcome o;
    struct err err;
    for (int i = 0; i < 2; i++)
        assert_int_equal(backup_reconcile(&cx, a, "gleaner-system", "one", &o, &err), 0);
    assert_int_equal(o.what, OUTCOME_AFTER);
    assert_string_equal(ready_reason(a, &b, &message), "Unavailable");
    assert_non_null(strstr(message, "trying again"));
    kube_free(k);
    assert_int_equal(wait_end(start(&b)), 0);
    assert_ended_well(&b, "after an error 500");
    bench_down(&b);
}

/* A Restore that works on the target keeps a Backup waiting, but not its own safety backup. */
static void test_waits_for_a_restore(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct bench b;
    const char *message;
    bench_up(&b);
    const char *lease = lease_of_target(a, "Kustomization", "flux-system", "app");
    fake_post(
        b.fake, "objects",
        arena_printf(a,
                     "[{\"apiVersion\":\"gleaner.dev/v1alpha1\",\"kind\":\"Restore\",\"metadata\":"
                     "{\"name\":\"r\",\"namespace\":\"gleaner-system\",\"uid\":\"restore-1\"},"
                     "\"status\":{\"phase\":\"Held\"}},"
                     "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":"
                     "{\"name\":\"%s\",\"namespace\":\"gleaner-system\"},\"spec\":"
                     "{\"holderIdentity\":\"Restore/gleaner-system/r/restore-1\"}}]",
                     lease));
    struct kube *k = fake_client(b.fake);
    struct context cx = context_of(&b, k);
    struct outcome o;
    struct err err;
    assert_int_equal(backup_reconcile(&cx, a, "gleaner-system", "one", &o, &err), 0);
    assert_int_equal(o.what, OUTCOME_AFTER);
    assert_string_equal(ready_reason(a, &b, &message), "RestoreInProgress");
    assert_int_equal(count_files(b.folder, "snapshots"), 0);
    assert_int_equal(
        kube_patch(k, a, &KUBE_BACKUP, "gleaner-system", "one", KUBE_PATCH_MERGE,
                   STR("{\"metadata\":{\"labels\":{\"gleaner.dev/safety-for\":\"restore-1\"}}}"),
                   NULL, NULL, &err),
        0);
    kube_free(k);
    assert_int_equal(wait_end(start(&b)), 0);
    assert_int_equal(count_files(b.folder, "snapshots"), 1);
    bench_down(&b);
}

/* A deleted Backup's repository stays open, and locked, for the thread that still works with it. */
static void test_session_in_use(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct bench b;
    bench_up(&b);
    struct kube *k = fake_client(b.fake);
    struct context cx = context_of(&b, k);
    struct status st CLEANUP(status_free) = {0};
    struct err err;
    assert_int_equal(status_read(k, a, &KUBE_BACKUP, "gleaner-system", "one", &st, &err), 0);
    status_set(&st, "store", json_string("local"));
    status_set(&st, "namespace", json_string("app"));
    struct backup_run run = {.cx = &cx, .a = a, .st = st, .uid = "backup-1"};
    assert_int_equal(backup_session(&run, &err), 0);
    backup_session_end("backup-1");
    /* Another lock of this process on the same repository is no leave for this one's movers. */
    struct opened o CLEANUP(store_close) = {0};
    struct lock *other;
    assert_int_equal(store_open(&cx, a, "local", "app", false, &o, &err), 0);
    assert_int_equal(store_lock(&cx, a, &o, false, &other, &err), 0);
    const char *name = arena_strdup(a, lock_name(run.session->lock));
    assert_int_equal(lock_confirm_name(o.repo, name, &err), 0);
    assert_int_equal(count_files(b.folder, "locks"), 2);
    assert_int_equal(lock_confirm(run.session->lock, &err), 0);
    backup_session_give(&run);
    assert_null(run.session);
    assert_int_equal(lock_confirm_name(o.repo, name, &err), -1);
    assert_int_equal(err.kind, ERR_GONE);
    assert_int_equal(lock_release(other, &err), 0);
    assert_int_equal(count_files(b.folder, "locks"), 0);
    kube_free(k);
    bench_down(&b);
}

/* One step of the Backup by a controller in this process. */
static const char *phase_after_a_step(struct context *cx, struct arena *a)
{
    struct outcome out;
    struct kube_object o;
    struct err err;
    assert_int_equal(backup_reconcile(cx, a, "gleaner-system", "one", &out, &err), 0);
    assert_int_equal(kube_get(cx->kube, a, &KUBE_BACKUP, "gleaner-system", "one", &o, &err), 0);
    const char *phase = raw_text(a, o.raw, "status", "phase", NULL);
    return phase ? phase : "";
}

/* All Backups of a night begin at once: those that find eight at work wait, and hold nothing. */
static void test_waits_for_a_place(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct bench b;
    const char *message, *lease = lease_of_target(a, "Kustomization", "flux-system", "app");
    bench_up(&b);
    struct kube *k = fake_client(b.fake);
    struct context cx = context_of(&b, k);
    struct kube_object o;
    struct err err;
    for (int i = 0; i < BACKUPS_AT_ONCE; i++)
        assert_true(backup_place_take(arena_printf(a, "other-%d", i), BACKUPS_AT_ONCE));
    assert_string_equal(phase_after_a_step(&cx, a), "");
    assert_string_equal(ready_reason(a, &b, &message), "BackupsInProgress");
    assert_string_equal(message, "waiting: 8 other Backups are at work");
    assert_int_equal(kube_get(k, a, &KUBE_LEASE, "gleaner-system", lease, &o, &err), -1);
    backup_session_end("other-3");
    assert_string_equal(phase_after_a_step(&cx, a), "Plan");
    assert_false(backup_place_take("late", BACKUPS_AT_ONCE));
    for (int i = 0; i < 10 && !streq(phase_after_a_step(&cx, a), "Completed"); i++)
        ;
    assert_string_equal(phase_after_a_step(&cx, a), "Completed");
    assert_true(backup_place_take("late", BACKUPS_AT_ONCE));
    backup_sessions_end();
    kube_free(k);
    bench_down(&b);
}

/* A Restore has stopped its application by then. */
static void test_a_safety_backup_waits_for_no_place(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct bench b;
    bench_up(&b);
    struct kube *k = fake_client(b.fake);
    struct context cx = context_of(&b, k);
    struct err err;
    assert_int_equal(
        kube_patch(k, a, &KUBE_BACKUP, "gleaner-system", "one", KUBE_PATCH_MERGE,
                   STR("{\"metadata\":{\"labels\":{\"gleaner.dev/safety-for\":\"restore-1\"}}}"),
                   NULL, NULL, &err),
        0);
    for (int i = 0; i < BACKUPS_AT_ONCE; i++)
        assert_true(backup_place_take(arena_printf(a, "other-%d", i), BACKUPS_AT_ONCE));
    assert_string_equal(phase_after_a_step(&cx, a), "Plan");
    backup_sessions_end();
    kube_free(k);
    bench_down(&b);
}

static void first_file(const char *folder, const char *kind, char path[256])
{
    char command[256];
    snprintf(command, sizeof command, "find %s -type f -path '*/app/%s/*'", folder, kind);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    assert_int_equal(fscanf(p, "%255s", path), 1);
    pclose(p);
}

/* A volume's tree in a repository, and a prune by somebody else that took what it refers to: it
 * was in no snapshot yet. */
static void store_and_lose(const struct bench *b, struct context *cx, char tree[STORE_ID_HEX])
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct opened o CLEANUP(store_close) = {0};
    struct tree_writer *w CLEANUP(tree_writer_free_p) = tree_writer_new();
    struct store_id content, root;
    struct err err;
    char pack[256], index[256];
    assert_int_equal(store_open(cx, a, "local", "app", true, &o, &err), 0);
    assert_int_equal(repository_load_index(o.repo, &err), 0);
    assert_int_equal(repository_save_blob(o.repo, BLOB_DATA, "moved", 5, &content, NULL, &err), 0);
    assert_int_equal(repository_flush(o.repo, &err), 0);
    first_file(b->folder, "data", pack);
    first_file(b->folder, "index", index);
    struct node node = {.name = STR("f"),
                        .type = NODE_FILE,
                        .mode = 0644,
                        .size = 5,
                        .content = &content,
                        .content_n = 1};
    assert_int_equal(tree_writer_add(w, &node, &err), 0);
    assert_int_equal(tree_writer_finish(w, o.repo, &root, NULL, &err), 0);
    assert_int_equal(repository_flush(o.repo, &err), 0);
    assert_int_equal(remove(pack), 0);
    assert_int_equal(remove(index), 0);
    store_id_hex(&root, tree);
}

/* The lock went with a process, and with it what was stored: no snapshot is made of the rest. */
static void test_no_snapshot_of_what_was_pruned(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct bench b;
    const char *message;
    char tree[STORE_ID_HEX];
    bench_up(&b);
    struct kube *k = fake_client(b.fake);
    struct context cx = context_of(&b, k);
    struct err err;
    store_and_lose(&b, &cx, tree);
    assert_int_equal(
        kube_patch(k, a, &KUBE_BACKUP, "gleaner-system", "one", KUBE_PATCH_MERGE,
                   str_of(arena_printf(a,
                                       "{\"status\":{\"phase\":\"Write\",\"store\":\"local\","
                                       "\"namespace\":\"app\",\"volumes\":[{\"claim\":\"data\","
                                       "\"phase\":\"Completed\",\"tree\":\"%s\"}]}}",
                                       tree)),
                   &(struct kube_write){.subresource = "status"}, NULL, &err),
        0);
    kube_free(k);
    assert_int_equal(wait_end(start(&b)), 0);
    assert_string_equal(ready_reason(a, &b, &message), "Corrupt");
    assert_non_null(strstr(message, "claim data"));
    assert_int_equal(count_files(b.folder, "snapshots"), 0);
    assert_int_equal(count_files(b.folder, "locks"), 0);
    bench_down(&b);
}

static json_t *metadata(const char *name, const char *ns)
{
    return json_pack("{s:s, s:s}", "name", name, "namespace", ns);
}

/* A mover that ended well while its Backup had no controller. under: the name of its lock. row:
 * more members of the claim's row. */
static void put_mover(const struct bench *b, struct kube *k, struct arena *a, const char *under,
                      const char *row)
{
    struct mover_report report = {.verb = "backup", .has_tree = true, .tree = {{7}}};
    struct buf said CLEANUP(buf_free) = {0}, text CLEANUP(buf_free) = {0};
    struct err err;
    mover_report_encode(&report, &said);
    json_t *pod = metadata(mover_pod_name(a, MOVER_BACKUP, "backup-1", "data"), "app");
    json_object_set_new(pod, "uid", json_string("mover-1"));
    json_object_set_new(pod, "labels", json_pack("{s:s}", MOVER_LABEL, "backup-1"));
    json_object_set_new(
        pod, "annotations",
        json_pack("{s:s, s:s}", MOVER_CLAIM_ANNOTATION, "data", MOVER_LOCK_ANNOTATION, under));
    json_t *objects CLEANUP_JSON = json_pack(
        "[{s:s, s:s, s:o, s:{s:s}}, {s:s, s:s, s:o, s:{s:s, s:[{s:s, s:{s:{s:i, s:s}}}]}}]",
        "apiVersion", "v1", "kind", "Service", "metadata",
        metadata(GATEWAY_SERVICE, "gleaner-system"), "spec", "clusterIP", "127.0.0.1", "apiVersion",
        "v1", "kind", "Pod", "metadata", pod, "status", "phase", "Succeeded", "containerStatuses",
        "name", "mover", "state", "terminated", "exitCode", 0, "message", said.p);
    assert_non_null(objects);
    json_print(&text, objects);
    fake_post(b->fake, "objects", text.p);
    assert_int_equal(
        kube_patch(k, a, &KUBE_BACKUP, "gleaner-system", "one", KUBE_PATCH_MERGE,
                   str_of(arena_printf(
                       a,
                       "{\"status\":{\"phase\":\"Volumes\",\"store\":\"local\",\"namespace\":"
                       "\"app\",\"volumes\":[{\"claim\":\"data\",\"phase\":\"Running\"%s}]}}",
                       row)),
                   &(struct kube_write){.subresource = "status"}, NULL, &err),
        0);
}

static bool mover_is_there(struct kube *k, struct arena *a)
{
    struct kube_object pod;
    struct err err;
    if (kube_get(k, a, &KUBE_POD, "app", mover_pod_name(a, MOVER_BACKUP, "backup-1", "data"), &pod,
                 &err) == 0)
        return true;
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    return false;
}

/* What a mover stored that outlived its controller counts if the repository was locked all the
 * while. If it was not, what it relies on may have been pruned: it is made anew, and no try
 * counted.
 */
static void test_mover_outlives_the_lock(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    for (int cut = 0; cut <= 1; cut++) {
        struct bench b;
        bench_up(&b);
        struct kube *k = fake_client(b.fake);
        struct context cx = context_of(&b, k), before = cx;
        struct opened o CLEANUP(store_close) = {0};
        struct outcome out;
        struct lock *lock;
        struct err err;
        before.instance = "before", before.instance_uid = "pod-0";
        struct lock_options options = store_lock_options(&before, a);
        options.line = "backup-backup-1";
        assert_int_equal(store_open(&cx, a, "local", "app", true, &o, &err), 0);
        assert_int_equal(lock_acquire(o.repo, &options, &lock, &err), 0);
        const char *name = arena_strdup(a, lock_name(lock));
        if (cut)
            assert_int_equal(lock_release(lock, &err), 0);
        else
            lock_leave(lock);
        put_mover(&b, k, a, name, "");
        assert_int_equal(gateway_setup(&cx, &err), 0);
        assert_int_equal(backup_reconcile(&cx, a, "gleaner-system", "one", &out, &err), 0);
        assert_int_equal(out.what, OUTCOME_AFTER);
        assert_int_equal(mover_is_there(k, a), !cut);
        assert_int_equal(count_files(b.folder, "locks"), 1);
        struct status st CLEANUP(status_free) = {0};
        assert_int_equal(status_read(k, a, &KUBE_BACKUP, "gleaner-system", "one", &st, &err), 0);
        json_t *row = json_array_get(json_object_get(st.now, "volumes"), 0);
        assert_string_equal(json_text_at(row, "phase", NULL), cut ? "Running" : "Completed");
        assert_null(json_object_get(row, "tries"));
        assert_int_equal(json_integer_value(json_object_get(row, "cuts")), cut);
        /* The next controller's lock goes on with the name, and stays when that one ends too. */
        backup_sessions_end();
        assert_int_equal(lock_confirm_name(o.repo, name, &err), cut ? -1 : 0);
        assert_int_equal(count_files(b.folder, "locks"), 1);
        kube_free(k);
        bench_down(&b);
    }
}

/* The claim is the same before and after, or nobody knows whose bytes were copied. */
static void test_claim_is_made_anew_while_it_is_copied(void **state)
{
    (void)state;
    static const char *const after[] = {"2026-02-02T02:02:02Z", "2026-02-02T02:02:03Z", NULL};
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    for (size_t i = 0; i < ARRAY_LEN(after); i++) {
        struct bench b;
        bench_up(&b);
        struct kube *k = fake_client(b.fake);
        struct context cx = context_of(&b, k);
        struct backup_run run = {.cx = &cx, .a = a, .uid = "backup-1"};
        struct status st CLEANUP(status_free) = {0};
        struct outcome out;
        struct err err;
        put_mover(&b, k, a, "none", ",\"since\":\"2026-02-02T02:02:02Z\"");
        assert_int_equal(status_read(k, a, &KUBE_BACKUP, "gleaner-system", "one", &run.st, &err),
                         0);
        run.kind = "Kustomization", run.target_ns = "flux-system", run.target = "app";
        assert_int_equal(backup_session(&run, &err), 0);
        put_mover(&b, k, a, lock_name(run.session->lock), ",\"since\":\"2026-02-02T02:02:02Z\"");
        backup_session_give(&run);
        status_free(&run.st);
        if (after[i])
            fake_post(b.fake, "objects",
                      arena_printf(a,
                                   "[{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\","
                                   "\"metadata\":{\"name\":\"data\",\"namespace\":\"app\","
                                   "\"creationTimestamp\":\"%s\"}}]",
                                   after[i]));
        assert_int_equal(gateway_setup(&cx, &err), 0);
        assert_int_equal(backup_reconcile(&cx, a, "gleaner-system", "one", &out, &err), 0);
        assert_int_equal(status_read(k, a, &KUBE_BACKUP, "gleaner-system", "one", &st, &err), 0);
        json_t *row = json_array_get(json_object_get(st.now, "volumes"), 0);
        assert_string_equal(json_text_at(row, "phase", NULL),
                            i == 0 ? "Completed" : "PartiallyFailed");
        assert_string_equal(json_text_at(row, "since", NULL), after[0]);
        assert_int_equal(json_object_get(row, "message") != NULL, i > 0);
        backup_sessions_end();
        kube_free(k);
        bench_down(&b);
    }
}

/* So does one of another target with content in the same namespace. One that was given up after it
 * began to write is not passed over in silence. */
static void test_restore_of_another_target(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct bench b;
    const char *message = "";
    bench_up(&b);
    fake_post(b.fake, "objects",
              "[{\"apiVersion\":\"gleaner.dev/v1alpha1\",\"kind\":\"Restore\",\"metadata\":"
              "{\"name\":\"r\",\"namespace\":\"gleaner-system\",\"uid\":\"restore-1\"},"
              "\"status\":{\"phase\":\"Volumes\",\"source\":{\"namespace\":\"app\"}}}]");
    struct kube *k = fake_client(b.fake);
    struct context cx = context_of(&b, k);
    struct outcome o;
    struct err err;
    for (int i = 0; i < 6; i++)
        assert_int_equal(backup_reconcile(&cx, a, "gleaner-system", "one", &o, &err), 0);
    assert_int_equal(o.what, OUTCOME_AFTER);
    assert_string_equal(ready_reason(a, &b, &message), "RestoreInProgress");
    assert_int_equal(count_files(b.folder, "snapshots"), 0);
    for (int n = 0; n < BACKUPS_AT_ONCE; n++) /* whoever waits keeps nobody else waiting */
        assert_true(backup_place_take(arena_printf(a, "other-%d", n), BACKUPS_AT_ONCE));
    assert_int_equal(kube_delete(k, &KUBE_RESTORE, "gleaner-system", "r", NULL, &err), 0);
    assert_int_equal(
        kube_patch(
            k, a, &KUBE_KUSTOMIZATION, "flux-system", "app", KUBE_PATCH_MERGE,
            STR("{\"metadata\":{\"annotations\":{\"gleaner.dev/hold\":\"{\\\"restore\\\":"
                "\\\"gleaner-system/r\\\",\\\"uid\\\":\\\"restore-1\\\",\\\"token\\\":\\\"t\\\","
                "\\\"state\\\":\\\"cleared\\\",\\\"added\\\":[],\\\"before\\\":{}}\"}}}"),
            NULL, NULL, &err),
        0);
    backup_sessions_end();
    kube_free(k);
    assert_int_equal(wait_end(start(&b)), 0);
    assert_string_equal(ready_reason(a, &b, &message), "PartiallyFailed");
    assert_non_null(strstr(message, "Restore gleaner-system/r"));
    bench_down(&b);
}

static void set_backup_status(struct kube *k, struct arena *a, const char *status)
{
    struct err err;
    struct kube_write how = {.subresource = "status"};
    if (kube_patch(k, a, &KUBE_BACKUP, "gleaner-system", "one", KUBE_PATCH_MERGE,
                   str_of(arena_printf(a, "{\"status\":%s}", status)), &how, NULL, &err) < 0)
        fail_msg("%s", err.msg);
}

static str backup_status(struct kube *k, struct arena *a)
{
    struct kube_object o;
    struct err err;
    assert_int_equal(kube_get(k, a, &KUBE_BACKUP, "gleaner-system", "one", &o, &err), 0);
    return raw_get(o.raw, "status");
}

/* What was copied before a Restore is of another time than what is read after it: all of it is
 * copied again, also when only the objects were still to be read. */
static void test_restore_between_volumes(void **state)
{
    (void)state;
    static const char *const phases[] = {"Volumes", "Write"};
    for (size_t n = 0; n < ARRAY_LEN(phases); n++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        struct bench b;
        struct outcome o;
        struct err err;
        str row;
        size_t rows = 0;
        bench_up(&b);
        struct kube *k = fake_client(b.fake);
        struct context cx = context_of(&b, k);
        for (int i = 0; i < 2; i++)
            assert_int_equal(backup_reconcile(&cx, a, "gleaner-system", "one", &o, &err), 0);
        assert_true(raw_is(raw_get(backup_status(k, a), "phase"), "Volumes"));
        set_backup_status(k, a,
                          arena_printf(a,
                                       "{\"phase\":\"%s\",\"volumes\":["
                                       "{\"claim\":\"x\",\"phase\":\"Completed\"},"
                                       "{\"claim\":\"y\",\"phase\":\"Failed\",\"tries\":2},"
                                       "{\"claim\":\"z\",\"phase\":\"%s\"}]}",
                                       phases[n], n == 0 ? "Running" : "Completed"));
        fake_post(b.fake, "objects",
                  "[{\"apiVersion\":\"gleaner.dev/v1alpha1\",\"kind\":\"Restore\",\"metadata\":"
                  "{\"name\":\"r\",\"namespace\":\"gleaner-system\",\"uid\":\"restore-1\"},"
                  "\"status\":{\"phase\":\"Volumes\",\"source\":{\"namespace\":\"app\"}}}]");
        assert_int_equal(backup_reconcile(&cx, a, "gleaner-system", "one", &o, &err), 0);
        str status = backup_status(k, a);
        assert_true(raw_is(raw_get(status, "phase"), "Volumes"));
        for (struct raw_iter it = raw_iter(raw_get(status, "volumes")); raw_next(&it, NULL, &row);
             rows++) {
            assert_true(raw_is(raw_get(row, "phase"), "Pending"));
            assert_null(raw_get(row, "tries").p);
        }
        assert_int_equal(rows, 3);
        backup_sessions_end();
        kube_free(k);
        bench_down(&b);
    }
}

/* A mover that was stopped for a Restore may end well all the same: its answer is not taken. */
static void test_stopped_mover_has_to_go(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct bench b;
    struct outcome o;
    struct err err;
    const char *message = "";
    bench_up(&b);
    struct kube *k = fake_client(b.fake);
    struct context cx = context_of(&b, k);
    for (int i = 0; i < 2; i++)
        assert_int_equal(backup_reconcile(&cx, a, "gleaner-system", "one", &o, &err), 0);
    set_backup_status(k, a,
                      "{\"volumes\":[{\"claim\":\"x\",\"phase\":\"Pending\"}],\"conditions\":["
                      "{\"type\":\"RestoreInProgress\",\"status\":\"True\",\"reason\":"
                      "\"RestoreInProgress\",\"message\":\"\","
                      "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}");
    fake_post(b.fake, "objects",
              "[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"m\","
              "\"namespace\":\"app\",\"labels\":{\"gleaner.dev/mover\":\"backup-1\"},"
              "\"finalizers\":[\"example.com/slow\"]},\"spec\":{}}]");
    assert_int_equal(backup_reconcile(&cx, a, "gleaner-system", "one", &o, &err), 0);
    ready_reason(a, &b, &message);
    assert_non_null(strstr(message, "waiting until a mover"));
    backup_sessions_end();
    kube_free(k);
    bench_down(&b);
}

static int count_backup(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    *(int *)ctx += strncmp(o->name, "hourly-", 7) == 0;
    return 0;
}

/* A week of missed times is made up for by one Backup. */
static void test_schedule_makes_up_once(void **state)
{
    (void)state;
    struct bench b;
    bench_up(&b);
    fake_post(b.fake, "objects",
              "[{\"apiVersion\":\"gleaner.dev/v1alpha1\",\"kind\":\"Schedule\",\"metadata\":"
              "{\"name\":\"hourly\",\"namespace\":\"gleaner-system\",\"uid\":\"s-1\"},\"spec\":"
              "{\"schedule\":\"0 0 1 * *\",\"template\":{\"target\":{\"kind\":\"Kustomization\","
              "\"namespace\":\"flux-system\",\"name\":\"app\"}}},\"status\":{\"lastScheduleTime\":"
              "\"2020-01-01T00:00:00Z\"}}]");
    struct kube *k = fake_client(b.fake);
    struct context cx = context_of(&b, k);
    struct err err;
    int n = 0;
    for (int i = 0; i < 3; i++) {
        struct arena *a CLEANUP(arena_free_p) = arena_new();
        struct outcome o;
        struct kube_object made;
        assert_int_equal(schedule_reconcile(&cx, a, "gleaner-system", "hourly", &o, &err), 0);
        if (i == 0 && kube_patch(k, a, &KUBE_BACKUP, "gleaner-system", "hourly-202002010000",
                                 KUBE_PATCH_MERGE, STR("{\"status\":{\"phase\":\"Completed\"}}"),
                                 &(struct kube_write){.subresource = "status"}, &made, &err) < 0)
            fail_msg("%s", err.msg);
    }
    struct kube_list ours = {.ns = "gleaner-system"};
    assert_int_equal(kube_list(k, &KUBE_BACKUP, &ours, count_backup, &n, NULL, &err), 0);
    assert_int_equal(n, 1);
    kube_free(k);
    bench_down(&b);
}

static void test_refused(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct bench b;
    const char *message;
    bench_up(&b);
    fake_post(b.fake, "objects",
              "[{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"password\","
              "\"namespace\":"
              "\"gleaner-system\"},\"data\":{\"password\":\"c2hvcnQ=\"}}]");
    assert_int_equal(wait_end(start(&b)), 0);
    assert_string_equal(ready_reason(a, &b, &message), "Refused");
    assert_non_null(strstr(message, "password"));
    assert_int_equal(count_files(b.folder, "snapshots"), 0);
    bench_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_at_every_write),
        cmocka_unit_test(test_waits_for_the_api_server),
        cmocka_unit_test(test_waits_for_a_restore),
        cmocka_unit_test(test_waits_for_a_place),
        cmocka_unit_test(test_a_safety_backup_waits_for_no_place),
        cmocka_unit_test(test_session_in_use),
        cmocka_unit_test(test_no_snapshot_of_what_was_pruned),
        cmocka_unit_test(test_mover_outlives_the_lock),
        cmocka_unit_test(test_claim_is_made_anew_while_it_is_copied),
        cmocka_unit_test(test_restore_of_another_target),
        cmocka_unit_test(test_restore_between_volumes),
        cmocka_unit_test(test_stopped_mover_has_to_go),
        cmocka_unit_test(test_schedule_makes_up_once),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
