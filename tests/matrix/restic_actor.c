#include "restic_actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_rest_server.h"

#include "matrix.h"
#include "writers.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

static struct actor *restic;
static char folder[256];
static unsigned backups, total_backups, total_prunes;

/* Older restic tries for minutes to read a lock that is gone since it listed them: the list and
 * what it reads of it are one step. */
static bool begins(const char *method, const char *url)
{
    return schedule_request(restic,
                            streq(method, "GET") && str_starts(str_of(url), "/repo/locks/"));
}

static void ends(void)
{
    schedule_request_end(restic);
}

void restic_actor_begin(struct actor *a, const char *path)
{
    struct err err;
    void *unused;
    restic = a;
    backups = 0;
    setenv("RESTIC_PASSWORD", "first", 1);
    rest_server_start(&unused);
    pthread_mutex_lock(&server.lock);
    backend_close(server.files);
    snprintf(folder, sizeof folder, "%s", path);
    if (backend_open_local(folder, &server.files, &err) < 0)
        wrong("%s", err.msg);
    server.basic = "password";
    server.begins = begins;
    server.ends = ends;
    pthread_mutex_unlock(&server.lock);
}

void restic_actor_end(void)
{
    rest_server_stop(NULL);
    server.begins = NULL;
    server.ends = NULL;
}

unsigned restic_actor_backups(void)
{
    return backups;
}

unsigned restic_actor_total(const char *tag)
{
    return streq(tag, "backup") ? total_backups : total_prunes;
}

/* A file that a forgotten backup had too, for its standard input. */
static void write_input(const char *path)
{
    uint8_t text[FILE_SIZE];
    fill_splitmix((uint64_t)'1' * 1000, text, sizeof text);
    FILE *f = fopen(path, "w");
    if (!f || fwrite(text, 1, sizeof text, f) != sizeof text || fclose(f) != 0)
        wrong("%s: %s", path, strerror(errno));
}

static int run_once(const char *const *argv, const char *input)
{
    pid_t pid;
    int status;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int r = posix_spawn(&pid, "/usr/bin/restic", &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (r != 0 || waitpid(pid, &status, 0) != pid)
        wrong("restic: %s", strerror(r ? r : errno));
    return status;
}

void restic_actor_run(struct actor *a)
{
    enum { TRIES = 4 };
    char *url CLEANUP(free_p) =
        xasprintf("rest:http://mover:password@%s", strstr(server.url, "//") + 2);
    char *input CLEANUP(free_p) = xasprintf("%s.input", folder);
    const char *const backup[] = {"restic", "-q",      "-r",    url, "--no-cache",
                                  "backup", "--stdin", "--tag", "r", NULL};
    const char *const prune[] = {"restic", "-q",           "-r", url, "--no-cache",
                                 "prune",  "--max-unused", "0",  NULL};
    bool backs_up = streq(a->tag, "backup");
    write_input(input);
    schedule_process(a);
    int status = 1;
    for (int i = 0; status != 0 && i < TRIES; i++) {
        status = run_once(backs_up ? backup : prune, input);
        schedule_process(a);
    }
    unlink(input);
    backups += status == 0 && backs_up;
    total_backups += status == 0 && backs_up;
    total_prunes += status == 0 && !backs_up;
}
