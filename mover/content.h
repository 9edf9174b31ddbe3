/* Makes an open file hold exactly the bytes of a list of chunks, writing only what differs. */
#ifndef MOVER_CONTENT_H
#define MOVER_CONTENT_H

#include "store/repository.h"

/* Buffers for many files one after the other. Borrows the repository, whose index is loaded. */
struct content;

/* past_damage: a chunk that cannot be loaded is left out; content_damage tells it. */
struct content *content_new(struct repository *repo, bool past_damage);
void content_free(struct content *c);
DEFINE_CLEANUP(struct content *, content_free)

/* The file behind fd (read-write, `size` bytes long) becomes the chunks, in order. Each chunk's
 * range is hashed; where the hash differs the chunk is loaded and those blocks of it written that
 * differ. A block of zeros becomes a hole where it differs, and beyond the old end. The rest is cut
 * off.
 *
 * Works in place: a database of the volume's size fits no second time. Interrupted anywhere, the
 * same call made again ends with the same bytes.
 *
 * *ret_size: the bytes that it now holds; *ret_written: those that were written; *ret_changed:
 * anything was. ERR_NOT_FOUND: a chunk is not in the index; nothing of that file was changed then.
 */
int content_match(struct content *c, int fd, uint64_t size, const struct store_id *ids,
                  size_t ids_n, uint64_t *ret_size, uint64_t *ret_written, bool *ret_changed,
                  struct err *err) must_check;

/* Why the file that was matched last is not whole, or NULL: the first chunk that was left out. It
 * has its length and all others; where that one belongs it holds what it held, or zeros. */
const struct err *content_damage(const struct content *c);

#endif
