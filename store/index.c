#include "store/index.h"

#include "store/idset.h"
#include "store/limits.h"

#include <stdatomic.h>
#include <stdlib.h>

/* One copy of one blob. The type is the top bit of `pack`. */
struct entry {
    struct store_id id;
    uint32_t pack, offset, length, plain;
};

#define TREE_BIT 0x80000000u

_Static_assert(sizeof(struct entry) == 48, "the memory budget counts 48 bytes for each blob");

enum { SEGMENT_LOG2 = 12, SEGMENT = 1 << SEGMENT_LOG2, MIN_SLOTS = 1024 };

/* Slots that lie in line before a free one is met. Of different ids, 7/8 full, a few thousand for
 * as many as numbers reach; beyond that some id has thousands of copies, and each one more would
 * cost more time than the one before. */
enum { PROBES_MAX = 8192 };

static atomic_size_t memory_bound; /* of each index */

/* Entries lie in segments, so that growing copies nothing. The slots hold entry numbers plus one
 * (0: free), probed in line, at most 7/8 full. */
struct index {
    struct entry **segments;
    size_t segments_room;
    uint32_t entries;
    uint32_t *slots;
    size_t slots_n;  /* a power of two */
    uint64_t secret; /* ids come from strangers: which of them collide is not theirs to choose */
    struct {
        struct index_pack *p;
        size_t n, room;
    } packs;
    uint32_t *pack_slots; /* as slots, over the ids of stored packs */
    size_t pack_slots_n;
    uint32_t packs_stored;
    struct idset *known; /* of a lean index: its blobs of data */
};

struct index *index_new(void)
{
    struct index *ix = xcalloc(1, sizeof *ix);
    random_bytes(&ix->secret, sizeof ix->secret);
    ix->secret |= 1;
    ix->slots_n = ix->pack_slots_n = MIN_SLOTS;
    ix->slots = xcalloc(ix->slots_n, sizeof *ix->slots);
    ix->pack_slots = xcalloc(ix->pack_slots_n, sizeof *ix->pack_slots);
    return ix;
}

void index_free(struct index *ix)
{
    if (!ix)
        return;
    for (size_t i = 0; i << SEGMENT_LOG2 < ix->entries; i++)
        free(ix->segments[i]);
    free(ix->segments);
    free(ix->slots);
    free(ix->pack_slots);
    vec_free(&ix->packs);
    idset_free(ix->known);
    free(ix);
}

void index_limit_memory(size_t bytes)
{
    atomic_store(&memory_bound, bytes);
}

void index_make_lean(struct index *ix, size_t most)
{
    if (!ix->known)
        ix->known = idset_new(most);
}

size_t index_blobs(const struct index *ix)
{
    return ix->entries + (ix->known ? idset_count(ix->known) : 0);
}

size_t index_memory(const struct index *ix)
{
    size_t segments = ((size_t)ix->entries + SEGMENT - 1) >> SEGMENT_LOG2;
    return segments * SEGMENT * sizeof(struct entry) + ix->segments_room * sizeof *ix->segments +
           ix->slots_n * sizeof *ix->slots + ix->pack_slots_n * sizeof *ix->pack_slots +
           ix->packs.room * sizeof *ix->packs.p + (ix->known ? idset_memory(ix->known) : 0);
}

static struct entry *entry_at(const struct index *ix, uint32_t n)
{
    return &ix->segments[n >> SEGMENT_LOG2][n & (SEGMENT - 1)];
}

static size_t hash_of(const struct index *ix, const struct store_id *id)
{
    uint64_t a, b;
    memcpy(&a, id->b, sizeof a);
    memcpy(&b, id->b + 8, sizeof b);
    uint64_t h = (a ^ ix->secret) * 0x9e3779b97f4a7c15u + b * ix->secret;
    return (size_t)(h ^ h >> 32);
}

/* Gives how many slots it passed by. */
static size_t put_slot(uint32_t *slots, size_t slots_n, size_t hash, uint32_t number)
{
    size_t passed = 0;
    while (slots[(hash + passed) & (slots_n - 1)])
        passed++;
    slots[(hash + passed) & (slots_n - 1)] = number + 1;
    return passed;
}

static void grow_slots(struct index *ix)
{
    free(ix->slots); /* first: the table is rebuilt from the entries */
    ix->slots_n *= 2;
    ix->slots = xcalloc(ix->slots_n, sizeof *ix->slots);
    for (uint32_t i = 0; i < ix->entries; i++)
        put_slot(ix->slots, ix->slots_n, hash_of(ix, &entry_at(ix, i)->id), i);
}

/* Gives how many slots it passed by. */
static size_t add(struct index *ix, enum blob_type type, const struct store_id *id,
                  const struct index_place *place)
{
    if (ix->known && type == BLOB_DATA) {
        idset_add(ix->known, id);
        return 0;
    }
    if ((ix->entries & (SEGMENT - 1)) == 0) {
        size_t segment = ix->entries >> SEGMENT_LOG2;
        if (segment == ix->segments_room) {
            ix->segments_room = ix->segments_room ? ix->segments_room * 2 : 16;
            ix->segments = xrealloc(ix->segments, ix->segments_room * sizeof *ix->segments);
        }
        ix->segments[segment] = xmalloc(SEGMENT * sizeof(struct entry));
    }
    if (ix->entries >= ix->slots_n / 8 * 7)
        grow_slots(ix);
    uint32_t number = ix->entries++;
    *entry_at(ix, number) = (struct entry){.id = *id,
                                           .pack = place->pack | (type == BLOB_TREE ? TREE_BIT : 0),
                                           .offset = place->offset,
                                           .length = place->length,
                                           .plain = place->plain};
    return put_slot(ix->slots, ix->slots_n, hash_of(ix, id), number);
}

void index_add(struct index *ix, enum blob_type type, const struct store_id *id,
               const struct index_place *place)
{
    (void)add(ix, type, id, place);
}

/* Finds the next entry from the cursor on (low bits: probes made so far). */
static const struct entry *find(const struct index *ix, enum blob_type type,
                                const struct store_id *id, uint64_t *cursor, uint32_t *ret_number)
{
    size_t start = hash_of(ix, id);
    for (;; (*cursor)++) {
        uint32_t slot = ix->slots[(start + *cursor) & (ix->slots_n - 1)];
        if (slot == 0)
            return NULL;
        const struct entry *e = entry_at(ix, slot - 1);
        if (!store_id_equal(&e->id, id) ||
            (e->pack & TREE_BIT) != (type == BLOB_TREE ? TREE_BIT : 0) ||
            ix->packs.p[e->pack & ~TREE_BIT].state == PACK_LOST)
            continue;
        (*cursor)++;
        *ret_number = slot - 1;
        return e;
    }
}

bool index_find(const struct index *ix, enum blob_type type, const struct store_id *id,
                uint64_t *cursor, struct index_place *ret_place)
{
    uint32_t number;
    const struct entry *e = find(ix, type, id, cursor, &number);
    if (e)
        *ret_place = (struct index_place){e->pack & ~TREE_BIT, e->offset, e->length, e->plain};
    return e != NULL;
}

bool index_entry(const struct index *ix, uint32_t n, enum blob_type *ret_type,
                 struct store_id *ret_id, struct index_place *ret_place)
{
    const struct entry *e = entry_at(ix, n);
    uint32_t pack = e->pack & ~TREE_BIT;
    if (ix->packs.p[pack].state == PACK_LOST)
        return false;
    *ret_type = e->pack & TREE_BIT ? BLOB_TREE : BLOB_DATA;
    *ret_id = e->id;
    *ret_place = (struct index_place){pack, e->offset, e->length, e->plain};
    return true;
}

bool index_has(const struct index *ix, enum blob_type type, const struct store_id *id)
{
    uint32_t number;
    uint64_t cursor = 0;
    if (ix->known && type == BLOB_DATA)
        return idset_has(ix->known, id);
    return find(ix, type, id, &cursor, &number) != NULL;
}

bool index_ordinal(const struct index *ix, enum blob_type type, const struct store_id *id,
                   uint32_t *ret_ordinal)
{
    uint64_t cursor = 0;
    return find(ix, type, id, &cursor, ret_ordinal) != NULL;
}

uint32_t index_packs(const struct index *ix)
{
    return (uint32_t)ix->packs.n;
}

struct index_pack *index_pack(struct index *ix, uint32_t number)
{
    return &ix->packs.p[number];
}

uint32_t index_new_pack(struct index *ix, struct pack *memory)
{
    *vec_add(&ix->packs) = (struct index_pack){.state = PACK_IN_MEMORY, .memory = memory};
    return (uint32_t)ix->packs.n - 1;
}

bool index_find_pack(const struct index *ix, const struct store_id *id, uint32_t *ret_number)
{
    size_t at = hash_of(ix, id);
    for (;; at++) {
        uint32_t slot = ix->pack_slots[at & (ix->pack_slots_n - 1)];
        if (slot == 0)
            return false;
        if (store_id_equal(&ix->packs.p[slot - 1].id, id)) {
            *ret_number = slot - 1;
            return true;
        }
    }
}

void index_pack_stored(struct index *ix, uint32_t number, const struct store_id *id, uint64_t size)
{
    struct index_pack *p = &ix->packs.p[number];
    p->id = *id;
    p->size = size;
    p->state = PACK_STORED;
    p->memory = NULL;
    if (ix->packs_stored >= ix->pack_slots_n / 8 * 7) {
        free(ix->pack_slots);
        ix->pack_slots_n *= 2;
        ix->pack_slots = xcalloc(ix->pack_slots_n, sizeof *ix->pack_slots);
        for (uint32_t i = 0; i < ix->packs.n; i++)
            if (ix->packs.p[i].state == PACK_STORED && i != number)
                put_slot(ix->pack_slots, ix->pack_slots_n, hash_of(ix, &ix->packs.p[i].id), i);
    }
    put_slot(ix->pack_slots, ix->pack_slots_n, hash_of(ix, id), number);
    ix->packs_stored++;
}

/* True if the index names this copy already. */
static bool has_copy(const struct index *ix, uint32_t pack, const struct pack_blob *b,
                     uint32_t offset)
{
    struct index_place place;
    uint64_t cursor = 0;
    while (index_find(ix, b->type, &b->id, &cursor, &place))
        if (place.pack == pack && place.offset == offset && place.length == b->length)
            return true;
    return false;
}

static int check_memory(const struct index *ix, struct err *err)
{
    size_t bound = atomic_load(&memory_bound);
    if (bound == 0 || index_memory(ix) <= bound)
        return 0;
    return err_set(err, ERR_REFUSED,
                   "the index of the repository needs more than the %zu MiB of memory that there "
                   "are for it: give the process more",
                   bound >> 20);
}

int index_add_pack(struct index *ix, const struct store_id *pack, const struct pack_blob *blobs,
                   const uint32_t *offsets, size_t n, struct err *err)
{
    if (ix->packs.n >= STORE_PACKS_MAX || ix->entries > UINT32_MAX - 2 - n)
        return err_set(err, ERR_TOO_LARGE, "the repository has too many blobs for one process");
    uint32_t number;
    uint64_t size = pack_file_size(blobs, n);
    bool known = index_find_pack(ix, pack, &number);
    if (!known) {
        number = index_new_pack(ix, NULL);
        index_pack_stored(ix, number, pack, size);
    } else if (ix->packs.p[number].size != size) {
        ix->packs.p[number].conflict = true;
    }
    for (size_t i = 0; i < n; i++) {
        struct index_place place = {number, offsets[i], blobs[i].length, blobs[i].plain};
        if (known && has_copy(ix, number, &blobs[i], offsets[i]))
            continue;
        if (add(ix, blobs[i].type, &blobs[i].id, &place) > PROBES_MAX)
            return err_set(err, ERR_CORRUPT,
                           "the index names thousands of places for one blob: no program has "
                           "written that by itself; restic repair index makes it anew");
    }
    return check_memory(ix, err);
}
