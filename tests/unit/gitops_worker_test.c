/* The worker as its parents run it: this very binary is the worker, in its sandbox, and Git's smart
 * HTTP protocol is spoken by a child on a loopback port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/codec.h"
#include "gitops/frame.h"
#include "gitops/git.h"
#include "gitops/helm.h"
#include "worker/sandbox.h"
#include "worker/worker.h"

#define SELF "/proc/self/exe"
#define TIP "1111111111111111111111111111111111111111"
#define TAG "2222222222222222222222222222222222222222"
#define TAGGED "3333333333333333333333333333333333333333"
#define OLD "4444444444444444444444444444444444444444"

static struct arena *a;
static pid_t server;
static int port;

static void pkt(struct buf *b, const char *line)
{
    buf_printf(b, "%04zx%s", strlen(line) + 4, line);
}

static void advertise(struct buf *b, bool empty)
{
    pkt(b, "# service=git-upload-pack\n");
    buf_puts(b, "0000");
    struct buf first CLEANUP(buf_free) = {0};
    buf_printf(&first, "%s %s", empty ? "0000000000000000000000000000000000000000" : TIP,
               empty ? "capabilities^{}" : "HEAD");
    buf_putc(&first, '\0');
    buf_puts(&first, "symref=HEAD:refs/heads/main agent=test\n");
    buf_printf(b, "%04zx", first.n + 4);
    buf_str(b, buf_view(&first));
    if (!empty) {
        pkt(b, TIP " refs/heads/main\n");
        pkt(b, TAG " refs/tags/v1\n");
        pkt(b, TAGGED " refs/tags/v1^{}\n");
    }
    buf_puts(b, "0000");
}

/* /git.git, /empty.git, /private.git (user:secret), /html.git, /silent.git; the rest is 404. */
static void answer(int fd, const char *request)
{
    struct buf body CLEANUP(buf_free) = {0}, all CLEANUP(buf_free) = {0};
    const char *status = "200 OK", *type = "application/x-git-upload-pack-advertisement";
    if (strstr(request, "/silent.git"))
        pause();
    if (strstr(request, "/private.git") && !strstr(request, "Basic dXNlcjpzZWNyZXQ="))
        status = "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"";
    else if (strstr(request, "/git.git") || strstr(request, "/private.git"))
        advertise(&body, false);
    else if (strstr(request, "/empty.git"))
        advertise(&body, true);
    else if (strstr(request, "/html.git"))
        buf_puts(&body, "<html>\xff</html>");
    else
        status = "404 Not Found";
    buf_printf(&all, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", status, type,
               body.n);
    if (body.n)
        buf_str(&all, buf_view(&body));
    (void)!write(fd, all.p, all.n);
}

static void serve(int listener)
{
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0 || fork() != 0) {
            close(fd);
            continue;
        }
        alarm(60);
        char request[8192];
        size_t n = 0;
        for (ssize_t got;
             n < sizeof request - 1 && (got = read(fd, request + n, sizeof request - 1 - n)) > 0;) {
            n += (size_t)got;
            request[n] = '\0';
            if (strstr(request, "\r\n\r\n")) {
                answer(fd, request);
                n = 0;
            }
        }
        _exit(0);
    }
}

static int setup(void **state)
{
    (void)state;
    a = arena_new();
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&at, n) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &n) < 0)
        return -1;
    port = ntohs(at.sin_port);
    server = fork();
    if (server == 0) {
        setpgid(0, 0);
        serve(fd);
    }
    setpgid(server, server); /* whichever of both comes first */
    close(fd);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    /* Its children too: one that never answers would hold this test's output open for a minute. */
    kill(-server, SIGKILL);
    waitpid(server, NULL, 0);
    arena_free(a);
    return 0;
}

static void check(const char *repo, const char *ref, const char *commit, const char *user,
                  const char *password, const char *want, const char *why_part)
{
    const char *url =
        strchr(repo, ':') ? repo : arena_printf(a, "http://127.0.0.1:%d/%s", port, repo);
    /* What answers may take its time on a busy machine. */
    unsigned ms = streq(repo, "silent.git") ? 1000 : 60000;
    struct git_question q = {url, ref, commit, user, password, ms};
    enum reachable got;
    const char *why;
    struct err err;
    assert_int_equal(git_reachable(a, SELF, &q, &got, &why, &err), 0);
    if (!streq(reachable_name(got), want) || !strstr(why, why_part))
        fail_msg("%s %s %.4s: %s (%s)", repo, ref, commit, reachable_name(got), why);
    assert_null(strstr(why, "secret"));
}

static void test_reachable(void **state)
{
    (void)state;
    check("git.git", "main", TIP, NULL, NULL, "true", "");
    check("git.git", "refs/heads/main", TIP, NULL, NULL, "true", "");
    check("git.git", "HEAD", TIP, NULL, NULL, "true", "");
    check("git.git", "refs/tags/v1", TAGGED, NULL, NULL, "true", "");
    check("git.git", "v1", TAG, NULL, NULL, "true", "");
    check("git.git", "", TAGGED, NULL, NULL, "true", "");
    check("git.git", "", OLD, NULL, NULL, "unknown", "any ref");
    check("git.git", "main", OLD, NULL, NULL, "unknown", "not the tip");
    check("git.git", "refs/heads/main", TAGGED, NULL, NULL, "unknown", "not the tip");
    check("git.git", "refs/heads/gone", TIP, NULL, NULL, "false", "no refs/heads/gone");
    check("git.git", "refs/heads/v1", TAG, NULL, NULL, "false", "");
    check("empty.git", "refs/heads/main", TIP, NULL, NULL, "false", "");
    check("git.git", "main", "HEAD", NULL, NULL, "unknown", "no commit");
}

static void test_unreachable(void **state)
{
    (void)state;
    check("gone.git", "main", TIP, NULL, NULL, "unknown", "404");
    check("html.git", "main", TIP, NULL, NULL, "unknown", "");
    check("private.git", "main", TIP, NULL, NULL, "unknown", "");
    check("private.git", "main", TIP, "user", "wrong", "unknown", "");
    check("private.git", "main", TIP, "user", "secret", "true", "");
    check("silent.git", "main", TIP, NULL, NULL, "unknown", "in time");
    check("http://127.0.0.1:1/x.git", "main", TIP, NULL, NULL, "unknown", "");
    check("file:///tmp", "main", TIP, NULL, NULL, "unknown", "http");
    check("git@example.org:x/y.git", "main", TIP, NULL, NULL, "unknown", "http");
}

static void test_helm_release(void **state)
{
    (void)state;
    static const char json[] = "{\"name\":\"r\",\"namespace\":\"n\",\"version\":1,\"manifest\":"
                               "\"kind: Secret\\nmetadata: {name: s}\\n\"}";
    struct buf inner CLEANUP(buf_free) = {0}, outer CLEANUP(buf_free) = {0};
    struct buf got CLEANUP(buf_free) = {0};
    struct err err;
    base64_encode(&inner, json, sizeof json - 1);
    base64_encode(&outer, inner.p, inner.n);
    struct worker_call call = {SELF, "helm-release", buf_view(&outer), 1 << 20, 60000};
    if (worker_call(&call, &got, &err) < 0)
        fail_msg("%s", err.msg);
    assert_non_null(memmem(got.p, got.n, "{\"kind\":\"Secret\"", 16));
    call.input = STR("%%%");
    assert_int_equal(worker_call(&call, &got, &err), -1);
    assert_int_equal(err.kind, ERR_CORRUPT);
    call.task = "nonsense";
    assert_int_equal(worker_call(&call, &got, &err), -1);
}

/* ---- the sandbox ---- */

static void do_read_token(void)
{
    int fd = open("/proc/self/environ", O_RDONLY);
    _exit(fd < 0 ? 10 : 0);
}

static void do_read_etc(void)
{
    int fd = open("/etc/hosts", O_RDONLY);
    _exit(fd < 0 ? 10 : 0);
}

static void do_write(void)
{
    _exit(open("/tmp/gleaner-sandbox-test", O_WRONLY | O_CREAT, 0600) < 0 ? 10 : 0);
}

static void do_socket(void)
{
    _exit(socket(AF_INET, SOCK_STREAM, 0) < 0 ? 10 : 0);
}

static void do_unix_socket(void)
{
    _exit(socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? 10 : 0);
}

static void do_fork(void)
{
    fork();
    _exit(0);
}

static void do_exec(void)
{
    execl("/bin/true", "true", NULL);
    _exit(10);
}

static void do_executable_memory(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    _exit(p == MAP_FAILED ? 10 : 0);
}

static void do_much_memory(void)
{
    void *p =
        mmap(NULL, (size_t)2 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    _exit(p == MAP_FAILED ? 10 : 0);
}

static void do_environment(void)
{
    extern char **environ;
    _exit(environ && *environ ? 0 : 10);
}

enum { DIES = 128 + SIGSYS, FAILS = 10, WORKS = 0 };

static int in_sandbox(bool network, void (*act)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        struct sandbox s = {network, 512u << 20, 5};
        struct err err;
        if (sandbox_limit(&s, &err) < 0 || sandbox_lock(&s, &err) < 0)
            _exit(99);
        act();
    }
    int status;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void test_sandbox(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        void (*act)(void);
        int alone, network;
    } rows[] = {
        {"reading outside of /etc and /usr", do_read_token, DIES, FAILS},
        {"reading /etc", do_read_etc, DIES, WORKS},
        {"writing a file", do_write, DIES, DIES},
        {"a socket", do_socket, DIES, WORKS},
        {"a local socket", do_unix_socket, DIES, FAILS},
        {"a child", do_fork, DIES, DIES},
        {"another program", do_exec, DIES, DIES},
        {"executable memory", do_executable_memory, FAILS, FAILS},
        {"too much memory", do_much_memory, FAILS, FAILS},
        {"an environment", do_environment, FAILS, FAILS},
    };
    if (!sandbox_is_whole()) {
        print_message("skipped: a sanitizer needs what the sandbox takes away\n");
        skip();
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int alone = in_sandbox(false, rows[i].act), network = in_sandbox(true, rows[i].act);
        if (alone != rows[i].alone || network != rows[i].network)
            fail_msg("%s: %d without and %d with the network", rows[i].what, alone, network);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && streq(argv[1], "worker"))
        return worker_main(argc - 1, argv + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reachable),
        cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_helm_release),
        cmocka_unit_test(test_sandbox),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
