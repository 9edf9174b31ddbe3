/* A mover without a cluster: archives or extracts a folder as `gleaner mover` does, with its memory
 * settings, into a repository that is there, and says what it cost.
 *
 *     bench_mover backup  REPOSITORY PASSWORD FOLDER [TREE]   prints the tree
 *     bench_mover restore REPOSITORY PASSWORD FOLDER TREE
 *     bench_mover files   FOLDER COUNT          makes so many small files, no two alike
 */
#include "mover/archive.h"
#include "mover/extract.h"
#include "mover/mover.h"

#include "core/clock.h"

#include <errno.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static atomic_bool ended;
static long most; /* kB of anonymous memory; written by the watcher alone */

static long anonymous(void)
{
    char line[128];
    long kb = 0;
    FILE *f = fopen("/proc/self/status", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %ld", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb;
}

static void *watch(void *ctx)
{
    (void)ctx;
    while (!atomic_load(&ended)) {
        long now = anonymous();
        most = MAX(most, now);
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    return NULL;
}

static int run(char **argv, int argc, struct mover_report *report, struct err *err)
{
    struct backend *b CLEANUP(backend_close_p) = NULL;
    struct repository *repo CLEANUP(repository_close_p) = NULL;
    struct store_id tree;
    bool restore = streq(argv[1], "restore");
    struct repository_options how;
    mover_repository_options(restore, &how);
    if (argc > 5 && !store_id_parse(str_of(argv[5]), &tree))
        return err_set(err, ERR_INVALID, "%s is no tree", argv[5]);
    if (backend_open_url(argv[2], NULL, &b, err) < 0 ||
        repository_open(b, argv[3], &how, &repo, err) < 0 || repository_load_index(repo, err) < 0)
        return -1;
    int volume CLEANUP(close_p) = open(argv[4], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (volume < 0)
        return err_errno(err, errno, "%s", argv[4]);
    return restore ? extract_volume(repo, volume, &tree, NULL, report, err)
                   : archive_volume(repo, volume, argc > 5 ? &tree : NULL, NULL, report, err);
}

static int make_files(const char *folder, long count)
{
    char path[4096];
    for (long i = 0; i < count; i++) {
        if (i % 1000 == 0) {
            snprintf(path, sizeof path, "%s/%ld", folder, i / 1000);
            if (mkdir(path, 0755) < 0 && errno != EEXIST)
                return -1;
        }
        snprintf(path, sizeof path, "%s/%ld/file-%ld", folder, i / 1000, i);
        FILE *f = fopen(path, "we");
        if (!f || fprintf(f, "content of file %ld, and nothing else\n", i) < 0 || fclose(f) != 0)
            return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && streq(argv[1], "files")) {
        if (make_files(argv[2], atol(argv[3])) == 0)
            return 0;
        perror(argv[2]);
        return 1;
    }
    struct mover_report report = {0};
    struct err err = {0};
    struct rusage used;
    char hex[STORE_ID_HEX] = "";
    pthread_t watcher;
    if (argc < 5 || (streq(argv[1], "restore") && argc < 6)) {
        fputs("usage: bench_mover backup|restore REPOSITORY PASSWORD FOLDER [TREE]\n", stderr);
        return 2;
    }
    mover_prepare_memory();
    pthread_create(&watcher, NULL, watch, NULL);
    int64_t start = clock_mono_ms();
    int r = run(argv, argc, &report, &err);
    int64_t ms = clock_mono_ms() - start;
    atomic_store(&ended, true);
    pthread_join(watcher, NULL);
    if (r < 0) {
        fprintf(stderr, "bench_mover: %s\n", err.msg);
        return 1;
    }
    getrusage(RUSAGE_SELF, &used);
    store_id_hex(&report.tree, hex);
    printf("tree %s\nfiles %llu\nbytes %llu\nseconds %.2f\ncpu %.2f\nanonymous_kib %ld\n", hex,
           (unsigned long long)report.files, (unsigned long long)report.bytes, (double)ms / 1000,
           (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6,
           most);
    return 0;
}
