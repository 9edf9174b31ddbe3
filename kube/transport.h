/* The network transport, and the part of it that the watch shares: one exchange on one curl handle.
 */
#ifndef KUBE_TRANSPORT_H
#define KUBE_TRANSPORT_H

#include <curl/curl.h>

#include "kube/client.h"

struct transport_call {
    CURL *easy;
    struct kube_http *x;
    struct curl_slist *headers, *connect_to;
    char *url;
    size_t sent; /* of the body */
    bool failed; /* by ourselves: why is set */
    bool too_large;
    struct err why;
    char text[CURL_ERROR_SIZE];
};

/* Sets all options of the handle for x. Without credentials the handle gets no URL: curl then
 * refuses at once, and transport_finish says why. The call must stay where it is until
 * transport_finish. */
void transport_prepare(struct transport_call *call, CURL *easy, struct kube_config *config,
                       struct kube_http *x);

/* Fills x->status and x->retry_after_ms, or sets *err and returns -1. Frees what prepare made. */
int transport_finish(struct transport_call *call, CURLcode code, struct err *err) must_check;

/* The blocking transport over the network; takes nothing over. */
struct kube_transport transport_network(struct kube_config *config);

#endif
