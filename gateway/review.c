#include "gateway/review.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

static bool holds_audience(str list, const char *audience)
{
    struct raw_iter it = raw_iter(list);
    str key, value;
    while (raw_next(&it, &key, &value))
        if (raw_is(value, audience))
            return true;
    return false;
}

static bool take(struct arena *a, str value, char *out, size_t room)
{
    str text = raw_string(a, value);
    if (!text.p || text.n == 0 || text.n >= room || memchr(text.p, 0, text.n))
        return false;
    snprintf(out, room, "%.*s", STR_FMT(text));
    return true;
}

void review_read(struct arena *a, str answer, const char *audience, struct gateway_identity *ret)
{
    str status = raw_get(answer, "status"), key, uid;
    *ret = (struct gateway_identity){0};
    /* An API server that does not know audiences leaves the list out: then nothing is proven. */
    if (!raw_true(raw_get(status, "authenticated")) ||
        !holds_audience(raw_get(status, "audiences"), audience) ||
        !take(a, raw_at(status, "user", "username", NULL), ret->username, sizeof ret->username))
        return;
    ret->authenticated = true;
    struct raw_iter it =
        raw_iter(raw_at(status, "user", "extra", "authentication.kubernetes.io/pod-uid", NULL));
    if (raw_next(&it, &key, &uid) && !take(a, uid, ret->pod_uid, sizeof ret->pod_uid))
        ret->pod_uid[0] = '\0';
}

static void wipe(struct buf *b)
{
    if (b->p)
        OPENSSL_cleanse(b->p, b->room);
    buf_free(b);
}

int review_token(void *ctx, const char *token, struct gateway_identity *ret, struct err *err)
{
    const struct review *r = ctx;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct buf body CLEANUP(wipe) = {.room = 6 * strlen(token) + 512};
    struct kube_object answer;
    body.p = xcalloc(1, body.room);
    buf_puts(&body, "{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\","
                    "\"spec\":{\"token\":");
    raw_add_string(&body, str_of(token));
    buf_puts(&body, ",\"audiences\":[");
    raw_add_string(&body, str_of(r->audience));
    buf_puts(&body, "]}}");
    if (kube_create(r->kube, a, &KUBE_TOKENREVIEW, NULL, buf_view(&body), NULL, &answer, err) < 0)
        return err_wrap(err, "TokenReview");
    review_read(a, answer.raw, r->audience, ret);
    return 0;
}
