/* The inside of a configuration, and its two sources. */
#ifndef KUBE_CONFIG_PRIVATE_H
#define KUBE_CONFIG_PRIVATE_H

#include <pthread.h>

#include "kube/config.h"
#include "kube/plugin.h"

enum { CONFIG_FILE_CAP = 4 << 20, ACCOUNT_TTL_MS = 60000 };

struct kube_config {
    char *server, *ns;
    char *tls_server_name, *proxy; /* or NULL */
    bool insecure;
    char *token_file, *ca_file;   /* read again and again; or NULL */
    struct plugin *plugin;        /* or NULL; what it gives takes the place of `user` */
    pthread_mutex_t lock;         /* of what follows */
    char *ca;                     /* NULL if not configured */
    struct kube_credentials user; /* NULL where not configured */
    int64_t account_read_ms;      /* clock_mono_ms of the last attempt; 0: none */
    int64_t plugin_until_ms;      /* clock_wall_ms when the plugin is to run again; 0: at once */
};

struct kube_config *config_new(void);

/* The checks that both sources share: the server's address, http only on loopback. `where` names
 * the source in errors. */
int config_check(struct kube_config *c, const char *where, struct err *err) must_check;

/* A whole file, malloc'd and terminated. */
int config_read_file(const char *path, char **ret, struct err *err) must_check;

/* Kubeconfig texts in the order of $KUBECONFIG; the first that defines a thing wins. */
struct kubeconfig_text {
    const char *path; /* for messages, and its folder is the base of relative paths */
    str text;
};
int kubeconfig_read(const struct kubeconfig_text *texts, size_t n, const char *context,
                    struct kube_config *c, struct err *err) must_check;

/* The account of the pod: `folder` holds token, ca.crt, namespace. */
int config_in_cluster(const char *host, const char *port, const char *folder, struct kube_config *c,
                      struct err *err) must_check;

#endif
