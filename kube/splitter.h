/* Cuts the items of a List out of a stream of bytes, one at a time, without ever holding the list.
 * The memory is one item (KUBE_MAX_OBJECT) and a few words. */
#ifndef KUBE_SPLITTER_H
#define KUBE_SPLITTER_H

#include "core/err.h"
#include "core/str.h"

struct kube_splitter;

/* each() gets the raw text of one item (valid during the call). */
struct kube_splitter *kube_splitter_new(int (*each)(void *ctx, str item, struct err *err),
                                        void *ctx);
void kube_splitter_free(struct kube_splitter *s);

/* Any piece of the text, of any size. ERR_CORRUPT: not a List; ERR_TOO_LARGE; each()'s error. */
int kube_splitter_feed(struct kube_splitter *s, const char *p, size_t n, struct err *err)
    must_check;

/* The end of the text: ERR_CORRUPT if it is not complete. */
int kube_splitter_end(struct kube_splitter *s, struct err *err) must_check;

/* After the end: the text of the list's "metadata", "kind" and "apiVersion" (raw; absent if none).
 */
str kube_splitter_member(const struct kube_splitter *s, const char *name);

#endif
