/* A watch on the libuv loop: lists, then follows, and starts again by itself for ever.
 *
 * The contract of client-go's reflector: bookmarks move the position; the end of a stream goes on
 * from the last position; 410 (as status or as an ERROR event) lists again and reports what has
 * vanished meanwhile as deleted; other errors back off 0.8 s x2 to 30 s with jitter; 401 reads the
 * token again. timeoutSeconds is random in 5..10 minutes and a silent connection is dropped after
 * that. */
#ifndef KUBE_WATCH_H
#define KUBE_WATCH_H

#include <uv.h>

#include "kube/client.h"

enum kube_event { KUBE_ADDED, KUBE_MODIFIED, KUBE_DELETED, KUBE_SYNCED };

struct kube_watch;

/* Called on the loop's thread. The object lives only during the call. KUBE_SYNCED (no object): the
 * first complete list has been delivered; it is called once. A DELETED that was only inferred from
 * a new list has identity (namespace, name, uid) and no raw text. */
typedef void kube_watch_fn(void *ctx, enum kube_event event, const struct kube_object *o);

struct kube_watch_options {
    const char *ns, *label_selector; /* as in kube_list */
    /* Called on the loop's thread when an attempt fails, for the log; NULL: nobody. A type that is
     * not served (404) is tried again every 30 s and is synced with nothing. */
    void (*failed)(void *ctx, const struct kube_type *t, const struct err *err);
};

/* Strings of the options are copied. `t` must outlive the watch. */
int kube_watch_start(uv_loop_t *loop, struct kube *k, const struct kube_type *t,
                     const struct kube_watch_options *opts, kube_watch_fn *fn, void *ctx,
                     struct kube_watch **ret, struct err *err) must_check;

/* Ends it; fn is not called any more. The memory is freed when the loop has closed its handles. */
void kube_watch_stop(struct kube_watch *w);

#endif
