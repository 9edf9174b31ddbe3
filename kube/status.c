/* Answers that are not 2xx: metav1.Status, or whatever a proxy wrote. */
#include "core/json.h"
#include "kube/private.h"

static enum err_kind kind_of(int http, const char *reason)
{
    switch (http) {
    case 400:
    case 422:
        return ERR_INVALID;
    case 401:
        return ERR_UNAUTHORIZED;
    case 403:
        return ERR_FORBIDDEN;
    case 404:
        return ERR_NOT_FOUND;
    case 405:
    case 406:
    case 415:
        return ERR_UNSUPPORTED;
    case 408:
        return ERR_TIMEOUT;
    case 409:
        return streq(reason, "AlreadyExists") ? ERR_EXISTS : ERR_CONFLICT;
    case 410:
        return ERR_GONE;
    case 413:
        return ERR_TOO_LARGE;
    case 429:
        return ERR_BUSY;
    default:
        return http >= 500 ? ERR_UNAVAILABLE : ERR_INVALID;
    }
}

static bool about_secret(const struct kube_http *x, const json_t *status)
{
    const char *kind = json_text_at(status, "details", "kind", NULL);
    const char *at = strstr(x->path, "/secrets");
    return streq(kind, "secrets") || streq(kind, "Secret") ||
           (at && (!at[8] || at[8] == '/' || at[8] == '?'));
}

int status_error(const struct kube_http *x, struct err *err)
{
    json_t *status CLEANUP_JSON = NULL;
    struct err ignored;
    str path = str_of(x->path);
    path = str_cut(&path, '?');
    if (json_parse(buf_view(&x->answer), &status, &ignored) < 0)
        status = NULL;
    if (!streq(json_text_at(status, "kind", NULL), "Status")) {
        json_decref(status);
        status = NULL;
    }
    const char *reason = json_text_at(status, "reason", NULL);
    const char *message = json_text_at(status, "message", NULL);
    enum err_kind kind = kind_of(x->status, reason);
    if (about_secret(x, status))
        message = NULL;
    if (message && message[0])
        err_set(err, kind, "%s", message);
    else if (reason && reason[0])
        err_set(err, kind, "%s %.*s: %s", x->method, STR_FMT(path), reason);
    else
        err_set(err, kind, "%s %.*s: the API server answered %d", x->method, STR_FMT(path),
                x->status);
    if (!err)
        return -1;
    err->http = x->status;
    err->retry_ms = x->retry_after_ms;
    json_int_t seconds =
        json_integer_value(json_value_at(status, "details", "retryAfterSeconds", NULL));
    if (!err->retry_ms && seconds > 0)
        err->retry_ms = (unsigned)(MIN(seconds, 3600) * 1000);
    return -1;
}

const char *status_continue(struct arena *a, str body)
{
    const char *token = raw_text(a, body, "metadata", "continue", NULL);
    return token && token[0] ? token : NULL;
}
