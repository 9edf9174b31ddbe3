#include "store/tree.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads a tree and writes it again; false if it is broken. */
static bool reencode(str text, struct buf *out)
{
    struct tree_reader *r = tree_reader_of(text);
    struct tree_writer *w = tree_writer_new();
    const struct node *node;
    struct err err;
    int more;
    while ((more = tree_reader_next(r, &node, &err)) > 0)
        if (node->type != NODE_OTHER && tree_writer_add(w, node, &err) < 0)
            abort(); /* what the reader lets through is fit for a tree */
    buf_str(out, tree_writer_text(w));
    tree_writer_free(w);
    tree_reader_free(r);
    return more == 0;
}

/* What we write of any tree is our own form of it: it reads, and comes out the same again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf once = {0}, twice = {0};
    if (reencode((str){(const char *)data, size}, &once) &&
        (!reencode(buf_view(&once), &twice) || !str_eq(buf_view(&once), buf_view(&twice))))
        abort();
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
