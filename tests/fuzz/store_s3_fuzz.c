/* What an object store answers: a page of a list, an error, and the scanner below both; and a
 * shared credentials file. */
#include "store/s3_credentials.h"
#include "store/s3_list.h"
#include "store/xml.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_list(str text)
{
    struct s3_entries entries = {0};
    struct buf next = {0};
    struct err err;
    if (s3_list_page(text, "p/", BACKEND_DATA, 100, &entries, &next, &err) == 0) {
        size_t before = entries.n;
        s3_list_sort(&entries);
        if (entries.n > before || before > 100)
            abort();
        for (size_t i = 1; i < entries.n; i++)
            if (memcmp(entries.p[i - 1].id.b, entries.p[i].id.b, STORE_ID_SIZE) >= 0)
                abort();
    }
    vec_free(&entries);
    buf_free(&next);
}

static void fuzz_list_all(str text)
{
    struct s3_entries entries[BACKEND_TYPES] = {0};
    struct buf next = {0};
    struct err err;
    int r = s3_list_page_all(text, "p/", 100, entries, &next, &err);
    for (int type = 0; type < BACKEND_TYPES; type++) {
        if (r == 0 && entries[type].n > 100)
            abort();
        vec_free(&entries[type]);
    }
    buf_free(&next);
}

/* A text that the scanner takes, escaped and scanned again, is the same text. */
static void fuzz_find(str text)
{
    struct buf code = {0}, again = {0}, xml = {0};
    struct xml_wanted wanted[] = {{"Code", &code}}, repeated[] = {{"Code", &again}};
    struct err err;
    if (xml_find(text, wanted, 1, &err) == 0) {
        buf_puts(&xml, "<Code>");
        xml_escape(&xml, buf_view(&code));
        buf_puts(&xml, "</Code>");
        if (xml_find(buf_view(&xml), repeated, 1, &err) < 0 ||
            !str_eq(buf_view(&code), buf_view(&again)))
            abort();
    }
    buf_free(&code);
    buf_free(&again);
    buf_free(&xml);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str text = {(const char *)data, size};
    struct s3_secret secret;
    fuzz_list(text);
    fuzz_list_all(text);
    fuzz_find(text);
    if (s3_credentials_parse(text, STR("default"), &secret)) {
        if (!secret.access || !secret.secret)
            abort();
        s3_secret_wipe(&secret);
    }
    return 0;
}
