#include "reconciler/inside.h"

#include "core/map.h"
#include "kube/types.h"

#include <netdb.h>
#include <sys/socket.h>

struct inside {
    struct kube *kube;
    struct arena *a;
    bool nodes;
    struct map *addresses; /* NULL until they are read */
};

static void free_map(void *p)
{
    map_free(p);
}

struct inside *inside_new(struct kube *k, struct arena *a, bool nodes)
{
    struct inside *in = arena_new_of(a, struct inside);
    *in = (struct inside){.kube = k, .a = a, .nodes = nodes};
    return in;
}

bool inside_name(const char *host)
{
    str s = str_of(host);
    if (str_ends(s, "."))
        s.n--;
    bool dotted = memchr(s.p, '.', s.n) || memchr(s.p, ':', s.n);
    return !dotted || str_ends(s, ".svc") || str_ends(s, ".cluster.local") ||
           str_ends(s, ".localhost");
}

/* ---- addresses of this cluster ---- */

static void add_address(struct inside *in, str value)
{
    str text = raw_string(in->a, value);
    if (text.p && text.n && !str_is(text, "None"))
        map_put(in->addresses, text, in);
}

static void add_each(struct inside *in, str list, const char *member)
{
    str item;
    for (struct raw_iter it = raw_iter(list); raw_next(&it, NULL, &item);)
        add_address(in, member ? raw_get(item, member) : item);
}

static int service_seen(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct inside *in = ctx;
    add_each(in, raw_at(o->raw, "spec", "clusterIPs", NULL), NULL);
    add_each(in, raw_at(o->raw, "spec", "externalIPs", NULL), NULL);
    add_address(in, raw_at(o->raw, "spec", "loadBalancerIP", NULL));
    str ingress = raw_at(o->raw, "status", "loadBalancer", "ingress", NULL);
    add_each(in, ingress, "ip");
    add_each(in, ingress, "hostname");
    return 0;
}

static int pod_seen(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct inside *in = ctx;
    /* A pod on its node's network has the node's address. */
    if (!raw_true(raw_at(o->raw, "spec", "hostNetwork", NULL)))
        add_each(in, raw_at(o->raw, "status", "podIPs", NULL), "ip");
    return 0;
}

static int node_seen(void *ctx, const struct kube_object *o, struct err *err)
{
    (void)err;
    struct inside *in = ctx;
    add_each(in, raw_at(o->raw, "status", "addresses", NULL), "address");
    return 0;
}

static int read_addresses(struct inside *in, struct err *err)
{
    if (in->addresses)
        return 0;
    in->addresses = map_new(NULL);
    arena_defer(in->a, free_map, in->addresses);
    if (kube_list(in->kube, &KUBE_SERVICE, NULL, service_seen, in, NULL, err) < 0 ||
        kube_list(in->kube, &KUBE_POD, NULL, pod_seen, in, NULL, err) < 0 ||
        (in->nodes && kube_list(in->kube, &KUBE_NODE, NULL, node_seen, in, NULL, err) < 0)) {
        in->addresses = NULL; /* half of them are no answer to the next question */
        return err_wrap(err, "reading this cluster's own addresses");
    }
    return 0;
}

static bool loopback(const char *host)
{
    return str_starts(str_of(host), "127.") || streq(host, "::1");
}

/* True if any address of the name is one of ours. */
static bool resolves_here(struct inside *in, const char *host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    if (getaddrinfo(host, NULL, &hints, &list) != 0)
        return false;
    bool ours = false;
    for (const struct addrinfo *i = list; i && !ours; i = i->ai_next) {
        char text[64];
        if (getnameinfo(i->ai_addr, i->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
            ours = loopback(text) || map_get(in->addresses, str_of(text));
    }
    freeaddrinfo(list);
    return ours;
}

const char *inside_why(struct inside *in, const char *host, bool *ret_told)
{
    struct err err;
    bool here = inside_name(host) || loopback(host);
    *ret_told = true;
    if (!here && read_addresses(in, &err) < 0) {
        *ret_told = false;
        return arena_printf(in->a, "whether %s lies in this cluster cannot be told: %s", host,
                            err.msg);
    }
    if (here || map_get(in->addresses, str_of(host)) || resolves_here(in, host))
        return arena_printf(in->a, "%s is served by this very cluster and would be lost with it",
                            host);
    return NULL;
}
