/* gleaner repo ...: restic repositories without a cluster. One file for reading, one for writing.
 */
#ifndef CLI_REPO_H
#define CLI_REPO_H

#include "cli/cli.h"
#include "store/lock.h"

/* Where a repository is and what opens it; the options and restic's environment. */
struct repo_place {
    const char *url, *password_file, *ca_file;
};

#define REPO_OPTIONS(p)                                                                            \
    {"repo", 'r', "REPOSITORY", "/path, local:/path or rest:URL (default $RESTIC_REPOSITORY)",     \
     &(p)->url},                                                                                   \
        {"password-file", 'p', "FILE", "its first line (default $RESTIC_PASSWORD_FILE)",           \
         &(p)->password_file},                                                                     \
    {                                                                                              \
        "cacert", 0, "FILE", "PEM: the only certificates that are trusted", &(p)->ca_file          \
    }

/* An open repository, locked where it is written. */
struct repo_session {
    struct backend *backend;
    struct repository *repo;
    struct lock *lock;
};

/* The place's backend and password (malloc'd). INVALID says which option or variable is missing. */
int repo_place_open(const struct repo_place *place, struct backend **ret, char **ret_password,
                    struct err *err) must_check;
void repo_password_free(char **password); /* wipes; fit for CLEANUP */

/* Opens it; with `write` takes a lock that each index and snapshot write confirms. The session must
 * not move afterwards. */
int repo_open(struct repo_session *s, const struct repo_place *place, bool write, struct err *err)
    must_check;
void repo_close(struct repo_session *s); /* releases the lock; fit for CLEANUP */

int cli_repo_init(int argc, char **argv);
int cli_repo_backup(int argc, char **argv);
int cli_repo_snapshots(int argc, char **argv);
int cli_repo_ls(int argc, char **argv);

#endif
