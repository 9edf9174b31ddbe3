#include <microhttpd.h>
#include <netinet/in.h>

#include <dirent.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"

enum { BODY_CAP = 16 << 20, TICK_MS = 5, FILE_CAP = 64 << 20 };

struct connection_call {
    struct buf body;
};

static const char *query(void *ctx, const char *name)
{
    return MHD_lookup_connection_value(ctx, MHD_GET_ARGUMENT_KIND, name);
}

static void handle(struct request *r, struct answer *a)
{
    pthread_mutex_lock(&big_lock);
    if (str_starts(str_of(r->path), "/fake/")) {
        admin_handle(r, a);
    } else {
        struct fault *f = fault_for(r);
        if (!f || fault_before(f, r, a) == 0) {
            api_handle(r, a);
            log_call(r, a->code);
            reactors_tick(false);
            if (f)
                fault_after(f, r, a);
        } else {
            log_call(r, a->reset ? 0 : a->code);
        }
    }
    pthread_mutex_unlock(&big_lock);
}

/* ---- answers ---- */

static ssize_t stream(void *ctx, uint64_t pos, char *out, size_t room)
{
    (void)pos;
    ssize_t n = watcher_read(ctx, out, room);
    return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

static void stream_end(void *ctx)
{
    pthread_mutex_lock(&big_lock);
    watcher_free(ctx);
    pthread_mutex_unlock(&big_lock);
}

/* Half of the text, then nothing. */
static ssize_t half(void *ctx, uint64_t pos, char *out, size_t room)
{
    struct buf *b = ctx;
    size_t end = b->n / 2;
    if (pos >= end)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = MIN(room, end - (size_t)pos);
    memcpy(out, b->p + pos, n);
    return (ssize_t)n;
}

static void half_end(void *ctx)
{
    struct buf *b = ctx;
    buf_free(b);
    free(b);
}

static enum MHD_Result reset_connection(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct linger hard = {.l_onoff = 1};
    if (info)
        setsockopt(info->connect_fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    return MHD_NO;
}

static struct MHD_Response *response_of(struct answer *a, const char *accept)
{
    struct MHD_Response *response;
    struct buf text = {0};
    const char *type = "application/json";
    if (a->watch) {
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32768, stream, a->watch,
                                                     stream_end);
    } else {
        if (a->body)
            json_print(&text, a->body);
        else if (a->text)
            buf_puts(&text, a->text);
        if (a->truncate) {
            struct buf *b = xcalloc(1, sizeof *b);
            *b = text;
            response = MHD_create_response_from_callback(b->n, 4096, half, b, half_end);
        } else {
            size_t n = text.n;
            response = MHD_create_response_from_buffer(n, buf_take(&text), MHD_RESPMEM_MUST_FREE);
        }
    }
    if (accept && strstr(accept, "as=APIGroupDiscoveryList") && a->code == 200)
        type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    MHD_add_response_header(response, "Content-Type", type);
    if (a->retry_after) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", a->retry_after);
        MHD_add_response_header(response, "Retry-After", seconds);
    }
    return response;
}

static enum MHD_Result answer(struct MHD_Connection *c, struct answer *a, const char *accept)
{
    if (a->reset) {
        json_decref(a->body);
        if (a->watch)
            stream_end(a->watch);
        return reset_connection(c);
    }
    struct MHD_Response *response = response_of(a, accept);
    enum MHD_Result r = MHD_queue_response(c, (unsigned)a->code, response);
    MHD_destroy_response(response);
    pthread_mutex_lock(&big_lock);
    json_decref(a->body);
    pthread_mutex_unlock(&big_lock);
    free(a->text);
    return r;
}

/* Without a fieldManager it is the program's name, as in the real server. */
static char *manager_of(struct MHD_Connection *c)
{
    const char *agent = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "User-Agent");
    const char *manager = query(c, "fieldManager");
    str name = str_of(agent ? agent : "unknown");
    return manager && *manager ? xstrdup(manager) : str_dup(str_cut(&name, '/'));
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *http_version, const char *piece,
                                  size_t *piece_size, void **call_state)
{
    struct connection_call *call = *call_state;
    (void)cls, (void)http_version;
    if (!call) {
        *call_state = call = xcalloc(1, sizeof *call);
        call->body.cap = BODY_CAP;
        return MHD_YES;
    }
    if (*piece_size) {
        buf_add(&call->body, piece, *piece_size);
        *piece_size = 0;
        return MHD_YES;
    }
    char *manager CLEANUP(free_p) = manager_of(c);
    struct request r = {
        .method = method,
        .path = url,
        .content_type = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Type"),
        .accept = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Accept"),
        .body = buf_view(&call->body),
        .param = query,
        .param_ctx = c,
        .manager = manager,
    };
    struct answer a = {0};
    r.dry_run = param(&r, "dryRun") != NULL;
    handle(&r, &a);
    return answer(c, &a, r.accept);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **call_state,
                         enum MHD_RequestTerminationCode why)
{
    struct connection_call *call = *call_state;
    (void)cls, (void)c, (void)why;
    if (call)
        buf_free(&call->body);
    free(call);
    *call_state = NULL;
}

/* ---- start ---- */

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "fake-apiserver: %s: %s\n", what, why);
    exit(1);
}

static json_t *read_json(const char *path)
{
    struct buf b CLEANUP(buf_free) = {.cap = FILE_CAP};
    char piece[8192];
    json_t *j = NULL;
    struct err err;
    FILE *f = fopen(path, "re");
    if (!f)
        die(path, "cannot be opened");
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_add(&b, piece, n);
    fclose(f);
    if (json_parse(buf_view(&b), &j, &err) < 0)
        die(path, err.msg);
    return j;
}

static void load_file(const char *path)
{
    json_t *j CLEANUP_JSON = read_json(path);
    json_t *list CLEANUP_JSON = json_is_array(j) ? json_incref(j)
                                : json_object_get(j, "items")
                                    ? json_incref(json_object_get(j, "items"))
                                    : json_pack("[O]", j);
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o)
    {
        char *why = NULL;
        if (load_object(o, &why) < 0)
            die(path, why);
    }
}

static void load(const char *path)
{
    struct stat st;
    struct dirent **names;
    if (stat(path, &st) < 0)
        die(path, "does not exist");
    if (!S_ISDIR(st.st_mode)) {
        load_file(path);
        return;
    }
    int n = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char *file CLEANUP(free_p) = xasprintf("%s/%s", path, names[i]->d_name);
        if (str_ends(str_of(file), ".json"))
            load_file(file);
        free(names[i]);
    }
    free(names);
}

static void load_reactors(const char *path)
{
    json_t *j CLEANUP_JSON = read_json(path);
    char *why = NULL;
    if (reactors_set(j, &why) < 0)
        die(path, why);
}

static void write_kubeconfig(const char *path, const char *url)
{
    FILE *f = fopen(path, "we");
    if (!f)
        die(path, "cannot be written");
    fprintf(f,
            "apiVersion: v1\nkind: Config\ncurrent-context: fake\n"
            "clusters:\n- name: fake\n  cluster: {server: \"%s\"}\n"
            "users:\n- name: fake\n  user: {token: fake}\n"
            "contexts:\n- name: fake\n  context: {cluster: fake, user: fake}\n",
            url);
    fclose(f);
}

static void *tick(void *ctx)
{
    struct timespec t = {.tv_nsec = TICK_MS * 1000000};
    (void)ctx;
    for (;;) {
        nanosleep(&t, NULL);
        pthread_mutex_lock(&big_lock);
        reactors_tick(true);
        pthread_mutex_unlock(&big_lock);
    }
    return NULL;
}

struct options {
    unsigned port;
    const char *kubeconfig;
    bool until_eof;
};

static struct options parse_options(int argc, char **argv)
{
    static const struct option names[] = {{"port", 1, 0, 'p'},      {"objects", 1, 0, 'o'},
                                          {"reactors", 1, 0, 'r'},  {"kubeconfig", 1, 0, 'k'},
                                          {"until-eof", 0, 0, 'e'}, {0}};
    struct options o = {0};
    uint64_t port;
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 'p' && str_u64(str_of(optarg), &port) && port < 65536)
            o.port = (unsigned)port;
        else if (c == 'o')
            load(optarg);
        else if (c == 'r')
            load_reactors(optarg);
        else if (c == 'k')
            o.kubeconfig = optarg;
        else if (c == 'e')
            o.until_eof = true;
        else
            die("usage", "fake-apiserver [--port N] [--objects DIR|FILE]... [--reactors FILE] "
                         "[--kubeconfig FILE] [--until-eof]");
    }
    return o;
}

static void wait_for_end(const struct options *o)
{
    char ignored[64];
    while (o->until_eof && read(STDIN_FILENO, ignored, sizeof ignored) > 0)
        ;
    while (!o->until_eof)
        pause();
}

int main(int argc, char **argv)
{
    store_init();
    types_init();
    json_t *first CLEANUP_JSON =
        json_pack("{s:s, s:s, s:{s:s}, s:{s:s}}", "apiVersion", "v1", "kind", "Namespace",
                  "metadata", "name", "default", "status", "phase", "Active");
    char *why CLEANUP(free_p) = NULL;
    if (load_object(first, &why) < 0)
        die("default", why);
    struct options o = parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in here = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)o.port),
                               .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD, (uint16_t)o.port, NULL,
        NULL, on_request, NULL, MHD_OPTION_SOCK_ADDR, &here, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)1 << 20, MHD_OPTION_END);
    if (!daemon)
        die("listening", "the port is taken, or no sockets are left");
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u",
             MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    if (o.kubeconfig)
        write_kubeconfig(o.kubeconfig, url);
    puts(url);
    fflush(stdout);
    pthread_t ticker;
    if (pthread_create(&ticker, NULL, tick, NULL) != 0)
        die("starting", "no thread");
    wait_for_end(&o);
    /* The threads of streams end with the process. */
    _exit(0);
}
