#include "core/map.h"

#include <stdlib.h>

struct entry {
    char *key; /* NULL: deleted */
    size_t n;
    uint64_t hash;
    void *value;
};

struct map {
    struct entry *entries; /* in order of insertion */
    size_t used, room, live;
    uint32_t *slots;   /* index + 1 into entries; 0: free */
    size_t slot_count; /* power of two */
    void (*free_value)(void *value);
};

static uint64_t hash_of(str key)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, then a mix: keys come from the cluster, not foes */
    for (size_t i = 0; i < key.n; i++)
        h = (h ^ (unsigned char)key.p[i]) * 0x100000001b3u;
    h ^= h >> 32;
    return h * 0x9e3779b97f4a7c15u;
}

struct map *map_new(void (*free_value)(void *value))
{
    struct map *m = xcalloc(1, sizeof *m);
    m->free_value = free_value;
    return m;
}

void map_free(struct map *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->used; i++) {
        if (m->entries[i].key && m->free_value)
            m->free_value(m->entries[i].value);
        free(m->entries[i].key);
    }
    free(m->entries);
    free(m->slots);
    free(m);
}

static struct entry *find(const struct map *m, str key, uint64_t hash)
{
    if (!m->slot_count)
        return NULL;
    for (size_t i = hash & (m->slot_count - 1); m->slots[i]; i = (i + 1) & (m->slot_count - 1)) {
        struct entry *e = &m->entries[m->slots[i] - 1];
        if (e->key && e->hash == hash && str_eq((str){e->key, e->n}, key))
            return e;
    }
    return NULL;
}

static void rehash(struct map *m)
{
    size_t live = 0;
    for (size_t i = 0; i < m->used; i++)
        if (m->entries[i].key)
            m->entries[live++] = m->entries[i];
    m->used = live;
    m->room = MAX(live * 2, 16);
    m->entries = xrealloc(m->entries, m->room * sizeof *m->entries);
    m->slot_count = 32;
    while (m->slot_count < m->room * 2)
        m->slot_count *= 2;
    free(m->slots);
    m->slots = xcalloc(m->slot_count, sizeof *m->slots);
    for (size_t e = 0; e < m->used; e++) {
        size_t i = m->entries[e].hash & (m->slot_count - 1);
        while (m->slots[i])
            i = (i + 1) & (m->slot_count - 1);
        m->slots[i] = (uint32_t)e + 1;
    }
}

void *map_get(const struct map *m, str key)
{
    struct entry *e = find(m, key, hash_of(key));
    return e ? e->value : NULL;
}

void map_put(struct map *m, str key, void *value)
{
    uint64_t hash = hash_of(key);
    struct entry *e = find(m, key, hash);
    if (e) {
        if (m->free_value && e->value != value)
            m->free_value(e->value);
        e->value = value;
        return;
    }
    if (m->used == m->room)
        rehash(m);
    m->entries[m->used++] = (struct entry){xstrndup(key.p, key.n), key.n, hash, value};
    m->live++;
    size_t i = hash & (m->slot_count - 1);
    while (m->slots[i])
        i = (i + 1) & (m->slot_count - 1);
    m->slots[i] = (uint32_t)m->used;
}

bool map_del(struct map *m, str key)
{
    struct entry *e = find(m, key, hash_of(key));
    if (!e)
        return false;
    if (m->free_value)
        m->free_value(e->value);
    free(e->key);
    e->key = NULL;
    m->live--;
    return true;
}

size_t map_count(const struct map *m)
{
    return m->live;
}

bool map_each(const struct map *m, size_t *at, str *ret_key, void **ret_value)
{
    while (*at < m->used) {
        struct entry *e = &m->entries[(*at)++];
        if (!e->key)
            continue;
        if (ret_key)
            *ret_key = (str){e->key, e->n};
        if (ret_value)
            *ret_value = e->value;
        return true;
    }
    return false;
}
