#include "reconciler/store/owner.h"

#include "core/json.h"
#include "store/limits.h"

#include <stdio.h>

enum { KEYS_MAX = 64 };

bool store_owner_is_uid(const char *text)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    for (size_t i = 0; i < sizeof form - 1; i++) {
        char c = text[i];
        bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (form[i] == 'x' ? !digit : c != form[i])
            return false;
    }
    return text[sizeof form - 1] == '\0';
}

void store_owner_of(str text, char *ret, size_t room)
{
    json_t *j CLEANUP_JSON = NULL;
    ret[0] = '\0';
    if (json_parse(text, &j, NULL) < 0)
        return;
    const char *host = json_string_value(json_object_get(j, "hostname"));
    if (host && store_owner_is_uid(host))
        snprintf(ret, room, "%s", host);
}

int store_owner_read(struct backend *b, const char *own, char *ret, size_t room, struct err *err)
{
    struct store_ids ids = {0};
    struct buf text CLEANUP(buf_free) = {0};
    struct err why = {0};
    char found[64];
    int r = backend_list_ids(b, BACKEND_KEY, false, KEYS_MAX, &ids, &why);
    ret[0] = '\0';
    if (r < 0 && why.kind == ERR_NOT_FOUND)
        r = 0;
    for (size_t i = 0; r == 0 && i < ids.n && !streq(ret, own); i++) {
        struct backend_file f = {BACKEND_KEY, ids.p[i]};
        r = backend_load_all(b, &f, STORE_SMALL_FILE_MAX, &text, &why);
        if (r < 0 && (why.kind == ERR_CORRUPT || why.kind == ERR_TOO_LARGE))
            r = 0; /* it opens nothing, and names nobody */
        else if (r == 0)
            store_owner_of(buf_view(&text), found, sizeof found);
        if (r == 0 && *found && (!*ret || streq(found, own)))
            snprintf(ret, room, "%s", found);
    }
    vec_free(&ids);
    if (r < 0 && err)
        *err = why;
    return r;
}
