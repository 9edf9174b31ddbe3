/* Credentials by a command of the person's: "exec" of a kubeconfig's user, which is how EKS, GKE,
 * AKS and OIDC log in. The client's part of client.authentication.k8s.io, as client-go plays it.
 * Reading a configuration never runs anything: only plugin_run does. */
#ifndef KUBE_PLUGIN_H
#define KUBE_PLUGIN_H

#include "kube/config.h"

/* When the command may ask the person something on its stdin. */
enum plugin_stdin { PLUGIN_NEVER, PLUGIN_IF_TERMINAL, PLUGIN_ALWAYS };

struct plugin {
    char *where; /* the kubeconfig, for messages */
    char *api_version;
    char **argv;        /* argv[0]: a path, or a name for PATH; ended by NULL */
    char **env;         /* NAME=VALUE, added to our own; ended by NULL */
    char *hint;         /* how to install the command; may be NULL */
    bool tells_cluster; /* the command is told which API server it is for */
    enum plugin_stdin in;
};

void plugin_free(struct plugin *p); /* accepts NULL */

/* Runs c's plugin to its end: it has our environment, our stderr and, where it may ask the person,
 * our stdin. Only with c's lock held. *ret_until_ms: the wall clock's time from which the
 * credentials are to be asked for again, a minute before they expire. ERR_UNAUTHORIZED names the
 * command and its hint; nothing that it printed on stdout is ever part of a message. */
int plugin_run(const struct kube_config *c, struct kube_credentials *ret, int64_t *ret_until_ms,
               struct err *err) must_check;

#endif
