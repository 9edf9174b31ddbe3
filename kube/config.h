/* Where the API server is and who we are: kubeconfig files and the in-cluster account.
 *
 * Rules of client-go's clientcmd and rest packages: KUBECONFIG is a colon list whose first entry
 * that defines a thing wins; relative paths are relative to their own file; *-data wins over the
 * file form. In a cluster: KUBERNETES_SERVICE_HOST and _PORT, token and ca.crt under
 * /var/run/secrets/kubernetes.io/serviceaccount; both are read again every 60 s, an unreadable
 * file keeps the old text, and a 401 drops the token. exec plugins and auth providers are refused
 * by name. */
#ifndef KUBE_CONFIG_H
#define KUBE_CONFIG_H

#include "core/err.h"
#include "core/str.h"

struct kube_config; /* thread-safe once loaded */

/* path: a kubeconfig, or NULL for $KUBECONFIG, then the in-cluster account, then ~/.kube/config.
 * context: NULL for the current one. ERR_INVALID names the file and the field. */
int kube_config_load(const char *path, const char *context, struct kube_config **ret,
                     struct err *err) must_check;
void kube_config_free(struct kube_config *c);
DEFINE_CLEANUP(struct kube_config *, kube_config_free)

const char *kube_config_server(const struct kube_config *c); /* https://host:port */
const char *
kube_config_namespace(const struct kube_config *c); /* of the context or pod; "default" */

/* The bearer token now, malloc'd, or NULL if another way of authentication is used. */
char *kube_config_token(struct kube_config *c);
void kube_config_drop_token(struct kube_config *c); /* after a 401: read it again */

/* PEM texts; the authorities now, malloc'd, or NULL if the system's are to be used; absent slices
 * where not configured, valid until the config is freed. */
char *kube_config_ca(struct kube_config *c);
str kube_config_client_cert(const struct kube_config *c);
str kube_config_client_key(const struct kube_config *c);
bool kube_config_insecure(const struct kube_config *c);

#endif
