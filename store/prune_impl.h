/* What prune*.c share.
 *
 * Memory beside the index: one byte for each copy of a blob, 40 bytes and 4 for each index file
 * that names it for each pack, 12 for each directory of one depth that was not walked yet, 8 for
 * each copy of a blob that is stored more than once, and one open pack of each type. */
#ifndef STORE_PRUNE_IMPL_H
#define STORE_PRUNE_IMPL_H

#include "store/bits.h"
#include "store/prune.h"
#include "store/repository_impl.h"

/* What is known of a copy of a blob, by its number in the index. "Used" is told of the first copy
 * (index_ordinal), and of the others once all snapshots are walked. */
enum {
    COPY_USED = 1,
    COPY_MANY = 2 /* it has others */,
    COPY_STAYS = 4 /* the one that is kept */
};

enum pack_action {
    PACK_KEEP,
    PACK_REMOVE /* nothing in it is used */,
    PACK_COPY /* then remove */
};

struct prune_pack {
    uint64_t used, unused; /* sealed bytes: copies that stay; dead and superfluous ones */
    uint32_t used_n, unused_n;
    uint64_t raw; /* bytes of trees that are not compressed */
    enum pack_action action : 8;
    bool has_data : 1, has_tree : 1;
    bool there : 1;   /* the store lists it with the size that the index implies */
    bool resized : 1; /* the store lists it with another size */
};

_Static_assert(sizeof(struct prune_pack) == 40, "the memory budget counts 40 bytes for each pack");

/* An index file and the packs that it names: a part of prune.file_packs. */
struct prune_file {
    struct store_id id;
    size_t first, n;
    uint64_t blobs;
    bool goes; /* is written anew, without what goes */
    bool gone; /* was removed by us */
};

struct prune {
    struct repository *repo;
    const struct prune_options *options;
    struct prune_result result;

    struct lock *lock; /* the one that is held now, or NULL */
    bool alone;        /* nobody else had a lock when we began */

    struct map *snapshots; /* ids of those that were walked */
    uint8_t *copies;       /* flags, by number in the index */
    size_t copies_n;
    struct prune_pack *packs; /* by number in the index, as of the plan; later ones stay */
    uint32_t packs_n;
    bool planned;
    bool deleting; /* the index is written: what a new index file names stays */

    struct store_ids unindexed; /* packs that no index names */
    struct {
        uint64_t *p;
        size_t n, room;
    } unindexed_sizes;
    struct {
        struct prune_file *p;
        size_t n, room;
    } files;
    struct map *file_ids; /* of `files` */
    struct {
        uint32_t *p;
        size_t n, room;
    } file_packs;
};

/* Refreshes our lock if it is time, and reports. */
int prune_tick(struct prune *p, enum prune_phase phase, uint64_t done, uint64_t total,
               struct err *err) must_check;

/* True if the pack will be there afterwards. */
static inline bool prune_stays(const struct prune *p, uint32_t pack)
{
    return pack >= p->packs_n || p->packs[pack].action == PACK_KEEP;
}

/* Reads the index files that were not read yet. ERR_CONFLICT if one that was read is gone: somebody
 * else has pruned. ERR_REFUSED if rustic marks packs in one. */
int prune_load_index(struct prune *p, struct err *err) must_check;
void prune_know_file(struct prune *p, const struct prune_file *file);

/* Lists the snapshots, loads the index, and marks what those snapshots use that were not walked
 * yet; after the plan it spares the packs that they need. Twice: lists a second time, in case the
 * first list is not complete. ERR_CORRUPT: something used is missing or unreadable. */
int prune_walk(struct prune *p, bool twice, struct err *err) must_check;

/* Chooses the copies that stay, and the packs that go. */
int prune_plan(struct prune *p, struct err *err) must_check;

/* Stores what is used in the packs that are to be copied once more, and indexes it. */
int prune_copy(struct prune *p, struct err *err) must_check;

/* That every blob that is used lies in a pack that stays. ERR_INTERNAL. */
int prune_check_plan(struct prune *p, struct err *err) must_check;

/* Counts again what goes, once packs were spared. */
void prune_count(struct prune *p);

int prune_take_lock(struct prune *p, bool exclusive, struct err *err) must_check;
int prune_drop_lock(struct prune *p, struct err *err) must_check;

/* True if phase two has something to do. */
bool prune_has_work(const struct prune *p);

/* Phase two, with its locks. */
int prune_remove(struct prune *p, struct err *err) must_check;

/* Chooses the index files to write anew, and gives the packs that the new ones must name. */
void prune_choose_files(struct prune *p, struct bits *ret_packs);

/* Writes index files that name these packs; appends their ids. */
int prune_write_index(struct prune *p, const struct bits *packs, struct store_ids *ret_ids,
                      struct err *err) must_check;

#endif
