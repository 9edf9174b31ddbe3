/* Where the gateway and the health checks listen, on machines with IPv6 and without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <microhttpd.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/listen.h"
#include "gateway/server.h"
#include "gateway/tls.h"
#include "reconciler/health.h"

static bool machine_has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

static void test_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *address; /* "": everywhere; NULL: refused */
        unsigned port;
    } rows[] = {
        {"8081", "", 8081},
        {":8443", "", 8443},
        {"[::]:0", "", 0},
        {"0.0.0.0:80", "0.0.0.0", 80},
        {"127.0.0.1:65535", "127.0.0.1", 65535},
        {"[::1]:1", "::1", 1},
        {"", NULL, 0},
        {"host:1", NULL, 0},
        {"[1.2.3.4]:1", NULL, 0},
        {"::1:1", NULL, 0},
        {"[]:1", NULL, 0},
        {"[:1", NULL, 0},
        {"1.2.3.4:65536", NULL, 0},
        {"1.2.3.4:", NULL, 0},
        {"1.2.3.4", NULL, 0},
        {"1.2.3.4.................................................................:1", NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct listening l;
        struct err err = {0};
        char shown[INET6_ADDRSTRLEN];
        int r = listening_parse(rows[i].text, &l, &err);
        if ((r == 0) != (rows[i].address != NULL))
            fail_msg("%s: %d %s", rows[i].text, r, err.msg);
        if (r < 0)
            continue;
        assert_int_equal(listening_port(&l), rows[i].port);
        bool six = l.at.ss_family == AF_INET6;
        const void *at = six ? (void *)&((struct sockaddr_in6 *)&l.at)->sin6_addr
                             : (void *)&((struct sockaddr_in *)&l.at)->sin_addr;
        inet_ntop(l.at.ss_family, at, shown, sizeof shown);
        assert_string_equal(shown, rows[i].address[0] ? rows[i].address : six ? "::" : "0.0.0.0");
        assert_int_equal(l.flags, !rows[i].address[0] && six ? MHD_USE_DUAL_STACK
                                  : six                      ? MHD_USE_IPv6
                                                             : 0);
    }
}

static size_t drop(char *p, size_t size, size_t n, void *ctx)
{
    (void)p, (void)ctx;
    return size * n;
}

/* The status of an answer; 0: none. */
static long get(const char *url)
{
    long status = 0;
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    if (curl_easy_perform(easy) == CURLE_OK)
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(easy);
    return status;
}

static long get_at(const char *scheme, const char *address, unsigned port, const char *path)
{
    char *url CLEANUP(free_p) = xasprintf("%s://%s:%u%s", scheme, address, port, path);
    return get(url);
}

static int nobody(void *ctx, const char *token, struct gateway_identity *ret, struct err *err)
{
    (void)ctx, (void)token, (void)err;
    *ret = (struct gateway_identity){0};
    return 0;
}

static struct gateway *start_gateway(const char *listen, const struct gateway_certificate *cert)
{
    struct gateway *g;
    struct err err;
    struct gateway_options options = {.listen = listen,
                                      .cert_pem = cert->cert_pem,
                                      .key_pem = cert->key_pem,
                                      .local_root = "/tmp",
                                      .controller = "c",
                                      .review = nobody};
    if (gateway_start(&options, &g, &err) < 0)
        fail_msg("%s", err.msg);
    return g;
}

/* A port that was free a moment ago. */
static unsigned free_port(const struct gateway_certificate *cert)
{
    struct gateway *g = start_gateway(":0", cert);
    unsigned port = gateway_port(g);
    gateway_stop(g);
    return port;
}

/* Both listeners are met under both addresses, also after the certificate was renewed. */
static void serve_on(const char *words, bool six)
{
    struct gateway_certificate cert;
    struct health *h;
    struct err err;
    atomic_bool ready = true;
    static const char *const names[] = {"localhost", NULL};
    assert_int_equal(gateway_make_certificate(names, NULL, 10, &cert, &err), 0);
    char *listen CLEANUP(free_p) = xasprintf("%s:0", words);
    struct gateway *g = start_gateway(listen, &cert);
    unsigned port = gateway_port(g);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(get_at("https", "127.0.0.1", port, "/"), 401);
        assert_int_equal(get_at("https", "[::1]", port, "/"), six ? 401 : 0);
        assert_int_equal(gateway_renew(g, cert.cert_pem, cert.key_pem, &err), 0);
        assert_int_equal(gateway_port(g), port);
    }
    gateway_stop(g);
    port = free_port(&cert);
    char *health CLEANUP(free_p) = xasprintf("%s:%u", words, port);
    if (health_start(words[0] ? health : health + 1, &ready, &h, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(get_at("http", "127.0.0.1", port, "/readyz"), 200);
    assert_int_equal(get_at("http", "[::1]", port, "/readyz"), six ? 200 : 0);
    health_stop(h);
    gateway_certificate_free(&cert);
}

static void test_both_families(void **state)
{
    (void)state;
    bool six = machine_has_ipv6();
    serve_on("", six);
    serve_on("[::]", six);
    serve_on("0.0.0.0", false);
}

/* From then on the kernel of this process has no IPv6. */
static void lose_ipv6(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_LEN(code), code};
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void test_without_ipv6(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        lose_ipv6();
        serve_on("", false);
        serve_on("[::]", false);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_without_ipv6),
        cmocka_unit_test(test_both_families),
    };
    return cmocka_run_group_tests_name("gateway/listen", tests, NULL, NULL);
}
