/* What the files of kube/ share with each other and with nobody else. */
#ifndef KUBE_PRIVATE_H
#define KUBE_PRIVATE_H

#include "kube/client.h"

struct kube {
    struct kube_transport transport;
    struct kube_config *config; /* NULL on a test transport */
    const atomic_bool *cancel;
    unsigned timeout_ms;
};

/* As kube_object_read, but the name may be absent: answers to a review have none. */
int object_read_unnamed(struct arena *a, str raw, struct kube_object *ret, struct err *err)
    must_check;

/* The text of a list's item with apiVersion and kind of `t` spliced in where they are absent, in
 * the arena and terminated. */
str object_complete(struct arena *a, const struct kube_type *t, str item);

/* Sets *err from an answer that is not 2xx (metav1.Status or anything else); returns -1. */
int status_error(const struct kube_http *x, struct err *err) must_check;

/* metadata.continue of a 410's Status, in the arena; NULL if it has none. */
const char *status_continue(struct arena *a, str body);

/* One exchange with the repeats that client.h promises. x is filled in; x->answer is the caller's
 * to free, whatever the outcome. */
int client_exchange(struct kube *k, struct kube_http *x, struct err *err) must_check;

/* Appends &key=value, percent-encoded; the first one gets a question mark. Without value: nothing.
 */
void query_add(struct buf *url, const char *key, const char *value);

/* Sleeps at most that long; ERR_CANCELLED as soon as *cancel (may be NULL) is true. */
int wait_ms(unsigned ms, const atomic_bool *cancel, struct err *err) must_check;

/* Milliseconds of the machine's monotonic clock: networks do not run on a virtual clock. */
int64_t real_ms(void);

#endif
