#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"

int cli_connect(struct cli_cluster *c, struct err *err)
{
    struct kube_config *config;
    if (kube_config_load(c->kubeconfig, c->context, &config, err) < 0)
        return -1;
    if (kube_new(config, &c->cx.kube, err) < 0)
        return -1;
    c->arena = arena_new();
    const char *ns = c->gleaner_ns ? c->gleaner_ns : getenv("GLEANER_NAMESPACE");
    c->cx.ns = ns && *ns ? ns : "gleaner-system";
    ssize_t n = readlink("/proc/self/exe", c->path, sizeof c->path - 1);
    c->path[n > 0 ? n : 0] = '\0';
    c->cx.program = c->path;
    char *host = arena_alloc(c->arena, 256);
    gethostname(host, 255);
    c->cx.instance = host;
    c->cx.instance_uid = "";
    static const char *const engine_namespaces[] = {"flux-system", "argocd", NULL};
    c->cx.engine_namespaces = engine_namespaces;
    static atomic_bool never;
    c->cx.stopping = &never;
    /* The cluster's name is for those who may see it; no verb of people needs it. */
    struct kube_object system;
    struct err ignored;
    if (kube_get(c->cx.kube, c->arena, &KUBE_NAMESPACE, NULL, "kube-system", &system, &ignored) >=
        0)
        snprintf(c->cx.cluster, sizeof c->cx.cluster, "%s", system.uid);
    else if (ignored.kind == ERR_UNAVAILABLE || ignored.kind == ERR_TIMEOUT ||
             ignored.kind == ERR_UNAUTHORIZED) {
        *err = ignored;
        return err_wrap(err, "%s", kube_config_server(kube_config_of(c->cx.kube)));
    }
    return 0;
}

void cli_disconnect(struct cli_cluster *c)
{
    if (c->cx.kube)
        kube_free(c->cx.kube);
    c->cx.kube = NULL;
    if (c->arena)
        arena_free(c->arena);
    c->arena = NULL;
}

static const char *next_step(const char *verb, enum err_kind kind)
{
    bool repo = strncmp(verb, "repo", 4) == 0;
    if (kind == ERR_UNAUTHORIZED)
        return repo ? "; check the password file"
                    : "; check the credentials of this kubeconfig context";
    if (kind == ERR_FORBIDDEN)
        return "; ask an administrator for that right, docs/rbac.md names them";
    if (kind == ERR_UNAVAILABLE || kind == ERR_TIMEOUT)
        return "; check that it runs and can be reached, then run this again";
    if (kind == ERR_CORRUPT)
        return "; check the repository with 'gleaner repo check --read-data'";
    if (kind == ERR_NOT_FOUND)
        return repo ? "; check --repo, or make one with 'gleaner repo init'"
                    : "; check the name, and that gleaner is installed";
    return "";
}

int cli_fail(const char *verb, const struct err *err)
{
    fprintf(stderr, "%s %s: %s%s\n", cli_program, verb, err->msg, next_step(verb, err->kind));
    return CLI_FAILED;
}
