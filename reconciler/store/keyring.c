#include "reconciler/store/keyring.h"

#include "core/codec.h"
#include "core/map.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Of one repository. Passwords as salted hashes: they are as long as a key. */
struct keys {
    uint8_t password[32], mover_password[32];
    struct repository_memory *memory;
    bool has_mover;
    struct store_id mover;      /* the mover's key, */
    struct store_id repository; /* and of which repository: its config's id */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *ring; /* of struct keys */
static uint8_t salt[32];

static void keys_free(void *p)
{
    struct keys *k = p;
    repository_memory_free(k->memory);
    explicit_bzero(k, sizeof *k);
    free(k);
}

/* Where it lies, as long as anybody could make a name. */
static void name_of(const struct opened *o, char name[400])
{
    snprintf(name, 400, "%s\n%s", o->place.id, o->path);
}

static void hash_password(const char *password, uint8_t ret[32])
{
    struct sha256_ctx *c = sha256_new();
    sha256_update(c, salt, sizeof salt);
    sha256_update(c, password, strlen(password));
    sha256_final(c, ret);
}

/* Under the lock, both. */
static struct keys *find(const struct opened *o)
{
    char name[400];
    name_of(o, name);
    return ring ? map_get(ring, str_of(name)) : NULL;
}

static struct keys *find_or_make(const struct opened *o)
{
    char name[400];
    struct keys *k = find(o);
    if (k)
        return k;
    if (!ring) {
        ring = map_new(keys_free);
        random_bytes(salt, sizeof salt);
    }
    name_of(o, name);
    map_put(ring, str_of(name), k = xcalloc(1, sizeof *k));
    return k;
}

static bool is_password(const uint8_t hash[32], const char *password)
{
    uint8_t own[32];
    hash_password(password, own);
    return memcmp(own, hash, sizeof own) == 0;
}

struct repository_memory *keyring_find(const struct opened *o, const char *password)
{
    struct repository_memory *found = NULL;
    pthread_mutex_lock(&lock);
    struct keys *k = find(o);
    if (k && k->memory && is_password(k->password, password))
        found = repository_memory_copy(k->memory);
    pthread_mutex_unlock(&lock);
    return found;
}

void keyring_note(const struct opened *o, const char *password)
{
    struct repository_memory *memory = repository_remember(o->repo);
    pthread_mutex_lock(&lock);
    struct keys *k = find_or_make(o);
    repository_memory_free(k->memory);
    k->memory = memory;
    hash_password(password, k->password);
    pthread_mutex_unlock(&lock);
}

bool keyring_find_mover(const struct opened *o, struct store_id *ret)
{
    pthread_mutex_lock(&lock);
    const struct keys *k = find(o);
    bool has = k && k->has_mover && store_id_equal(&k->repository, repository_id(o->repo)) &&
               is_password(k->mover_password, o->mover_password);
    if (has)
        *ret = k->mover;
    pthread_mutex_unlock(&lock);
    return has;
}

void keyring_note_mover(const struct opened *o, const struct store_id *id)
{
    pthread_mutex_lock(&lock);
    struct keys *k = find_or_make(o);
    k->has_mover = true;
    k->mover = *id;
    k->repository = *repository_id(o->repo);
    hash_password(o->mover_password, k->mover_password);
    pthread_mutex_unlock(&lock);
}

void keyring_wipe(void)
{
    pthread_mutex_lock(&lock);
    map_free(ring);
    ring = NULL;
    pthread_mutex_unlock(&lock);
}
