/* Clients of the gateway as they are: stock restic, and the mover's own process. */
#include "gateway_support.h"

#include "core/proc.h"
#include "mover/mover.h"
#include "mover/report.h"

static const char program[] = "/proc/self/exe";
static char restic[] = "/usr/bin/restic";

/* ---- stock restic ---- */

struct run {
    int code;
    char *out, *errors;
};

static struct run run_restic(struct world *w, const char *repository, const char *token,
                             const char *seconds, const char *const *words)
{
    struct err err = {0};
    struct proc_result result = {0};
    char *url =
        xasprintf("rest:https://x:%s@%s/%s/", token, w->url + strlen("https://"), repository);
    const char *argv[20] = {"/usr/bin/timeout", seconds,     restic, "--no-cache",
                            "--cacert",         in(w, "ca"), "-r",   url};
    size_t n = 8;
    if (!streq(words[0], "forget")) /* it does not know the option */
        argv[n++] = "--no-lock";
    while (*words)
        argv[n++] = *words++;
    const char *const env[] = {"RESTIC_PASSWORD=" TENANT_PASSWORD, "HOME=/nonexistent",
                               "PATH=/usr/bin:/bin", NULL};
    struct proc_request request = {.argv = argv, .env = env, .timeout_ms = 90000};
    if (proc_run(&request, &result, &err) < 0)
        fail_msg("%s", err.msg);
    struct run r = {result.exit_code, xstrdup(result.output.p ? result.output.p : ""),
                    xstrdup(result.errors.p ? result.errors.p : "")};
    proc_result_free(&result);
    free(url);
    return r;
}

static void run_free(struct run *r)
{
    free(r->out);
    free(r->errors);
}

#define RESTIC(...)                                                                                \
    run_restic(w, "abc/shop", "token.mover", "60", (const char *const[]){__VA_ARGS__, NULL})

/* restic repeats what was refused for up to a quarter of an hour: its first words are enough. On a
 * busy machine they come late. */
static struct run run_refused(struct world *w, const char *const *words)
{
    static const char *const seconds[] = {"2", "10", "60"};
    struct run r = {0};
    for (size_t i = 0; i < ARRAY_LEN(seconds) && !(r.errors && strstr(r.errors, "403")); i++) {
        run_free(&r);
        r = run_restic(w, "abc/shop", "token.mover", seconds[i], words);
    }
    return r;
}

static void stock_restic_reads_and_is_refused(void **state)
{
    struct world *w = *state;
    if (access(restic, X_OK) != 0)
        fail_msg("this test needs %s", restic);
    admit(w, "pod-mover", "abc/shop", true, 0);
    admit(w, "pod-other", "abc/blog", true, 0);
    char *pack = hex_of(&w->pack), *index = hex_of(&w->index);
    struct run r CLEANUP(run_free) = RESTIC("cat", "config");
    if (r.code)
        fail_msg("cat config: %s", r.errors);
    assert_non_null(strstr(r.out, "chunker_polynomial"));
    struct run indexes CLEANUP(run_free) = RESTIC("list", "index");
    assert_int_equal(indexes.code, 0);
    assert_non_null(strstr(indexes.out, index));
    struct run packs CLEANUP(run_free) = RESTIC("list", "packs");
    assert_int_equal(packs.code, 0);
    assert_non_null(strstr(packs.out, pack));
    struct run cat CLEANUP(run_free) = RESTIC("cat", "index", index);
    assert_int_equal(cat.code, 0);
    static const char *const refused[][4] = {
        {"snapshots"}, {"backup", "/etc/hostname"}, {"forget", "latest"}};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct run no CLEANUP(run_free) = run_refused(w, refused[i]);
        if (no.code == 0 || !strstr(no.errors, "403"))
            fail_msg("%s: exit %d, %s", refused[i][0], no.code, no.errors);
        assert_null(strstr(no.out, "test")); /* the snapshot's host */
    }
    struct run wrong CLEANUP(run_free) =
        run_restic(w, "abc/shop", "token.other", "3", (const char *const[]){"cat", "config", NULL});
    assert_int_not_equal(wrong.code, 0);
    assert_null(strstr(wrong.out, "chunker"));
    free(pack);
    free(index);
}

/* ---- the mover's process ---- */

static struct run run_mover(struct world *w, const char *verb, const char *token, const char *tree,
                            const char *root)
{
    struct err err = {0};
    struct proc_result result = {0};
    const char *argv[] = {program, "mover", verb, NULL};
    put(in(w, "token"), token);
    const char *settings[][2] = {{MOVER_ENV_GATEWAY, w->url},
                                 {MOVER_ENV_CA, w->certificate.ca_pem},
                                 {MOVER_ENV_REPOSITORY, "abc/shop"},
                                 {MOVER_ENV_TREE, tree},
                                 {MOVER_ENV_ROOT, root},
                                 {MOVER_ENV_TOKEN_FILE, in(w, "token")},
                                 {MOVER_ENV_VOLUME, in(w, "volume")},
                                 {MOVER_ENV_TERMINATION, in(w, "report")}};
    const char *env[ARRAY_LEN(settings) + 1] = {0};
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        env[i] = xasprintf("%s=%s", settings[i][0], settings[i][1]);
    struct proc_request request = {.argv = argv, .env = env, .timeout_ms = 90000};
    if (proc_run(&request, &result, &err) < 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        free((char *)(uintptr_t)env[i]);
    struct run r = {result.exit_code, xstrdup(result.output.p ? result.output.p : ""),
                    xstrdup(result.errors.p ? result.errors.p : "")};
    assert_null(strstr(r.errors, TENANT_PASSWORD));
    assert_null(strstr(r.errors, token));
    proc_result_free(&result);
    return r;
}

static struct mover_report read_report(struct world *w)
{
    char text[8192] = "";
    struct mover_report report = {0};
    struct err err = {0};
    FILE *f = fopen(in(w, "report"), "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    if (mover_report_decode((str){text, n}, &report, &err) < 0)
        fail_msg("%s: %s", err.msg, text);
    return report;
}

/* The controller, which registers the pod only when it has seen it. */
static void *register_late(void *world)
{
    while (atomic_load(&reviews) == 0)
        sched_yield();
    admit(world, "pod-late", "abc/shop", true, 0);
    return NULL;
}

static void a_volume_goes_there_and_back(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    struct lock *lock = NULL;
    struct lock_options options = {.hostname = "h", .username = LOCK_NAME, .settle_ms = 1};
    pthread_t controller;
    mkdir(in(w, "volume"), 0750);
    mkdir(in(w, "volume/data"), 0755);
    put(in(w, "volume/data/file"), "the bytes of a volume");
    put(in(w, "volume/top"), "more");
    assert_int_equal(mkfifo(in(w, "volume/pipe"), 0600), 0);
    assert_int_equal(lock_acquire(w->repo, &options, &lock, &err), 0);
    assert_int_equal(pthread_create(&controller, NULL, register_late, w), 0);
    struct run saved CLEANUP(run_free) = run_mover(w, "backup", "token.late", "", "");
    pthread_join(controller, NULL);
    if (saved.code != MOVER_EXIT_DONE)
        fail_msg("%d: %s", saved.code, saved.errors);
    struct mover_report report = read_report(w);
    assert_string_equal(report.verb, "backup");
    assert_true(report.has_tree);
    assert_int_equal(report.files, 2);
    assert_int_equal(report.problems, 0);
    assert_non_null(strstr(report.root, "0750:"));

    put(in(w, "volume/data/file"), "something else");
    put(in(w, "volume/extra"), "x");
    unlink(in(w, "volume/top"));
    char *tree = hex_of(&report.tree);
    admit(w, "pod-reader", "abc/shop", false, 0); /* a restore may not write */
    struct run back CLEANUP(run_free) = run_mover(w, "restore", "token.reader", tree, report.root);
    if (back.code != MOVER_EXIT_DONE)
        fail_msg("%d: %s", back.code, back.errors);
    report = read_report(w);
    assert_int_equal(report.removed, 1);
    char text[64] = "";
    FILE *f = fopen(in(w, "volume/data/file"), "r");
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    assert_string_equal(text, "the bytes of a volume");
    assert_int_equal(access(in(w, "volume/extra"), F_OK), -1);
    assert_int_equal(access(in(w, "volume/top"), F_OK), 0);

    /* Without the holder's lock nothing of a backup becomes visible. */
    assert_int_equal(lock_release(lock, &err), 0);
    put(in(w, "volume/new"), "not in the store yet");
    struct run late CLEANUP(run_free) = run_mover(w, "backup", "token.late", tree, "");
    assert_int_equal(late.code, MOVER_EXIT_FAILED);
    report = read_report(w);
    assert_string_equal(report.error_kind, "forbidden");
    free(tree);
}

static void reports_fit_and_come_back(void **state)
{
    (void)state;
    struct mover_report r = {.verb = "backup", .has_tree = true, .files = 7, .has_list = true},
                        back;
    struct buf text = {0};
    struct err err = {0};
    char path[600], what[600];
    memset(path, '\x01', sizeof path - 1); /* six bytes each in JSON */
    path[sizeof path - 1] = '\0';
    memset(what, '"', sizeof what - 1);
    what[sizeof what - 1] = '\0';
    for (int i = 0; i < 50; i++)
        mover_report_problem(&r, i ? path : "/first", i ? what : "is odd");
    memset(r.error, '\\', sizeof r.error - 1);
    strcpy(r.root, "0755:1:2:3.000000004");
    mover_report_encode(&r, &text);
    assert_true(text.n <= MOVER_REPORT_MAX);
    if (mover_report_decode(buf_view(&text), &back, &err) < 0)
        fail_msg("%s: %s", err.msg, text.p);
    assert_int_equal(back.problems, 50);
    assert_true(back.first_n >= 1 && back.first_n < MOVER_REPORT_PROBLEMS);
    assert_string_equal(back.first[0].path, "/first");
    assert_string_equal(back.root, r.root);
    assert_true(back.has_list);
    static const char *const bad[] = {"",
                                      "{}",
                                      "[1]",
                                      "{\"v\":2}",
                                      "{\"v\":1,\"files\":-1}",
                                      "{\"v\":1,\"files\":\"x\"}",
                                      "{\"v\":1,\"tree\":\"abc\"}",
                                      "{\"v\":1,\"problems\":0,\"first\":[{\"path\":\"/a\"}]}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(mover_report_decode(str_of(bad[i]), &back, &err), -1);
    buf_free(&text);
}

int main(int argc, char **argv)
{
    if (argc == 3 && streq(argv[1], "mover"))
        return mover_main(argc - 1, argv + 1);
    curl_global_init(CURL_GLOBAL_DEFAULT);
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(stock_restic_reads_and_is_refused),
        CASE(a_volume_goes_there_and_back),
        cmocka_unit_test(reports_fit_and_come_back),
    };
    return cmocka_run_group_tests_name("gateway/mover", tests, NULL, NULL);
}
