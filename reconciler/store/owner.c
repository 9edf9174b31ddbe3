#include "reconciler/store/owner.h"

#include "core/json.h"
#include "store/limits.h"

#include <stdio.h>

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

int store_owner_of_keys(struct backend *b, const struct store_ids *keys, const char *own, char *ret,
                        size_t room, struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    char found[64] = "";
    ret[0] = '\0';
    for (size_t i = 0; i < keys->n && !streq(ret, own); i++) {
        struct err why = {0};
        struct backend_file f = {BACKEND_KEY, keys->p[i]};
        if (backend_load_all(b, &f, STORE_SMALL_FILE_MAX, &text, &why) < 0) {
            if (why.kind == ERR_CORRUPT || why.kind == ERR_TOO_LARGE)
                continue; /* it opens nothing, and names nobody */
            if (err)
                *err = why;
            return -1;
        }
        store_owner_of(buf_view(&text), found, sizeof found);
        if (*found && (!*ret || streq(found, own)))
            snprintf(ret, room, "%s", found);
    }
    return 0;
}

int store_owner_read(struct backend *b, const char *own, char *ret, size_t room, struct err *err)
{
    struct store_ids ids = {0};
    struct err why = {0};
    int r = backend_list_ids(b, BACKEND_KEY, false, STORE_KEYS_MAX, &ids, &why);
    if (r < 0 && why.kind != ERR_NOT_FOUND) {
        if (err)
            *err = why;
    } else {
        r = store_owner_of_keys(b, &ids, own, ret, room, err);
    }
    vec_free(&ids);
    return r;
}
