/* gleaner repo ...: restic repositories without a cluster, with restic's words. A verb is a thin
 * file cli/repo_<verb>.c over functions of the store. */
#ifndef CLI_REPO_H
#define CLI_REPO_H

#include "cli/cli.h"
#include "cli/progress.h"
#include "store/lock.h"
#include "store/snapshot.h"
#include "store/tree.h"

#include <pthread.h>
#include <stdatomic.h>

/* Exit codes beside those of cli.h: restic's own. */
enum { REPO_MISSING = 10, REPO_LOCKED = 11, REPO_WRONG_PASSWORD = 12 };

/* Where a repository is and what opens it; the options and restic's environment. */
struct repo_place {
    const char *url, *url_file, *password_file, *password_command, *key_hint, *ca_file;
    const char *retry_lock, *send_limit, *fetch_limit;
    const char *compression, *pack_size; /* of verbs that write */
    bool no_lock, json, quiet, ignored;
    const char *unused; /* the value of an option that means nothing here */
    bool makes;         /* the repository is to be made */
};

/* What -o said; one for the process, so that no place must be freed. */
extern struct cli_list repo_extended;

#define REPO_PLACE_OPTIONS(p)                                                                      \
    {.name = "repo",                                                                               \
     .letter = 'r',                                                                                \
     .value = "REPOSITORY",                                                                        \
     .help = "/path, rest:URL, s3:HOST/BUCKET/PATH ($RESTIC_REPOSITORY)",                          \
     .at = &(p)->url},                                                                             \
        {.name = "repository-file",                                                                \
         .value = "FILE",                                                                          \
         .help = "that names it ($RESTIC_REPOSITORY_FILE)",                                        \
         .at = &(p)->url_file},                                                                    \
        {.name = "password-file",                                                                  \
         .letter = 'p',                                                                            \
         .value = "FILE",                                                                          \
         .help = "that holds the password ($RESTIC_PASSWORD_FILE)",                                \
         .at = &(p)->password_file},                                                               \
        {.name = "password-command",                                                               \
         .value = "COMMAND",                                                                       \
         .help = "that prints the password ($RESTIC_PASSWORD_COMMAND)",                            \
         .at = &(p)->password_command},                                                            \
        {.name = "key-hint",                                                                       \
         .value = "KEY",                                                                           \
         .help = "the key to try first ($RESTIC_KEY_HINT)",                                        \
         .at = &(p)->key_hint},                                                                    \
        {.name = "cacert",                                                                         \
         .value = "FILE",                                                                          \
         .help = "PEM: the only certificates that are trusted ($RESTIC_CACERT)",                   \
         .at = &(p)->ca_file},                                                                     \
        {.name = "option",                                                                         \
         .letter = 'o',                                                                            \
         .value = "KEY=VALUE...",                                                                  \
         .help = "s3.region=REGION, s3.bucket-lookup=auto|dns|path",                               \
         .at = &repo_extended},                                                                    \
        {.name = "compression",                                                                    \
         .value = "MODE",                                                                          \
         .help = "of what is written: auto or max ($RESTIC_COMPRESSION)",                          \
         .at = &(p)->compression},                                                                 \
        {.name = "pack-size",                                                                      \
         .value = "MIB",                                                                           \
         .help = "of packs that are written, 4 to 128 ($RESTIC_PACK_SIZE)",                        \
         .at = &(p)->pack_size},                                                                   \
        {.name = "limit-upload",                                                                   \
         .value = "KIB",                                                                           \
         .help = "of each second, to rest: and s3:",                                               \
         .at = &(p)->send_limit},                                                                  \
        {.name = "limit-download",                                                                 \
         .value = "KIB",                                                                           \
         .help = "of each second, from rest: and s3:",                                             \
         .at = &(p)->fetch_limit},                                                                 \
        {.name = "json", .help = "print JSON, as restic does", .at = &(p)->json},                  \
        {.name = "quiet", .letter = 'q', .help = "print only results", .at = &(p)->quiet},         \
        {.name = "verbose", .letter = 'v', .at = &(p)->ignored},                                   \
        {.name = "cache-dir", .value = "DIR", .at = &(p)->unused},                                 \
        {.name = "cleanup-cache", .at = &(p)->ignored},                                            \
        {.name = "no-extra-verify", .at = &(p)->ignored},                                          \
    {                                                                                              \
        .name = "no-cache", .at = &(p)->ignored                                                    \
    }

/* The same, and what verbs have that lock the repository. */
#define REPO_OPTIONS(p)                                                                            \
    REPO_PLACE_OPTIONS(p),                                                                         \
        {.name = "no-lock",                                                                        \
         .help = "do not lock; only for reading, where nothing can be written",                    \
         .at = &(p)->no_lock},                                                                     \
    {                                                                                              \
        .name = "retry-lock", .value = "DURATION",                                                 \
        .help = "wait so long for another's lock, such as 5m", .at = &(p)->retry_lock              \
    }

enum repo_use {
    REPO_READ,           /* a shared lock, unless --no-lock */
    REPO_READ_EXCLUSIVE, /* an exclusive one, unless --no-lock */
    REPO_WRITE,          /* a shared lock that each index and snapshot write confirms */
    REPO_WRITE_EXCLUSIVE,
    REPO_UNLOCKED, /* reads without a lock: what is about locks and keys */
    REPO_DELETE    /* no lock of its own: the store's function takes it */
};

/* An open repository, locked as its use demands. A thread refreshes the lock, and removes it when
 * SIGINT, SIGTERM or SIGHUP ends the process. */
struct repo_session {
    struct backend *backend;
    struct repository *repo;
    struct lock *lock;
    char host[256];
    int code;       /* of the failure of repo_open, or 0 */
    size_t ignored; /* by repo_choose */
    bool json;
    int64_t wait_until, pause; /* of --retry-lock; monotonic ms */
    pthread_t keeper;
    bool has_keeper;
    atomic_bool ending, interrupted;
};

/* The place's URL; its backend and password (malloc'd). INVALID says which option or variable is
 * missing. */
int repo_place_url(const struct repo_place *place, char **ret, struct err *err) must_check;
int repo_place_open(const struct repo_place *place, struct backend **ret, char **ret_password,
                    struct err *err) must_check;
void repo_password_free(char **password); /* wipes; fit for CLEANUP */

/* The password in a file; one that is asked for at the terminal, a new one twice; or the next line
 * of a stdin that is no terminal. Malloc'd. */
int repo_password_file(const char *path, char **ret, struct err *err) must_check;
int repo_password_ask(const char *prompt, char **ret, struct err *err) must_check;
int repo_password_ask_new(const char *prompt, char **ret, struct err *err) must_check;

/* Opens it. The session must not move afterwards, and is closed also after a failure. */
int repo_open(struct repo_session *s, const struct repo_place *place, enum repo_use use,
              struct err *err) must_check;
void repo_close(struct repo_session *s); /* releases the lock; fit for CLEANUP */

/* After a failure of a function of the store that locks for itself: waits a while and gives true if
 * another's lock was in the way and --retry-lock allows for it. */
bool repo_wait_for_lock(struct repo_session *s, const struct err *err);

/* $USER, or else the name of the account; NULL if it has none. */
const char *repo_user(void);

/* As cli_fail, with restic's exit codes where opening failed, and in JSON if that was asked for. */
int repo_fail(const struct repo_session *s, const char *verb, const struct err *err);

/* How this process appears in locks; for functions of the store that lock themselves. */
struct lock_options repo_lock_options(struct repo_session *s);

/* ---- choosing snapshots ---- */

/* restic's --host, --tag, --path: a snapshot must have one of the hosts ($RESTIC_HOST unless there
 * is --host; `--host ''`: any), all of the paths, and all tags of one of the lists "a,b". */
struct repo_filter {
    struct cli_list hosts, tags, paths;
};

#define REPO_FILTER_OPTIONS(f)                                                                     \
    {.name = "host",                                                                               \
     .letter = 'H',                                                                                \
     .value = "HOST...",                                                                           \
     .help = "only snapshots of this host ($RESTIC_HOST; '': of all)",                             \
     .at = &(f)->hosts},                                                                           \
        {.name = "tag",                                                                            \
         .value = "TAG[,TAG]...",                                                                  \
         .help = "only with all of these tags",                                                    \
         .at = &(f)->tags},                                                                        \
    {                                                                                              \
        .name = "path", .value = "PATH...", .help = "only with this path", .at = &(f)->paths       \
    }

bool repo_filter_is_empty(const struct repo_filter *f);
void repo_filter_free(struct repo_filter *f); /* fit for CLEANUP */

/* The snapshots that match (all if f is NULL), oldest first; how many could not be read. */
int repo_snapshots(struct repo_session *s, const struct repo_filter *f, struct arena *a,
                   struct snapshot_list *ret, size_t *ret_unreadable, struct err *err) must_check;

/* The snapshots named by ids (or "latest", of those that match), or all that match if n is 0. What
 * names none is told to stderr and left out, and the verb ends with CLI_PARTIAL; an error only if
 * none is left. */
int repo_choose(struct repo_session *s, const struct repo_filter *f, char **ids, size_t n,
                struct arena *a, struct snapshot_list *ret, size_t *ret_unreadable, struct err *err)
    must_check;

/* "ID[:SUBFOLDER]" or "latest[:SUBFOLDER]" (of those that match): the snapshot, and the tree of the
 * folder. The repository's index is loaded. */
int repo_find_tree(struct repo_session *s, const struct repo_filter *f, const char *which,
                   struct arena *a, struct snapshot *ret_snapshot, struct store_id *ret_tree,
                   const char **ret_folder /* "" or "/a/b"; may be NULL */, struct err *err)
    must_check;

/* "a,b" and "c" to a, b, c, in the arena. */
const char *const *repo_split_tags(struct arena *a, const struct cli_list *from, size_t *ret_n);

/* ---- text ---- */

/* restic's form of sizes: "1.234 MiB". In the arena. */
const char *repo_size(struct arena *a, uint64_t bytes);

/* "2026-01-02 15:04:05" in local time. In the arena. */
const char *repo_time(struct arena *a, struct timespec t);

/* "2026-01-02", "2026-01-02 15:04", "02.01.2006 15:04:05": as restic reads them, in local time. */
bool repo_parse_time(const char *text, struct timespec *ret);

/* Go's text of a FileMode: "drwxr-xr-x". */
enum { REPO_MODE_TEXT = 24 };
void repo_mode(uint32_t mode, char out[REPO_MODE_TEXT]);

/* restic's JSON object of a snapshot, with id and short_id. */
void repo_snapshot_json(struct buf *out, const struct snapshot *s);

/* The members of restic's JSON object of a node, as `ls` prints it; without the last bracket. */
void repo_node_json(struct buf *out, const char *path, const struct node *node);

int cli_repo_init(int argc, char **argv);
int cli_repo_backup(int argc, char **argv);
int cli_repo_cat(int argc, char **argv);
int cli_repo_check(int argc, char **argv);
int cli_repo_diff(int argc, char **argv);
int cli_repo_dump(int argc, char **argv);
int cli_repo_find(int argc, char **argv);
int cli_repo_forget(int argc, char **argv);
int cli_repo_key(int argc, char **argv);
int cli_repo_list(int argc, char **argv);
int cli_repo_ls(int argc, char **argv);
int cli_repo_prune(int argc, char **argv);
int cli_repo_restore(int argc, char **argv);
int cli_repo_snapshots(int argc, char **argv);
int cli_repo_stats(int argc, char **argv);
int cli_repo_tag(int argc, char **argv);
int cli_repo_unlock(int argc, char **argv);

#endif
