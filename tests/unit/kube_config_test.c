/* kube: kubeconfig files and the account of a pod. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "kube/config_private.h"

#define CONTEXT(name, cluster, user)                                                               \
    "{name: " name ", context: {cluster: " cluster ", user: " user ", namespace: " name "-ns}}"

static int read_texts(const char *const *texts, size_t n, const char *context,
                      struct kube_config **ret, struct err *err)
{
    struct kubeconfig_text t[4];
    for (size_t i = 0; i < n; i++)
        t[i] = (struct kubeconfig_text){i ? "/two/config" : "/one/config", str_of(texts[i])};
    struct kube_config *c = config_new();
    int r = kubeconfig_read(t, n, context, c, err);
    if (r == 0)
        *ret = c;
    else
        kube_config_free(c);
    return r;
}

static void expect_ca(struct kube_config *c, const char *want)
{
    char *ca CLEANUP(free_p) = kube_config_ca(c);
    assert_string_equal(ca, want);
}

static void expect_token(struct kube_config *c, const char *want)
{
    struct kube_credentials user CLEANUP(kube_credentials_free) = {0};
    assert_int_equal(kube_config_credentials(c, &user, NULL), 0);
    assert_string_equal(user.token, want);
}

static void test_first_file_wins(void **state)
{
    (void)state;
    const char *const texts[] = {
        "current-context: a\n"
        "contexts: [" CONTEXT(
            "a", "c1", "u1") "]\n"
                             "clusters: [{name: c1, cluster: {server: 'https://one:6443/'}}]\n",
        "current-context: b\n"
        "contexts: [" CONTEXT("a", "c2", "u1") ", " CONTEXT(
            "b", "c2",
            "u1") "]\n"
                  "clusters: [{name: c1, cluster: {server: 'https://wrong'}},\n"
                  "           {name: c2, cluster: {server: 'https://[::2]:1',\n"
                  "            insecure-skip-tls-verify: true, certificate-authority-data: "
                  "'Q0E='}}]\n"
                  "users: [{name: u1, user: {token: 'null', client-certificate-data: QQ==,\n"
                  "         client-key-data: Qg==}}]\n"};
    struct kube_config *c;
    struct err err = {0};
    assert_int_equal(read_texts(texts, 2, NULL, &c, &err), 0);
    assert_string_equal(kube_config_server(c), "https://one:6443");
    assert_string_equal(kube_config_namespace(c), "a-ns");
    struct kube_credentials user CLEANUP(kube_credentials_free) = {0};
    assert_int_equal(kube_config_credentials(c, &user, &err), 0);
    assert_string_equal(user.client_cert, "A");
    assert_string_equal(user.client_key, "B");
    assert_string_equal(user.token, "null"); /* quoted: a text */
    assert_null(kube_config_ca(c));
    assert_false(kube_config_insecure(c));
    kube_config_free(c);
    assert_int_equal(read_texts(texts, 2, "b", &c, &err), 0);
    assert_string_equal(kube_config_server(c), "https://[::2]:1");
    assert_true(kube_config_insecure(c));
    expect_ca(c, "CA");
    kube_config_free(c);
}

#define HEAD "current-context: a\ncontexts: [" CONTEXT("a", "c", "u") "]\n"
#define CLUSTER HEAD "clusters: [{name: c, cluster: {server: 'https://h'}}]\n"

#define EXEC(text) CLUSTER "users: [{name: u, user: {exec: {command: aws, " text "}}}]"
#define V1BETA1 "apiVersion: client.authentication.k8s.io/v1beta1"

static void test_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *text, *names;
    } rows[] = {
        {"", "current-context"},
        {"a: [", "/one/config"},
        {"current-context: z", "\"z\""},
        {HEAD, "cluster \"c\""},
        {CLUSTER, "user \"u\""},
        {HEAD "clusters: [{name: c, cluster: {}}]\nusers: [{name: u, user: {}}]", "server"},
        {HEAD "clusters: [{name: c, cluster: {server: 'ftp://h'}}]\nusers: [{name: u, user: {}}]",
         "ftp://h"},
        {HEAD "clusters: [{name: c, cluster: {server: 'http://h'}}]\nusers: [{name: u, user: {}}]",
         "loopback"},
        {HEAD "clusters: [{name: c, cluster: {server: 'http://localhost.evil'}}]\n"
              "users: [{name: u, user: {}}]",
         "loopback"},
        {HEAD
         "clusters: [{name: c, cluster: {server: 'https://u@h'}}]\nusers: [{name: u, user: {}}]",
         "server"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h', proxy-url: 'ftp://p'}}]",
         "proxy-url"},
        {HEAD "clusters: [{name: c, cluster: {server: 'http://[::1]', proxy-url: 'http://p'}}]\n"
              "users: [{name: u, user: {}}]",
         "without a proxy"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h', tls-server-name: 'a/b'}}]",
         "a/b"},
        {HEAD
         "clusters: [{name: c, cluster: {server: 'https://h', certificate-authority-data: '*'}}]",
         "certificate-authority-data"},
        {CLUSTER "users: [{name: u, user: {exec: aws}}]", "exec has no command"},
        {CLUSTER "users: [{name: u, user: {exec: {args: [a]}}}]", "exec has no command"},
        {EXEC("apiVersion: client.authentication.k8s.io/v1alpha1"), "v1alpha1"},
        {EXEC("apiVersion: client.authentication.k8s.io/v1"), "interactiveMode"},
        {EXEC(V1BETA1 ", interactiveMode: Sometimes"), "interactiveMode"},
        {HEAD "clusters: [{name: c, cluster: {server: 'https://h', extensions: [{name: "
              "client.authentication.k8s.io/exec, extension: {a: b}}]}}]\n"
              "users: [{name: u, user: {exec: {command: aws, provideClusterInfo: true, " V1BETA1
              "}}}]",
         "extension"},
        {EXEC(V1BETA1 ", args: {a: b}"), "exec: args"},
        {EXEC(V1BETA1 ", args: [[a]]"), "exec: args"},
        {EXEC(V1BETA1 ", env: [{value: b}]"), "exec: env"},
        {EXEC(V1BETA1 ", env: [{name: 'A=B', value: b}]"), "exec: env"},
        {CLUSTER "users: [{name: u, user: {auth-provider: {name: gcp}}}]", "auth-provider"},
        {CLUSTER "users: [{name: u, user: {as: root}}]", " as,"},
        {CLUSTER "users: [{name: u, user: {client-certificate-data: QQ==}}]", "client key"},
        {CLUSTER "users: [{name: u, user: {client-certificate: none.crt}}]", "/one/none.crt"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct kube_config *c;
        struct err err = {0};
        if (read_texts(&rows[i].text, 1, NULL, &c, &err) == 0)
            fail_msg("row %zu (%s) is accepted", i, rows[i].names);
        if (!strstr(err.msg, rows[i].names))
            fail_msg("row %zu: \"%s\" does not name %s", i, err.msg, rows[i].names);
    }
}

/* What is told about a plugin, with defaults; a token that is there already wins. Nothing runs. */
static void test_exec_is_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        EXEC(V1BETA1 ", args: [a, '', 3], env: [{name: N, value: 'v=w'}, {name: E}], "
                     "provideClusterInfo: true, installHint: \"get\\e[1m\\nit\""),
        CLUSTER "users: [{name: u, user: {exec: {command: ./bin/aws, interactiveMode: Always, "
                "apiVersion: client.authentication.k8s.io/v1}}}]",
        CLUSTER "users: [{name: u, user: {token: t, exec: {command: /nowhere/at/all}}}]"};
    struct kube_config *c[3];
    struct err err = {0};
    for (size_t i = 0; i < 3; i++)
        if (read_texts(&texts[i], 1, NULL, &c[i], &err) < 0)
            fail_msg("%zu: %s", i, err.msg);
    const struct plugin *p = c[0]->plugin, *q = c[1]->plugin;
    assert_string_equal(p->argv[0], "aws");
    assert_string_equal(p->argv[1], "a");
    assert_string_equal(p->argv[2], "");
    assert_string_equal(p->argv[3], "3");
    assert_null(p->argv[4]);
    assert_string_equal(p->env[0], "N=v=w");
    assert_string_equal(p->env[1], "E=");
    assert_null(p->env[2]);
    assert_true(p->tells_cluster);
    assert_string_equal(p->hint, "get [1m it");
    assert_int_equal(p->in, PLUGIN_IF_TERMINAL);
    assert_string_equal(q->argv[0], "/one/./bin/aws");
    assert_null(q->argv[1]);
    assert_int_equal(q->in, PLUGIN_ALWAYS);
    assert_false(q->tells_cluster);
    assert_null(q->hint);
    assert_null(c[2]->plugin);
    expect_token(c[2], "t");
    for (size_t i = 0; i < 3; i++)
        kube_config_free(c[i]);
}

static void test_loopback_http(void **state)
{
    (void)state;
    static const char *const good[] = {"http://127.0.0.1:8080", "http://localhost",
                                       "http://[::1]:1"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct kube_config *c = config_new();
        struct err err = {0};
        c->server = xstrdup(good[i]);
        assert_int_equal(config_check(c, "test", &err), 0);
        assert_string_equal(kube_config_namespace(c), "default");
        kube_config_free(c);
    }
}

static int64_t fake_time;

static int64_t fake_now(void)
{
    return fake_time;
}

static void put_file(const char *folder, const char *name, const char *text)
{
    char *path CLEANUP(free_p) = xasprintf("%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void remove_file(const char *folder, const char *name)
{
    char *path CLEANUP(free_p) = xasprintf("%s/%s", folder, name);
    unlink(path);
}

static void test_in_cluster_token(void **state)
{
    (void)state;
    char folder[] = "/tmp/kube-account-XXXXXX";
    struct kube_config *c = config_new();
    struct err err = {0};
    assert_non_null(mkdtemp(folder));
    fake_time = 1000000;
    clock_override(fake_now);
    assert_int_equal(config_in_cluster("fd00::1", "443", folder, c, &err), -1);
    assert_non_null(strstr(err.msg, "ca.crt"));
    kube_config_free(c);
    put_file(folder, "ca.crt", "PEM");
    put_file(folder, "token", "one\n");
    put_file(folder, "namespace", "gleaner-system");
    c = config_new();
    assert_int_equal(config_in_cluster("fd00::1", "443", folder, c, &err), 0);
    assert_string_equal(kube_config_server(c), "https://[fd00::1]:443");
    assert_string_equal(kube_config_namespace(c), "gleaner-system");
    expect_ca(c, "PEM");
    put_file(folder, "token", "two\n");
    put_file(folder, "ca.crt", "ANOTHER");
    expect_token(c, "one");
    expect_ca(c, "PEM");
    fake_time += 60000;
    expect_ca(c, "ANOTHER");
    expect_token(c, "two");
    remove_file(folder, "token");
    put_file(folder, "ca.crt", ""); /* half written */
    fake_time += 60000;
    expect_token(c, "two"); /* unreadable: the old one stays */
    expect_ca(c, "ANOTHER");
    put_file(folder, "token", "three");
    expect_token(c, "two");
    kube_config_drop_token(c);
    expect_token(c, "three");
    kube_config_free(c);
    clock_override(NULL);
    remove_file(folder, "token");
    remove_file(folder, "ca.crt");
    remove_file(folder, "namespace");
    rmdir(folder);
}

static void test_where_it_is_looked_for(void **state)
{
    (void)state;
    char folder[] = "/tmp/kube-config-XXXXXX";
    struct kube_config *c;
    struct err err = {0};
    assert_non_null(mkdtemp(folder));
    char *path CLEANUP(free_p) = xasprintf("%s/config", folder);
    char *list CLEANUP(free_p) = xasprintf("/nowhere/at/all::%s", path);
    put_file(folder, "config", CLUSTER "users: [{name: u, user: {tokenFile: tok}}]");
    put_file(folder, "tok", "from-a-file");
    setenv("KUBECONFIG", list, 1);
    assert_int_equal(kube_config_load(NULL, NULL, &c, &err), 0);
    expect_token(c, "from-a-file"); /* relative to the kubeconfig's own folder */
    kube_config_free(c);
    setenv("KUBECONFIG", "/nowhere/at/all", 1);
    assert_int_equal(kube_config_load(NULL, NULL, &c, &err), -1);
    assert_non_null(strstr(err.msg, "/nowhere/at/all"));
    assert_int_equal(kube_config_load(path, "other", &c, &err), -1);
    assert_non_null(strstr(err.msg, "\"other\""));
    unsetenv("KUBECONFIG");
    unsetenv("KUBERNETES_SERVICE_HOST");
    setenv("HOME", folder, 1);
    assert_int_equal(kube_config_load(NULL, NULL, &c, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "KUBECONFIG"));
    remove_file(folder, "config");
    remove_file(folder, "tok");
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_file_wins),        cmocka_unit_test(test_refused_by_name),
        cmocka_unit_test(test_loopback_http),          cmocka_unit_test(test_in_cluster_token),
        cmocka_unit_test(test_where_it_is_looked_for), cmocka_unit_test(test_exec_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
