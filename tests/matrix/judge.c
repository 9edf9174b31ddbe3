#include "judge.h"

#include "store/snapshot.h"
#include "store/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

size_t judge_snapshots(struct world *w, const struct store_id *const *must, size_t must_n)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct backend *b CLEANUP(backend_close_p) = world_backend(w);
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    struct verify_options all = {.read_data = true};
    struct snapshot_list list;
    struct err err;
    size_t unreadable = 0, found = 0;
    if (repository_open(b, "first", NULL, &repo, &err) < 0 ||
        snapshot_list_all(repo, NULL, a, &list, &unreadable, &err) < 0 ||
        repository_load_index(repo, &err) < 0)
        wrong("the repository cannot be read: %s", err.msg);
    if (unreadable)
        wrong("%zu snapshots cannot be read", unreadable);
    for (size_t i = 0; i < list.n; i++) {
        if (verify_snapshot(repo, &list.p[i].id, &all, NULL, &err) < 0)
            wrong("a listed snapshot is not whole: %s", err.msg);
        for (size_t k = 0; k < must_n; k++)
            found += store_id_equal(must[k], &list.p[i].id);
    }
    if (found != must_n)
        wrong("%zu of %zu complete snapshots are there", found, must_n);
    return list.n;
}

bool judge_has_restic(void)
{
    return access("/usr/bin/restic", X_OK) == 0;
}

void judge_by_restic(struct world *w)
{
    const char *const argv[] = {"restic",        "-q",          "-r",
                                world_folder(w), "--no-cache",  "--no-lock",
                                "check",         "--read-data", NULL};
    pid_t pid;
    int status;
    if (!judge_has_restic())
        return;
    setenv("RESTIC_PASSWORD", "first", 1);
    posix_spawn_file_actions_t quiet;
    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
    int r = posix_spawn(&pid, "/usr/bin/restic", &quiet, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&quiet);
    if (r != 0 || waitpid(pid, &status, 0) != pid)
        wrong("restic: %s", strerror(r ? r : errno));
    if (status)
        wrong("restic check --read-data: status %d", status);
}
