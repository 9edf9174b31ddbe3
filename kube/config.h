/* Where the API server is and who we are: kubeconfig files and the in-cluster account.
 *
 * Rules of client-go's clientcmd and rest packages: KUBECONFIG is a colon list whose first entry
 * that defines a thing wins; relative paths are relative to their own file; *-data wins over the
 * file form. In a cluster: KUBERNETES_SERVICE_HOST and _PORT, token and ca.crt under
 * /var/run/secrets/kubernetes.io/serviceaccount; both are read again every 60 s, an unreadable
 * file keeps the old text, and a 401 drops the token. A user's exec plugin (kube/plugin.h) runs
 * when its credentials are first needed, have expired or were dropped; loading runs nothing. A
 * token that stands in the kubeconfig wins over the plugin. Auth providers, passwords and
 * impersonation are refused by name. */
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

/* How we prove who we are: malloc'd, NULL where that way is not used. */
struct kube_credentials {
    char *token;                    /* bearer */
    char *client_cert, *client_key; /* PEM */
};

/* Those of now. While an exec plugin runs, others wait for what it gives. ERR_UNAUTHORIZED: the
 * plugin gave none, and the message names its command; nothing else fails. */
int kube_config_credentials(struct kube_config *c, struct kube_credentials *ret, struct err *err)
    must_check;
void kube_credentials_free(struct kube_credentials *c); /* wipes; fit for CLEANUP */
void kube_config_drop_token(struct kube_config *c); /* after a 401: read it again, run it again */

/* The authorities now, PEM, malloc'd, or NULL if the system's are to be used. */
char *kube_config_ca(struct kube_config *c);
bool kube_config_insecure(const struct kube_config *c);

/* The name that the server's certificate has to be of, if not that of its address; a proxy's
 * address (http, https, socks5). NULL: none. */
const char *kube_config_tls_server_name(const struct kube_config *c);
const char *kube_config_proxy(const struct kube_config *c);

#endif
