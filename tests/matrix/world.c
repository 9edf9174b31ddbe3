/* Where the repositories of the matrix lie. The bucket's server is tests/unit/store_s3_server.h in
 * a process of its own, told over a socket what to do. */
#include "matrix.h"

#include "store_s3_server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

/* ---- folders ---- */

static void read_whole(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "r");
    char part[4096];
    size_t n;
    if (!f)
        wrong("%s: %s", path, strerror(errno));
    buf_puts(out, "");
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        buf_add(out, part, n);
    fclose(f);
}

static void write_whole(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "w");
    if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0)
        wrong("%s: %s", path, strerror(errno));
}

static int remove_below(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return ftw->level > 0 ? remove_entry(path, st, flag, ftw) : 0;
}

/* Makes `path` an empty folder; one that is there stays the same folder. */
static void clear_folder(const char *path)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        wrong("%s: %s", path, strerror(errno));
    if (nftw(path, remove_below, 20, FTW_DEPTH | FTW_PHYS) != 0)
        wrong("%s: %s", path, strerror(errno));
}

static void copy_folder(const char *from, const char *to)
{
    DIR *d = opendir(from);
    struct dirent *e;
    clear_folder(to);
    if (!d)
        wrong("%s: %s", from, strerror(errno));
    while ((e = readdir(d))) {
        char *a CLEANUP(free_p) = xasprintf("%s/%s", from, e->d_name);
        char *b CLEANUP(free_p) = xasprintf("%s/%s", to, e->d_name);
        struct buf bytes CLEANUP(buf_free) = {0};
        if (streq(e->d_name, ".") || streq(e->d_name, ".."))
            continue;
        if (e->d_type == DT_DIR) {
            copy_folder(a, b);
            continue;
        }
        read_whole(a, &bytes);
        write_whole(b, bytes.p, bytes.n);
    }
    closedir(d);
}

/* ---- the server's process ---- */

enum command { COMMAND_EMPTY, COMMAND_KEEP, COMMAND_RESET, COMMAND_DUMP, COMMAND_ARM };

struct order {
    enum command command;
    struct point fault;
    pid_t victim;
};

static struct {
    struct point fault;
    pid_t victim;
    int steps;
    bool now;  /* the request of the fault is here */
    bool full; /* no space any more */
} armed;       /* guarded by s3_server.lock */

static void forget_all(void)
{
    while (s3_server.objects.n)
        s3_forget(&s3_server.objects.p[0]);
}

/* Called with the lock held. False: the connection ends without an answer. */
static bool stage(enum s3_stage stage, const char *method)
{
    enum fault_kind kind = armed.fault.kind;
    if (stage == S3_BEGUN) {
        armed.now = ++armed.steps == armed.fault.at;
        armed.full = armed.full || (armed.now && kind == FAULT_SPACE);
        if (armed.now && kind == FAULT_IO)
            s3_server.fail = 1, s3_server.fail_status = 500, s3_server.fail_code = "InternalError";
        if (armed.now && kind == FAULT_SHORT && streq(method, "GET"))
            s3_server.cut = 1;
        s3_server.full = armed.full;
    }
    if (!armed.now)
        return true;
    if (kind == (stage == S3_BEGUN ? FAULT_KILL_BEFORE : FAULT_KILL_AFTER)) {
        if (kill(armed.victim, SIGKILL) < 0)
            abort();
        return false;
    }
    return kind != (stage == S3_BEGUN ? FAULT_TIMEOUT : FAULT_LOST);
}

static void load_objects(const char *folder, const char *prefix)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    if (!d)
        abort();
    while ((e = readdir(d))) {
        char *path CLEANUP(free_p) = xasprintf("%s/%s", folder, e->d_name);
        char *key CLEANUP(free_p) = xasprintf("%s/%s", prefix, e->d_name);
        if (streq(e->d_name, ".") || streq(e->d_name, ".."))
            continue;
        if (e->d_type == DT_DIR) {
            load_objects(path, key);
            continue;
        }
        struct s3_object *o = vec_add(&s3_server.objects);
        *o = (struct s3_object){.key = TAKE(key)};
        read_whole(path, &o->body);
    }
    closedir(d);
}

static void dump_objects(const char *folder)
{
    static const char *const folders[] = {"keys", "locks", "snapshots", "index", "data"};
    clear_folder(folder);
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        char *path CLEANUP(free_p) = xasprintf("%s/%s", folder, folders[i]);
        mkdir(path, 0700);
    }
    for (size_t i = 0; i < s3_server.objects.n; i++) {
        const struct s3_object *o = &s3_server.objects.p[i];
        char *path CLEANUP(free_p) = xasprintf("%s/%s", folder, o->key + strlen("p/"));
        char *parent CLEANUP(free_p) = xstrndup(path, (size_t)(strrchr(path, '/') - path));
        mkdir(parent, 0700);
        write_whole(path, o->body.p, o->body.n);
    }
}

static int obey(const struct world *w, const struct order *order)
{
    int steps = armed.steps;
    armed.fault = order->fault;
    armed.victim = order->victim;
    armed.steps = 0;
    armed.now = armed.full = false;
    s3_server.fail = s3_server.cut = 0;
    s3_server.full = false;
    switch (order->command) {
    case COMMAND_EMPTY:
        forget_all();
        s3_server.bucket = false;
        break;
    case COMMAND_KEEP:
        dump_objects(w->base);
        break;
    case COMMAND_RESET:
        forget_all();
        load_objects(w->base, "p");
        s3_server.bucket = s3_server.objects.n > 0;
        break;
    case COMMAND_DUMP:
        dump_objects(w->folder);
        break;
    case COMMAND_ARM:
        break;
    }
    return steps;
}

static void serve(const struct world *w, int control)
{
    struct order order;
    s3_server_start();
    s3_server.page = 1000;
    s3_server.stage = stage;
    if (write(control, &s3_server.port, sizeof s3_server.port) < 0)
        abort();
    while (read(control, &order, sizeof order) == sizeof order) {
        pthread_mutex_lock(&s3_server.lock);
        int steps = obey(w, &order);
        pthread_mutex_unlock(&s3_server.lock);
        if (write(control, &steps, sizeof steps) < 0)
            abort();
    }
    s3_server_stop();
}

static int tell(struct world *w, struct order order)
{
    if (w->kind != WORLD_S3)
        return 0;
    int steps;
    if (write(w->control, &order, sizeof order) != sizeof order ||
        read(w->control, &steps, sizeof steps) != sizeof steps)
        wrong("the S3 server's process has ended");
    return steps;
}

int world_arm(struct world *w, const struct point *fault, pid_t victim)
{
    return tell(w, (struct order){COMMAND_ARM, *fault, victim});
}

static void start_server(struct world *w)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        wrong("socketpair: %s", strerror(errno));
    w->server = fork();
    if (w->server < 0)
        wrong("fork: %s", strerror(errno));
    if (w->server == 0) {
        close(ends[0]);
        serve(w, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    w->control = ends[0];
    if (read(w->control, &w->port, sizeof w->port) != sizeof w->port)
        wrong("the S3 server does not start");
}

/* ---- a real server ---- */

static unsigned free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd CLEANUP(close_p) = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &n) < 0)
        wrong("no free port: %s", strerror(errno));
    return ntohs(at.sin_port);
}

static bool answers(unsigned port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd CLEANUP(close_p) = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
}

static void start_versitygw(struct world *w, const char *program)
{
    enum { PATIENCE = 1000, PAUSE_MS = 10 };
    char place[32];
    w->port = free_port();
    snprintf(place, sizeof place, "127.0.0.1:%u", w->port);
    w->server = fork();
    if (w->server < 0)
        wrong("fork: %s", strerror(errno));
    if (w->server == 0) {
        if (freopen("/dev/null", "w", stdout) && freopen("/dev/null", "w", stderr))
            execl(program, "versitygw", "--access", "AKIDTEST", "--secret", "secret", "--port",
                  place, "--quiet", "posix", w->folder, NULL);
        _exit(127);
    }
    for (int i = 0; i < PATIENCE && !answers(w->port); i++)
        poll(NULL, 0, PAUSE_MS);
    if (!answers(w->port))
        wrong("%s does not start", program);
}

/* Where the files of a repository lie that has no server of ours. */
static char *path_of(const struct world *w)
{
    return xasprintf("%s/%s", w->folder, w->kind == WORLD_LOCAL ? "repo" : "bucket/p");
}

/* ---- worlds ---- */

bool world_make(struct world *w, enum world_kind kind)
{
    static const char *const names[WORLDS] = {"local", "S3", "versitygw"};
    const char *program = getenv("GLEANER_VERSITYGW");
    if (kind == WORLD_VERSITYGW && (!program || !*program))
        return false;
    /* Memory, where there is such a place: no fault here is one of the disk. */
    if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    *w = (struct world){.s3 = kind != WORLD_LOCAL,
                        .steps = kind != WORLD_VERSITYGW,
                        .kind = kind,
                        .name = names[kind],
                        .folder = make_folder(),
                        .base = make_folder(),
                        .control = -1};
    if (kind == WORLD_S3)
        start_server(w);
    if (kind == WORLD_VERSITYGW)
        start_versitygw(w, program);
    return true;
}

void world_end(struct world *w)
{
    int status;
    if (w->kind == WORLD_S3) {
        close(w->control);
        if (waitpid(w->server, &status, 0) < 0 || status != 0)
            wrong("the S3 server's process ended with %d", status);
    }
    if (w->kind == WORLD_VERSITYGW) {
        kill(w->server, SIGKILL);
        waitpid(w->server, &status, 0);
    }
    remove_folder(w->folder);
    remove_folder(w->base);
}

struct backend *world_backend(struct world *w)
{
    struct backend *b;
    struct err err;
    char *endpoint CLEANUP(free_p) = xasprintf("http://127.0.0.1:%u", w->port);
    char *path CLEANUP(free_p) = path_of(w);
    struct backend_s3_options o = {.endpoint = endpoint,
                                   .bucket = "bucket",
                                   .prefix = "p",
                                   .access_key = "AKIDTEST",
                                   .secret_key = "secret",
                                   .retry_seconds = 20};
    if ((w->s3 ? backend_open_s3(&o, &b, &err) : backend_open_local(path, &b, &err)) < 0)
        wrong("%s", err.msg);
    return b;
}

void world_empty(struct world *w)
{
    if (w->kind == WORLD_S3)
        tell(w, (struct order){.command = COMMAND_EMPTY});
    else
        clear_folder(w->folder);
}

void world_keep(struct world *w)
{
    if (w->kind == WORLD_S3)
        tell(w, (struct order){.command = COMMAND_KEEP});
    else
        copy_folder(w->folder, w->base);
}

void world_reset(struct world *w)
{
    if (w->kind == WORLD_S3)
        tell(w, (struct order){.command = COMMAND_RESET});
    else
        copy_folder(w->base, w->folder);
}

const char *world_folder(struct world *w)
{
    static char path[256];
    if (w->kind == WORLD_S3)
        tell(w, (struct order){.command = COMMAND_DUMP});
    char *inside CLEANUP(free_p) = path_of(w);
    snprintf(path, sizeof path, "%s", w->kind == WORLD_S3 ? w->folder : inside);
    return path;
}

/* ---- a file system that gets full ---- */

bool world_mount(struct world *w)
{
    return unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) == 0 &&
           mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", w->folder, "tmpfs", 0, "size=4m") == 0;
}

void world_size(struct world *w, unsigned long pages)
{
    struct statvfs st;
    char size[32] = "size=4m";
    if (statvfs(w->folder, &st) < 0)
        wrong("%s: %s", w->folder, strerror(errno));
    if (pages)
        snprintf(size, sizeof size, "size=%lu",
                 (unsigned long)((st.f_blocks - st.f_bfree) * st.f_frsize) + pages * 4096);
    if (mount("tmpfs", w->folder, NULL, MS_REMOUNT, size) < 0)
        wrong("%s: %s", w->folder, strerror(errno));
}

void world_unmount(struct world *w)
{
    if (umount(w->folder) < 0)
        wrong("%s: %s", w->folder, strerror(errno));
}
