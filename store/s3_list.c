#include "store/s3_list.h"

#include "store/layout.h"
#include "store/xml.h"

#include <stdlib.h>

struct page {
    const char *prefix;
    enum backend_type type; /* BACKEND_TYPES: all, and `entries` is an array of them */
    size_t max;
    struct s3_entries *entries;
    struct buf *next;
    struct buf key; /* of the entry that is being read */
    uint64_t size;
    bool has_size, root, answered, truncated;
};

static bool is_below(const struct page *page, str key, enum backend_type type)
{
    struct buf folder CLEANUP(buf_free) = {0};
    buf_printf(&folder, "%s%s/", page->prefix, layout_type_name(type));
    return str_starts(key, folder.p);
}

static int add_entry(struct page *page, struct err *err)
{
    str key = buf_view(&page->key);
    struct buf own CLEANUP(buf_free) = {0};
    enum backend_type type = page->type;
    if (type == BACKEND_TYPES) {
        for (type = BACKEND_KEY; type < BACKEND_TYPES && !is_below(page, key, type);)
            type++;
        if (type == BACKEND_TYPES && str_starts(key, page->prefix))
            return 0;
    }
    if (type == BACKEND_TYPES || !is_below(page, key, type))
        return err_set(err, ERR_CORRUPT, "the server listed an object that was not asked for");
    struct backend_file f = {.type = type};
    struct s3_entries *entries = page->entries + (page->type == BACKEND_TYPES ? type : 0);
    str id = key;
    for (str rest = key; rest.p;)
        id = str_cut(&rest, '/');
    if (!store_id_parse(id, &f.id))
        return 0;
    buf_puts(&own, page->prefix);
    layout_file(&own, &f, true);
    if (!str_eq(key, buf_view(&own)))
        return 0;
    if (!page->has_size)
        return err_set(err, ERR_CORRUPT, "the server listed an object without its size");
    if (entries->n >= page->max)
        return err_set(err, ERR_TOO_LARGE, "there are more than %zu files", page->max);
    *vec_add(entries) = (struct s3_entry){f.id, page->size};
    return 0;
}

static int close_element(struct page *page, const struct xml_in *in, struct err *err)
{
    str text = buf_view(&in->text);
    if (xml_is(in, "ListBucketResult/Contents")) {
        if (add_entry(page, err) < 0)
            return -1;
        buf_reset(&page->key);
        page->has_size = false;
    } else if (xml_is(in, "ListBucketResult/Contents/Key")) {
        buf_reset(&page->key);
        buf_str(&page->key, text);
    } else if (xml_is(in, "ListBucketResult/Contents/Size")) {
        page->has_size = str_u64(str_trim(text), &page->size);
    } else if (xml_is(in, "ListBucketResult/IsTruncated")) {
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

int s3_list_page_all(str text, const char *prefix, size_t max,
                     struct s3_entries entries[BACKEND_TYPES], struct buf *next, struct err *err)
{
    return s3_list_page(text, prefix, BACKEND_TYPES, max, entries, next, err);
}

int s3_list_page(str text, const char *prefix, enum backend_type type, size_t max,
                 struct s3_entries *entries, struct buf *next, struct err *err)
{
    struct xml_in in CLEANUP(xml_in_free);
    struct page page = {
        .prefix = prefix, .type = type, .max = max, .entries = entries, .next = next};
    int event;
    buf_reset(next);
    xml_in_text(&in, text);
    while ((event = xml_next(&in, err)) > 0)
        if (event == XML_CLOSE && close_element(&page, &in, err) < 0)
            break;
    buf_free(&page.key);
    if (event != XML_END)
        return -1;
    if (!page.root || !page.answered)
        return err_set(err, ERR_CORRUPT, "the server's answer is no list of objects");
    if (!page.truncated)
        buf_reset(next);
    else if (next->n == 0)
        return err_set(err, ERR_CORRUPT, "the server's list goes on, but it does not say where");
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct s3_entry *x = a, *y = b;
    return memcmp(x->id.b, y->id.b, STORE_ID_SIZE);
}

void s3_list_sort(struct s3_entries *e)
{
    size_t n = 0;
    if (e->n == 0)
        return;
    qsort(e->p, e->n, sizeof *e->p, compare);
    for (size_t i = 1; i < e->n; i++)
        if (compare(&e->p[i], &e->p[n]) != 0)
            e->p[++n] = e->p[i];
    e->n = n + 1;
}
