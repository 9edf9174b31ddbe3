#include "store/s3_folders.h"

#include "store/xml.h"

#include <stdlib.h>

struct page {
    const char *prefix;
    backend_folder_fn *fn;
    void *ctx;
    struct buf *next;
    bool root, answered, truncated;
};

static int add_folder(struct page *page, str key, struct err *err)
{
    if (!str_starts(key, page->prefix))
        return err_set(err, ERR_CORRUPT, "the server listed a folder that was not asked for");
    str name = {key.p + strlen(page->prefix), key.n - strlen(page->prefix)};
    if (name.n && name.p[name.n - 1] == '/')
        name.n--;
    if (name.n == 0 || memchr(name.p, '/', name.n) || memchr(name.p, '\0', name.n))
        return 0;
    char *copy CLEANUP(free_p) = str_dup(name);
    return page->fn(page->ctx, copy, err) < 0 ? -1 : 0;
}

static int close_element(struct page *page, const struct xml_in *in, struct err *err)
{
    str text = buf_view(&in->text);
    if (xml_is(in, "ListBucketResult/CommonPrefixes/Prefix"))
        return add_folder(page, text, err);
    if (xml_is(in, "ListBucketResult/IsTruncated")) {
        page->truncated = str_is(str_trim(text), "true");
        page->answered = page->truncated || str_is(str_trim(text), "false");
    } else if (xml_is(in, "ListBucketResult/NextContinuationToken")) {
        buf_reset(page->next);
        buf_str(page->next, text);
    } else if (xml_is(in, "ListBucketResult")) {
        page->root = true;
    }
    return 0;
}

int s3_folders_page(str text, const char *prefix, backend_folder_fn *fn, void *ctx,
                    struct buf *next, struct err *err)
{
    struct xml_in in CLEANUP(xml_in_free);
    struct page page = {.prefix = prefix, .fn = fn, .ctx = ctx, .next = next};
    int event;
    buf_reset(next);
    xml_in_text(&in, text);
    while ((event = xml_next(&in, err)) > 0)
        if (event == XML_CLOSE && close_element(&page, &in, err) < 0)
            break;
    if (event != XML_END)
        return -1;
    if (!page.root || !page.answered)
        return err_set(err, ERR_CORRUPT, "the server's answer is no list of folders");
    if (!page.truncated)
        buf_reset(next);
    else if (next->n == 0)
        return err_set(err, ERR_CORRUPT, "the server's list goes on, but it does not say where");
    return 0;
}
