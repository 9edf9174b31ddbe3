#include "gitops/source.h"

#include <arpa/inet.h>

#include "core/codec.h"

struct source *source_add(struct sources *s)
{
    if (s->n == SOURCES_MAX)
        return NULL;
    struct source *row = &s->at[s->n++];
    *row = (struct source){"", "", "", "", "", "", "", "", "", ""};
    return row;
}

bool is_commit(const char *s)
{
    size_t n = strlen(s);
    return (n == 40 || n == 64) && strspn(s, "0123456789abcdef") == n;
}

const char *revision_commit(struct arena *a, const char *revision)
{
    static const char *const marks[] = {"sha1:", "sha256:"};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        const char *at = strrchr(revision, '@');
        const char *tail = at ? at + 1 : revision;
        size_t n = strlen(marks[i]);
        if (strncmp(tail, marks[i], n) == 0 && is_commit(tail + n))
            return arena_strdup(a, tail + n);
    }
    return "";
}

const char *url_host(struct arena *a, const char *url)
{
    str rest = str_of(url);
    if (str_starts(rest, "http://"))
        rest = (str){rest.p + 7, rest.n - 7};
    else if (str_starts(rest, "https://"))
        rest = (str){rest.p + 8, rest.n - 8};
    else
        return NULL;
    str host = str_cut(&rest, '/');
    for (const char *at; host.n && (at = memchr(host.p, '@', host.n));)
        host = (str){at + 1, host.n - (size_t)(at + 1 - host.p)};
    if (host.n && host.p[0] == '[') {
        const char *end = memchr(host.p, ']', host.n);
        host = end ? (str){host.p + 1, (size_t)(end - host.p - 1)} : (str){0};
    } else {
        host = str_cut(&host, ':');
    }
    return host.n ? arena_strndup(a, host.p, host.n) : NULL;
}

/* ---- is it this cluster's own? ---- */

struct serving {
    struct arena *a;
    const char *host;
    const char *why;
};

static bool list_has(str list, const char *member, const char *host)
{
    struct raw_iter it = raw_iter(list);
    for (str item; raw_next(&it, NULL, &item);)
        if (raw_is(member ? raw_get(item, member) : item, host))
            return true;
    return false;
}

static int look_at_service(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct serving *s = ctx;
    str ingress = raw_at(o->raw, "status", "loadBalancer", "ingress", NULL);
    if (raw_is(raw_at(o->raw, "spec", "clusterIP", NULL), s->host) ||
        list_has(raw_at(o->raw, "spec", "clusterIPs", NULL), NULL, s->host) ||
        list_has(raw_at(o->raw, "spec", "externalIPs", NULL), NULL, s->host) ||
        list_has(ingress, "ip", s->host) || list_has(ingress, "hostname", s->host))
        s->why =
            arena_printf(s->a, "it is served by this very cluster (Service %s/%s)", o->ns, o->name);
    return 0;
}

static int look_at_pod(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct serving *s = ctx;
    if (!raw_true(raw_at(o->raw, "spec", "hostNetwork", NULL)) &&
        raw_is(raw_at(o->raw, "status", "podIP", NULL), s->host))
        s->why =
            arena_printf(s->a, "it is served by this very cluster (pod %s/%s)", o->ns, o->name);
    return 0;
}

static bool is_cluster_name(const char *host)
{
    return str_ends(str_of(host), ".svc") || strstr(host, ".svc.") ||
           str_ends(str_of(host), ".cluster.local");
}

int host_in_cluster(struct kube *k, struct arena *a, const char *host, const char **ret_why,
                    struct err *err)
{
    struct serving s = {a, host, ""};
    unsigned char address[16];
    bool literal =
        inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    if (is_cluster_name(host) || (!literal && !strchr(host, '.'))) {
        *ret_why = "its name is one of this very cluster's";
        return 0;
    }
    if (kube_list(k, &KUBE_SERVICE, NULL, look_at_service, &s, NULL, err) < 0)
        return err_wrap(err, "looking whether this cluster serves %s", host);
    if (!*s.why && literal) {
        struct kube_list opts = {.field_selector = arena_printf(a, "status.podIP=%s", host)};
        if (kube_list(k, &KUBE_POD, &opts, look_at_pod, &s, NULL, err) < 0)
            return err_wrap(err, "looking whether a pod serves %s", host);
    }
    *ret_why = s.why;
    return 0;
}

/* ---- asking ---- */

/* data[name] of a Secret; NULL if absent or not base64. The bytes stay in the arena alone. */
static const char *secret_value(struct arena *a, const struct kube_object *o, const char *name)
{
    struct err err;
    struct buf b CLEANUP(buf_free) = {0};
    str text = raw_string(a, raw_at(o->raw, "data", name, NULL));
    if (!text.p || base64_decode(&b, text, &err) < 0)
        return NULL;
    return arena_strndup(a, b.p ? b.p : "", b.n);
}

static int read_credentials(struct kube *k, struct arena *a, const struct source *s,
                            struct git_question *q, const char **why, struct err *err)
{
    struct kube_object o;
    if (!*s->secret_name)
        return 0;
    if (kube_get(k, a, &KUBE_SECRET, s->secret_ns, s->secret_name, &o, err) < 0) {
        if (err->kind != ERR_NOT_FOUND && err->kind != ERR_FORBIDDEN)
            return -1;
        *why = arena_printf(a, "its credentials (Secret %s/%s) cannot be read", s->secret_ns,
                            s->secret_name);
        return 0;
    }
    q->username = secret_value(a, &o, "username");
    q->password = secret_value(a, &o, "password");
    if (secret_value(a, &o, "bearerToken") || secret_value(a, &o, "githubAppPrivateKey") ||
        secret_value(a, &o, "githubAppID"))
        *why = "its credentials are neither user and password nor absent";
    return 0;
}

int source_reachable(struct kube *k, struct arena *a, const char *program, const struct source *s,
                     enum reachable *ret, const char **ret_why, struct err *err)
{
    struct git_question q = {.url = s->url, .ref = s->ref, .commit = s->commit};
    const char *host = url_host(a, s->url), *why = s->unproven;
    if (!*why && !*s->commit)
        why = "its revision names no commit";
    if (!*why && !host)
        why = "only remotes over http and https can be asked yet";
    if (!*why && host_in_cluster(k, a, host, &why, err) < 0)
        return -1;
    if (!*why && read_credentials(k, a, s, &q, &why, err) < 0)
        return err_wrap(err, "%s %s/%s", s->kind, s->ns, s->name);
    if (*why) {
        *ret = REACHABLE_UNKNOWN;
        *ret_why = why;
        return 0;
    }
    return git_reachable(a, program, &q, ret, ret_why, err);
}
