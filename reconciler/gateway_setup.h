/* Where the gateway is, and the certificate that it serves with. */
#ifndef RECONCILER_GATEWAY_SETUP_H
#define RECONCILER_GATEWAY_SETUP_H

#include "gateway/client.h" /* GATEWAY_AUDIENCE */
#include "reconciler/context.h"

#define GATEWAY_SERVICE "gleaner-gateway"
/* The controller's own token of the gateway's audience, projected by the kubelet. */
#define GATEWAY_TOKEN_FILE "/var/run/gleaner/gateway-token"
#define GATEWAY_SECRET "gleaner-gateway-tls" /* ca.crt, tls.crt, tls.key: the gateway mounts it */

/* Makes the certificate's Secret, valid for ten years, unless one is there that is good for the
 * Service's address for 30 more days. To be called again and again: the Service may be made anew
 * with another address, the Secret may go. The gateway's pod waits for the Secret by itself, and
 * takes up a new one when the kubelet has brought it. NOT_FOUND: no Service. */
int gateway_setup(struct context *cx, struct err *err) must_check;

/* "https://<address of the Service>:8443" and the CA's PEM text, in the arena. The address, not the
 * name: a mover must work where the cluster's DNS does not. */
int gateway_address(struct context *cx, struct arena *a, const char **ret_url, str *ret_ca,
                    struct err *err) must_check;

#endif
