/* The stream of a watch: one JSON object a line, {"type": ..., "object": ...}, cut at any byte. */
#ifndef KUBE_LINES_H
#define KUBE_LINES_H

#include "kube/object.h"

enum line_event {
    LINE_OBJECT, /* ADDED or MODIFIED */
    LINE_DELETED,
    LINE_BOOKMARK /* only kind and resource_version are set */
};

struct lines;

/* each() < 0 ends the stream with its error. */
struct lines *lines_new(int (*each)(void *ctx, enum line_event event, const struct kube_object *o,
                                    struct err *err),
                        void *ctx);
void lines_free(struct lines *l);

/* An ERROR event is the error that its Status says: ERR_GONE for 410. Else ERR_CORRUPT, or
 * ERR_TOO_LARGE for a line above KUBE_MAX_OBJECT. An unfinished last line is nobody's loss: the
 * watch goes on from the position before it. */
int lines_feed(struct lines *l, const char *p, size_t n, struct err *err) must_check;

#endif
