/* kube: exec plugins, tls-server-name and proxy-url of kubeconfig files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/codec.h"
#include "core/json.h"
#include "fake_child.h"
#include "gateway/server.h"
#include "gateway/tls.h"
#include "kube/client.h"
#include "kube/watch.h"

#define V1 "client.authentication.k8s.io/v1"

static char folder[] = "/tmp/kube-plugin-XXXXXX";

static char *path_of(const char *name)
{
    return xasprintf("%s/%s", folder, name);
}

static void put(const char *name, const char *text, mode_t mode)
{
    char *path CLEANUP(free_p) = path_of(name);
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* What is in the file; absent: "". */
static char *content(const char *name)
{
    char *path CLEANUP(free_p) = path_of(name);
    char *text = xcalloc(1, 4096);
    FILE *f = fopen(path, "r");
    if (f) {
        (void)!fread(text, 1, 4095, f);
        fclose(f);
    }
    return text;
}

/* The plugin: counts itself in "runs", then does what is told. */
static void put_plugin(const char *does)
{
    char *text CLEANUP(free_p) =
        xasprintf("#!/bin/sh\ncd %s || exit 9\necho run >>runs\n%s\n", folder, does);
    put("plugin", text, 0755);
    put("runs", "", 0644);
}

static unsigned runs(void)
{
    char *text CLEANUP(free_p) = content("runs");
    return (unsigned)(strlen(text) / strlen("run\n"));
}

static struct kube_config *configure(const char *server, const char *cluster, const char *exec)
{
    struct kube_config *c;
    struct err err;
    char *text CLEANUP(free_p) = xasprintf(
        "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: '%s'%s}}]\nusers: [{name: u, user: {%s}}]\n",
        server, cluster, exec);
    char *path CLEANUP(free_p) = path_of("config");
    put("config", text, 0600);
    if (kube_config_load(path, NULL, &c, &err) < 0)
        fail_msg("%s", err.msg);
    return c;
}

#define EXEC "exec: {apiVersion: " V1 ", interactiveMode: Never, command: ./plugin"

static struct kube_config *with_plugin(void)
{
    return configure("https://h:6443", "", EXEC "}");
}

#define ANSWER(status)                                                                             \
    "printf '%s' '{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"status\":" status "}'"

static void expect(struct kube_config *c, const char *token, const char *cert, const char *key)
{
    struct kube_credentials user CLEANUP(kube_credentials_free) = {0};
    struct err err;
    if (kube_config_credentials(c, &user, &err) < 0)
        fail_msg("%s", err.msg);
    const char *const pairs[][2] = {
        {user.token, token}, {user.client_cert, cert}, {user.client_key, key}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (!streq(pairs[i][0], pairs[i][1]))
            fail_msg("%zu: %s", i, pairs[i][0] ? pairs[i][0] : "nothing");
}

static void test_token_and_certificate(void **state)
{
    (void)state;
    put_plugin(ANSWER("{\"token\":\"one\"}"));
    struct kube_config *c = with_plugin();
    assert_int_equal(runs(), 0); /* loading runs nothing */
    expect(c, "one", NULL, NULL);
    expect(c, "one", NULL, NULL);
    assert_int_equal(runs(), 1);
    put_plugin(ANSWER("{\"clientCertificateData\":\"C\\nD\",\"clientKeyData\":\"K\"}"));
    kube_config_drop_token(c);
    expect(c, NULL, "C\nD", "K"); /* the token of before is gone */
    kube_config_free(c);
}

static int64_t fake_time;

static int64_t fake_now(void)
{
    return fake_time;
}

static void test_expiry(void **state)
{
    (void)state;
    assert_true(clock_parse(STR("2030-01-01T00:00:00Z"), &fake_time));
    clock_override(fake_now);
    put_plugin(ANSWER("{\"token\":\"one\",\"expirationTimestamp\":\"2030-01-01T01:00:00Z\"}"));
    struct kube_config *c = with_plugin();
    expect(c, "one", NULL, NULL);
    fake_time += 59 * 60000 - 1;
    put_plugin(ANSWER("{\"token\":\"two\",\"expirationTimestamp\":\"2030-01-01T02:00:00+01:00\"}"));
    expect(c, "one", NULL, NULL);
    assert_int_equal(runs(), 0);
    fake_time += 1; /* a minute before its end */
    expect(c, "two", NULL, NULL);
    expect(c, "two", NULL, NULL);
    assert_int_equal(runs(), 2); /* that one was old already */
    kube_config_free(c);
    clock_override(NULL);
}

/* Each names the command and the hint, and nothing that the command printed. */
static void test_failures(void **state)
{
    (void)state;
    static const struct {
        const char *does, *says;
    } rows[] = {
        {"echo hunter2; exit 3", "exit code 3"},
        {"kill -9 $$", "signal 9"},
        {"", "no ExecCredential"},
        {"echo hunter2", "no ExecCredential"},
        {"echo '{\"token\":\"hunter2\"'", "no ExecCredential"},
        {"echo '{\"kind\":\"Pod\",\"status\":{\"token\":\"hunter2\"}}'", "no ExecCredential"},
        {"echo "
         "'{\"kind\":\"ExecCredential\",\"apiVersion\":\"v2\",\"status\":{\"token\":\"hunter2\""
         "}}'",
         "is not of " V1},
        {ANSWER("null"), "without a token"},
        {ANSWER("{\"token\":\"\",\"note\":\"hunter2\"}"), "without a token"},
        {ANSWER("{\"token\":\"hunter2\\r\\nX: y\"}"), "control characters"},
        {ANSWER("{\"clientKeyData\":\"hunter2\"}"), "without a certificate"},
        {ANSWER("{\"token\":\"hunter2\",\"expirationTimestamp\":\"soon\"}"), "expirationTimestamp"},
        {"head -c 1100000 /dev/zero; echo hunter2", "1048576 bytes"},
    };
    struct kube_config *c = configure("https://h", "", EXEC ", installHint: 'Get it\n\n  there'}");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct kube_credentials user;
        struct err err = {0};
        put_plugin(rows[i].does);
        assert_int_equal(kube_config_credentials(c, &user, &err), -1);
        if (!strstr(err.msg, rows[i].says) || !strstr(err.msg, "/plugin ") ||
            !strstr(err.msg, "there") || strstr(err.msg, "hunter2"))
            fail_msg("%zu: %s", i, err.msg);
        assert_int_equal(err.kind, ERR_UNAUTHORIZED);
    }
    put_plugin(ANSWER("{\"token\":\"one\"}"));
    expect(c, "one", NULL, NULL); /* a failure is not remembered */
    kube_config_free(c);
}

static void expect_failure(const char *exec, const char *says)
{
    struct kube_config *c = configure("https://h", "", exec);
    struct kube_credentials user;
    struct err err = {0};
    assert_int_equal(kube_config_credentials(c, &user, &err), -1);
    if (!strstr(err.msg, says))
        fail_msg("%s", err.msg);
    kube_config_free(c);
}

#define BETA "exec: {apiVersion: client.authentication.k8s.io/v1beta1, installHint: get it, "

static void test_where_the_command_is(void **state)
{
    (void)state;
    put_plugin(ANSWER("{\"token\":\"one\"}"));
    expect_failure(BETA "command: gleaner-no-such-plugin}",
                   "gleaner-no-such-plugin was not found: get it");
    expect_failure(BETA "command: ./none}", "/none was not found: get it");
    expect_failure(BETA "command: ./config}", "/config cannot be run");
    char *was CLEANUP(free_p) = xstrdup(getenv("PATH"));
    char *path CLEANUP(free_p) = xasprintf("%s:%s", folder, was);
    setenv("PATH", path, 1);
    struct kube_config *c = configure(
        "https://h", "", "exec: {apiVersion: " V1 ", interactiveMode: Never, command: plugin}");
    expect(c, "one", NULL, NULL);
    kube_config_free(c);
    setenv("PATH", was, 1);
}

/* Arguments, environment and KUBERNETES_EXEC_INFO as the plugin sees them. */
static void test_what_it_is_told(void **state)
{
    (void)state;
    put_plugin("printf '%s,' \"$@\" \"$GLEANER_OURS\" \"$GLEANER_BOTH\" \"$GLEANER_THEIRS\" >args\n"
               "printf '%s' \"$KUBERNETES_EXEC_INFO\" >info\ncat >stdin\necho heard >&2\n" ANSWER(
                   "{\"token\":\"one\"}"));
    setenv("GLEANER_OURS", "a", 1);
    setenv("GLEANER_BOTH", "b", 1);
    setenv("KUBERNETES_EXEC_INFO", "of an outer one", 1);
    struct kube_config *c = configure(
        "https://h:6443", ", certificate-authority-data: 'Q0E=', tls-server-name: n.example",
        EXEC ", args: ['x y', '', '$z'], provideClusterInfo: true, env: "
             "[{name: GLEANER_BOTH, value: c}, {name: GLEANER_THEIRS, value: d}]}");
    expect(c, "one", NULL, NULL);
    kube_config_free(c);
    char *args CLEANUP(free_p) = content("args"), *info CLEANUP(free_p) = content("info");
    char *in CLEANUP(free_p) = content("stdin");
    assert_string_equal(args, "x y,,$z,a,c,d,");
    assert_string_equal(in, "");
    assert_string_equal(info, "{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"spec\":"
                              "{\"interactive\":false,\"cluster\":{\"server\":\"https://h:6443\","
                              "\"tls-server-name\":\"n.example\","
                              "\"certificate-authority-data\":\"Q0E=\"}}}");
    c = with_plugin();
    expect(c, "one", NULL, NULL);
    kube_config_free(c);
    char *less CLEANUP(free_p) = content("info");
    assert_string_equal(less, "{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"spec\":"
                              "{\"interactive\":false}}");
    unsetenv("KUBERNETES_EXEC_INFO");
}

/* A terminal in place of our stdin: the plugin reads from it, and is told that it may. */
static void test_it_may_ask_at_a_terminal(void **state)
{
    (void)state;
    int was = dup(STDIN_FILENO), terminal = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(was >= 0 && terminal >= 0);
    assert_int_equal(grantpt(terminal) + unlockpt(terminal), 0);
    int end = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    assert_true(end >= 0);
    put_plugin("read -r said\nprintf '%s' \"$KUBERNETES_EXEC_INFO\" >info\n"
               "echo \"{\\\"apiVersion\\\":\\\"$GLEANER_VERSION\\\",\\\"kind\\\":"
               "\\\"ExecCredential\\\",\\\"status\\\":{\\\"token\\\":\\\"t$said\\\"}}\"");
#define ASKS(version, more)                                                                        \
    "exec: {apiVersion: " version ", command: ./plugin" more                                       \
    ", env: [{name: GLEANER_VERSION, value: '" version "'}]}"
    struct kube_config *may = configure("https://h", "", ASKS(V1 "beta1", ""));
    struct kube_config *must = configure("https://h", "", ASKS(V1, ", interactiveMode: Always"));
    struct kube_config *never = configure("https://h", "", ASKS(V1, ", interactiveMode: Never"));
    dup2(end, STDIN_FILENO);
    assert_int_equal(write(terminal, "1\n2\n3\n", 6), 6);
    expect(may, "t1", NULL, NULL);
    char *info CLEANUP(free_p) = content("info");
    assert_non_null(strstr(info, "\"interactive\":true"));
    expect(must, "t2", NULL, NULL);
    expect(never, "t", NULL, NULL);
    int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    kube_config_drop_token(may);
    kube_config_drop_token(must);
    expect(may, "t", NULL, NULL);
    struct kube_credentials user;
    struct err err = {0};
    assert_int_equal(kube_config_credentials(must, &user, &err), -1);
    assert_non_null(strstr(err.msg, "no terminal"));
    dup2(was, STDIN_FILENO);
    kube_config_free(may);
    kube_config_free(must);
    kube_config_free(never);
    close(null);
    close(end);
    close(terminal);
    close(was);
}

static void *ask_for_token(void *c)
{
    expect(c, "one", NULL, NULL);
    return NULL;
}

static void test_threads_share_one_run(void **state)
{
    (void)state;
    pthread_t threads[8];
    put_plugin(ANSWER("{\"token\":\"one\"}"));
    struct kube_config *c = with_plugin();
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_token, c), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(runs(), 1);
    kube_config_free(c);
}

/* ---- on the network ---- */

static int get_version(struct kube *k, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    str body;
    *err = (struct err){0};
    return kube_get_path(k, a, "/version", &body, err);
}

static struct kube *client_of(struct kube_config *c)
{
    struct kube *k;
    struct err err;
    assert_int_equal(kube_new(c, &k, &err), 0);
    return k;
}

static void test_unauthorized_runs_it_again(void **state)
{
    (void)state;
    struct fake_child *fake = fake_start(NULL);
    put_plugin(ANSWER("{\"token\":\"one\"}"));
    struct kube *k = client_of(configure(fake_url(fake), "", EXEC "}"));
    struct err err;
    assert_int_equal(get_version(k, &err), 0);
    assert_int_equal(get_version(k, &err), 0);
    assert_int_equal(runs(), 1);
    fake_post(fake, "faults", "{\"do\":\"status\",\"code\":401}");
    assert_int_equal(get_version(k, &err), 0);
    assert_int_equal(runs(), 2);
    put_plugin("exit 3"); /* the request is not sent at all, nor tried again and again */
    fake_post(fake, "faults", "{\"do\":\"status\",\"code\":401}");
    assert_int_equal(get_version(k, &err), -1);
    assert_int_equal(runs(), 1);
    assert_non_null(strstr(err.msg, "exit code 3"));
    kube_free(k);
    fake_stop(fake);
}

static void stop_loop(void *ctx, const struct kube_type *t, const struct err *err)
{
    (void)t;
    struct kube_watch **watch = ctx;
    assert_non_null(strstr(err->msg, "exit code 3"));
    kube_watch_stop(*watch);
    *watch = NULL;
}

static void no_event(void *ctx, enum kube_event event, const struct kube_object *o)
{
    (void)ctx, (void)o;
    fail_msg("event %d", event);
}

static void test_watch_without_credentials(void **state)
{
    (void)state;
    put_plugin("exit 3");
    struct kube *k = client_of(configure("https://h", "", EXEC "}"));
    struct kube_watch *watch = NULL;
    struct kube_watch_options options = {.failed = stop_loop};
    uv_loop_t loop;
    struct err err;
    uv_loop_init(&loop);
    assert_int_equal(
        kube_watch_start(&loop, k, &KUBE_CONFIGMAP, &options, no_event, &watch, &watch, &err), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_null(watch);
    assert_int_equal(uv_loop_close(&loop), 0);
    kube_free(k);
}

static int nobody(void *ctx, const char *token, struct gateway_identity *ret, struct err *err)
{
    (void)err;
    snprintf(ctx, 64, "%s", token);
    *ret = (struct gateway_identity){0};
    return 0;
}

/* A server with a certificate of another name than its address; the token that it is sent. */
static void test_tls_server_name(void **state)
{
    (void)state;
    struct gateway_certificate cert;
    struct gateway *g;
    struct err err;
    char token[64] = "";
    static const char *const names[] = {"api.example", NULL};
    assert_int_equal(gateway_make_certificate(names, NULL, 10, &cert, &err), 0);
    struct gateway_options options = {.listen = "127.0.0.1:0",
                                      .cert_pem = cert.cert_pem,
                                      .key_pem = cert.key_pem,
                                      .local_root = folder,
                                      .controller = "c",
                                      .review = nobody,
                                      .review_ctx = token};
    assert_int_equal(gateway_start(&options, &g, &err), 0);
    put_plugin(ANSWER("{\"token\":\"sent\"}"));
    struct buf ca CLEANUP(buf_free) = {0};
    base64_encode(&ca, cert.ca_pem, strlen(cert.ca_pem));
    char *server CLEANUP(free_p) = xasprintf("https://127.0.0.1:%u/base", gateway_port(g));
    static const struct {
        const char *name;
        int http;
    } rows[] = {
        {"", 0}, {", tls-server-name: else.example", 0}, {", tls-server-name: api.example", 401}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *cluster CLEANUP(free_p) =
            xasprintf(", certificate-authority-data: '%s'%s", ca.p, rows[i].name);
        struct kube *k = client_of(configure(server, cluster, EXEC "}"));
        assert_int_equal(get_version(k, &err), -1);
        if (err.http != rows[i].http)
            fail_msg("%zu: %s", i, err.msg);
        assert_string_equal(token, rows[i].http ? "sent" : "");
        kube_free(k);
    }
    gateway_stop(g);
    gateway_certificate_free(&cert);
}

static void *hear_one(void *listener)
{
    int fd = accept(*(int *)listener, NULL, NULL);
    char *said = xcalloc(1, 512);
    (void)!read(fd, said, 511);
    close(fd);
    return said;
}

static void test_proxy(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, n), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &n), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, hear_one, &listener), 0);
    char *proxy CLEANUP(free_p) =
        xasprintf(", proxy-url: 'http://127.0.0.1:%u'", ntohs(at.sin_port));
    setenv("NO_PROXY", "*", 1);
    struct kube *k = client_of(configure("https://api.example:6443", proxy, "token: t"));
    struct err err;
    kube_set_timeout(k, 50); /* the repeats meet nobody */
    assert_int_equal(get_version(k, &err), -1);
    void *said;
    pthread_join(thread, &said);
    assert_true(str_starts(str_of(said), "CONNECT api.example:6443 "));
    free(said);
    unsetenv("NO_PROXY");
    close(listener);
    kube_free(k);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"plugin", "runs", "config", "args", "info", "stdin"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path CLEANUP(free_p) = path_of(names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_and_certificate),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_where_the_command_is),
        cmocka_unit_test(test_what_it_is_told),
        cmocka_unit_test(test_it_may_ask_at_a_terminal),
        cmocka_unit_test(test_threads_share_one_run),
        cmocka_unit_test(test_unauthorized_runs_it_again),
        cmocka_unit_test(test_watch_without_credentials),
        cmocka_unit_test(test_tls_server_name),
        cmocka_unit_test(test_proxy),
    };
    return cmocka_run_group_tests_name("kube/plugin", tests, make_folder, remove_folder);
}
