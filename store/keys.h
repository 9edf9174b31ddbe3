/* The key files of a repository: who may open it. */
#ifndef STORE_KEYS_H
#define STORE_KEYS_H

#include "store/repository.h"

#include "core/arena.h"

/* What stands in clear in a key file. Strings are never NULL. */
struct key_info {
    struct store_id id;
    bool current; /* the one that opened the repository */
    const char *username, *hostname, *created /* RFC 3339 */;
    uint64_t n, r, p; /* of scrypt */
};

struct key_list {
    struct key_info *p;
    size_t n;
};

/* In the arena. Key files that cannot be read are counted in *ret_unreadable (may be NULL). */
int key_list_all(struct repository *repo, struct arena *a, struct key_list *ret,
                 size_t *ret_unreadable, struct err *err) must_check;

/* Removes a key file: its password opens nothing from then on (who has the master key keeps it).
 * ERR_REFUSED for the key that opened the repository. The caller holds an exclusive lock. */
int key_remove(struct repository *repo, const struct store_id *id, struct err *err) must_check;

/* Adds a key file with another password, proves that it opens, and removes the one that opened the
 * repository. The caller holds an exclusive lock, and closes the repository afterwards. */
int key_replace(struct repository *repo, const struct repository_key *key, struct store_id *ret_id,
                struct err *err) must_check;

/* The file of a type whose id begins with these hex digits (one at least). ERR_NOT_FOUND;
 * ERR_INVALID: more than one, or no id. */
int store_find_id(struct repository *repo, enum backend_type type, const char *prefix,
                  struct store_id *ret, struct err *err) must_check;

/* Loads the index and calls fn for each copy of each blob; < 0 ends it. */
int repository_each_blob(struct repository *repo,
                         int (*fn)(void *ctx, enum blob_type type, const struct store_id *id,
                                   struct err *err),
                         void *ctx, struct err *err) must_check;

#endif
