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

/* ---- refused values ---- */

enum { CAUSES_MAX = 5, DETAIL_MAX = 200 };

/* What follows a quoted or plain value; absent where the value's end cannot be told. */
static str behind_value(str text)
{
    size_t i = 0;
    if (text.n && text.p[0] == '"') {
        for (i = 1; i < text.n && text.p[i] != '"'; i++)
            i += text.p[i] == '\\';
        i++;
    } else {
        while (i < text.n && strchr("0123456789+-.eE", text.p[i]))
            i++;
        for (size_t w = 0; !i && w < 3; w++) {
            str word = str_of((const char *[]){"true", "false", "null"}[w]);
            i = text.n >= word.n && memcmp(text.p, word.p, word.n) == 0 ? word.n : 0;
        }
    }
    bool cut = i + 2 > text.n || memcmp(text.p + i, ": ", 2) != 0;
    return cut ? (str){0} : (str){text.p + i + 2, text.n - i - 2};
}

/* A field error as k8s.io/apimachinery pkg/util/validation/field prints it, "<type>[: <value>][:
 * <detail>]", without the value: it may be a password in a container's environment. */
static void add_cause(struct buf *b, str message)
{
    static const char *const with_value[] = {
        "Invalid value: ", "Duplicate value: ", "Unsupported value: ", "Not found: "};
    for (size_t i = 0; i < ARRAY_LEN(with_value); i++) {
        str head = str_of(with_value[i]);
        if (!str_starts(message, with_value[i]))
            continue;
        buf_add(b, head.p, head.n - 2);
        message = behind_value((str){message.p + head.n, message.n - head.n});
        if (message.n)
            buf_puts(b, ": ");
        break;
    }
    /* A detail may quote the value once more. */
    for (size_t i = 0; i < ARRAY_LEN(with_value) && message.n; i++) {
        const char *at = memmem(message.p, message.n, with_value[i], strlen(with_value[i]));
        if (at)
            message.n = (size_t)(at - message.p);
    }
    buf_add(b, message.p ? message.p : "", MIN(message.n, DETAIL_MAX));
}

/* The message of a 422 from its causes; false if it has none. */
static bool refusal(const json_t *status, struct buf *b)
{
    const json_t *causes = json_value_at(status, "details", "causes", NULL);
    const char *kind = json_text_at(status, "details", "kind", NULL);
    const char *name = json_text_at(status, "details", "name", NULL);
    size_t n = json_array_size(causes);
    buf_printf(b, "%s \"%s\" is invalid", kind ? kind : "the object", name ? name : "");
    for (size_t i = 0; i < MIN(n, (size_t)CAUSES_MAX); i++) {
        const json_t *cause = json_array_get(causes, i);
        const char *field = json_text_at(cause, "field", NULL);
        const char *message = json_text_at(cause, "message", NULL);
        buf_puts(b, i ? "; " : ": ");
        if (field && field[0] && !streq(field, "<nil>"))
            buf_printf(b, "%s: ", field);
        add_cause(b, str_of(message ? message : ""));
    }
    if (n > CAUSES_MAX)
        buf_printf(b, "; and %zu more", n - CAUSES_MAX);
    return n > 0;
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
    struct buf refused CLEANUP(buf_free) = {0};
    if (about_secret(x, status))
        message = NULL;
    else if (message && x->status == 422 && refusal(status, &refused))
        message = refused.p;
    else if (message && strstr(message, "Invalid value: "))
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
