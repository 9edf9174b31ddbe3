#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* Of a repository: err->http tells what its server said from what its files say. */
static const char *repo_next_step(const struct err *err)
{
    if (err->http == 401 || err->http == 403 || (err->http && err->kind == ERR_UNAUTHORIZED))
        return strstr(err->msg, "AccessDenied")
                   ? "; the credentials are good, but do not allow that: see docs/store.md"
                   : "; check the credentials of the store (for S3: AWS_ACCESS_KEY_ID, "
                     "AWS_SECRET_ACCESS_KEY)";
    if (err->http && strstr(err->msg, "NoSuchBucket"))
        return "; check the bucket in --repo; 'gleaner repo init' makes it";
    if (err->kind == ERR_UNAUTHORIZED)
        return strstr(err->msg, "password") ? "; check the password file" : "";
    if (err->kind == ERR_REFUSED && strstr(err->msg, "certificate is not trusted"))
        return "; name its CA with --cacert";
    if (err->kind == ERR_NOT_FOUND && strstr(err->msg, "there is no repository"))
        return "; check --repo, or make one with 'gleaner repo init'";
    return "";
}

static const char *next_step(const char *verb, const struct err *err)
{
    if (err->kind == ERR_UNAVAILABLE || err->kind == ERR_TIMEOUT)
        return "; check that it runs and can be reached, then run this again";
    if (err->kind == ERR_CORRUPT)
        return "; check the repository with 'gleaner repo check --read-data'";
    if (strncmp(verb, "repo", 4) == 0)
        return repo_next_step(err);
    if (err->kind == ERR_UNAUTHORIZED)
        return "; check the credentials of this kubeconfig context";
    if (err->kind == ERR_FORBIDDEN)
        return "; ask an administrator for that right, docs/rbac.md names them";
    if (err->kind == ERR_NOT_FOUND)
        return "; check the name, and that gleaner is installed";
    return "";
}

int cli_fail(const char *verb, const struct err *err)
{
    fprintf(stderr, "%s %s: %s%s\n", cli_program, verb, err->msg, next_step(verb, err));
    return CLI_FAILED;
}
