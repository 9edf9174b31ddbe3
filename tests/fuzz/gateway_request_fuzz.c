/* What a client writes before it is known: path, Range and Authorization; and what follows it: the
 * body of a registration, the API server's answer. The first byte says which. */
#include <stdlib.h>

#include "gateway/registry.h"
#include "gateway/review.h"
#include "gateway/route.h"
#include "gateway/tokens.h"
#include "store/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_path(str text)
{
    struct route r;
    str cluster, namespace;
    route_parse(text, &r);
    if (r.kind == ROUTE_MOVER && !route_is_uid(r.pod_uid))
        abort();
    if ((r.kind == ROUTE_LIST || r.kind == ROUTE_FILE) &&
        (!layout_parse_repository(r.repository, &cluster, &namespace) ||
         memchr(r.repository.p, '%', r.repository.n)))
        abort();
}

static void try_range(str text)
{
    uint64_t from, n;
    if (route_range(text, 1000, &from, &n) && (n == 0 || from >= 1000 || n > 1000 - from))
        abort();
}

static void try_header(str text)
{
    char *header = xstrndup(text.p, text.n);
    struct buf token = {.cap = 2 * GATEWAY_TOKEN_MAX};
    if (tokens_from_header(header, &token) && (token.n == 0 || strlen(token.p) != token.n))
        abort();
    buf_free(&token);
    free(header);
}

static void try_registration(str text)
{
    struct registration r = {0};
    struct err err;
    if (registration_parse(text, &r, &err) == 0 &&
        (!*r.password || r.keys_n == 0 || strstr(r.store, "..") || (r.write && !*r.lock)))
        abort();
    registration_free(&r);
}

static void try_review(str text)
{
    struct arena *a = arena_new();
    struct gateway_identity who;
    review_read(a, text, "gleaner-gateway", &who);
    if (who.authenticated && !*who.username)
        abort();
    arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(str) = {try_path, try_range, try_header, try_registration,
                                         try_review};
    if (size == 0)
        return 0;
    tries[*data % ARRAY_LEN(tries)]((str){(const char *)data + 1, size - 1});
    return 0;
}
