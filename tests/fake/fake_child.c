#include "fake_child.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>

#include "core/json.h"

enum { MAX_ARGS = 32 };

struct fake_child {
    pid_t pid;
    int input; /* the child ends when this closes */
    char url[128], kubeconfig[64];
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "fake_child: %s\n", what);
    abort();
}

static void run_child(struct fake_child *f, const char *const *args, int in, int out)
{
    const char *argv[MAX_ARGS] = {FAKE_APISERVER, "--until-eof", "--kubeconfig", f->kubeconfig};
    size_t n = 4;
    for (; args && *args && n < MAX_ARGS - 1; args++)
        argv[n++] = *args;
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    execv(FAKE_APISERVER, (char **)(uintptr_t)argv);
    perror(FAKE_APISERVER);
    _exit(127);
}

struct fake_child *fake_start(const char *const *args)
{
    struct fake_child *f = xcalloc(1, sizeof *f);
    int in[2], out[2];
    strcpy(f->kubeconfig, "/tmp/fake-kubeconfig-XXXXXX");
    int fd = mkstemp(f->kubeconfig);
    if (fd < 0 || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        die("no pipe or temporary file");
    close(fd);
    f->pid = fork();
    if (f->pid < 0)
        die("no process");
    if (f->pid == 0)
        run_child(f, args, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    f->input = in[1];
    size_t n = 0;
    while (n < sizeof f->url - 1 && read(out[0], f->url + n, 1) == 1 && f->url[n] != '\n')
        n++;
    f->url[n] = '\0';
    close(out[0]);
    if (!n)
        die("it did not start");
    return f;
}

void fake_stop(struct fake_child *f)
{
    close(f->input);
    waitpid(f->pid, NULL, 0);
    unlink(f->kubeconfig);
    free(f);
}

const char *fake_url(const struct fake_child *f)
{
    return f->url;
}

const char *fake_kubeconfig(const struct fake_child *f)
{
    return f->kubeconfig;
}

struct kube *fake_client(const struct fake_child *f)
{
    struct kube_config *config;
    struct kube *k;
    struct err err;
    if (kube_config_load(f->kubeconfig, NULL, &config, &err) < 0 || kube_new(config, &k, &err) < 0)
        die(err.msg);
    return k;
}

static size_t gather(char *p, size_t size, size_t n, void *ctx)
{
    buf_add(ctx, p, size * n);
    return size * n;
}

static void ask(const struct fake_child *f, const char *method, const char *what, const char *body,
                struct buf *answer)
{
    char *url CLEANUP(free_p) = xasprintf("%s/fake/%s", f->url, what);
    long code = 0;
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    if (body)
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, gather);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, answer);
    CURLcode r = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_cleanup(easy);
    if (r != CURLE_OK || code != 200) {
        fprintf(stderr, "%s %s: %ld %s\n", method, what, code, answer->p ? answer->p : "");
        die("the fake API server refused");
    }
}

void fake_post(const struct fake_child *f, const char *what, const char *json)
{
    struct buf answer CLEANUP(buf_free) = {0};
    ask(f, "POST", what, json, &answer);
}

json_t *fake_get(const struct fake_child *f, const char *what)
{
    struct buf answer CLEANUP(buf_free) = {0};
    json_t *j;
    struct err err;
    ask(f, "GET", what, NULL, &answer);
    if (json_parse(buf_view(&answer), &j, &err) < 0)
        die(err.msg);
    return j;
}

void fake_clear_faults(const struct fake_child *f)
{
    struct buf answer CLEANUP(buf_free) = {0};
    ask(f, "DELETE", "faults", NULL, &answer);
}
