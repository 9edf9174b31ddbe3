/* Files on their way to a mover, piece by piece: a pack is never whole in memory. */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "core/log.h"
#include "gateway/serve.h"

static atomic_size_t ahead_in_use;

struct sending {
    struct mover *mover;
    struct backend_file file;
    uint64_t at, end; /* what is still to be read from the store, as offsets in the file */
    size_t granted;   /* bytes that may be read ahead; 0: piece by piece */
    struct buf ahead;
    uint64_t ahead_at; /* offset in the file of the first byte of `ahead` */
    uint64_t from;     /* offset in the file of the answer's first byte */
};

static struct sending *sending_new(struct request *r)
{
    struct sending *s = xcalloc(1, sizeof *s);
    s->mover = mover_hold(r->mover);
    s->file = r->route.file;
    return s;
}

static void sending_free(void *ctx)
{
    struct sending *s = ctx;
    mover_release(s->mover);
    atomic_fetch_sub(&ahead_in_use, s->granted);
    buf_free(&s->ahead);
    free(s);
}

static void sending_free_p(struct sending **s)
{
    if (*s)
        sending_free(*s);
}

/* Asks for room to read ahead in. */
static void take_room(struct sending *s, uint64_t wanted)
{
    size_t n = (size_t)MIN(wanted, (uint64_t)SENDING_AHEAD);
    if (!s->mover->place->remote || n <= SENDING_PIECE)
        return;
    if (atomic_fetch_add(&ahead_in_use, n) + n <= SENDING_AHEAD_ALL)
        s->granted = n;
    else
        atomic_fetch_sub(&ahead_in_use, n);
}

/* Reads the next bytes of the range. */
static int read_ahead(struct sending *s, struct err *err)
{
    size_t most = s->granted ? s->granted : SENDING_PIECE;
    size_t n = (size_t)MIN((uint64_t)most, s->end - s->at);
    s->ahead_at = s->at;
    if (backend_load_range(s->mover->backend, &s->file, s->at, n, &s->ahead, err) < 0)
        return -1;
    s->at += n;
    return 0;
}

static ssize_t send_piece(void *ctx, uint64_t at, char *p, size_t max)
{
    struct sending *s = ctx;
    struct err err = {0};
    uint64_t offset = s->from + at;
    if (offset >= s->ahead_at + s->ahead.n && read_ahead(s, &err) < 0) {
        log_err("a file breaks off", &err, NULL, NULL);
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t skip = (size_t)(offset - s->ahead_at), n = MIN(max, s->ahead.n - skip);
    memcpy(p, s->ahead.p + skip, n);
    return (ssize_t)n;
}

/* ---- what is asked for ---- */

/* "bytes=A-B" without the file's size: it is one request less to a distant store. */
static bool closed_range(const char *header, uint64_t *ret_from, uint64_t *ret_n)
{
    return header && route_range(str_of(header), UINT64_MAX, ret_from, ret_n) &&
           header[strlen(header) - 1] != '-';
}

/* The first bytes of a closed range before anything is answered: whether there is such a file, and
 * whether it is as long, the store says then. False: ask for the size instead. */
static bool begin_range(struct sending *s, const char *wanted, uint64_t *ret_n, struct err *err)
{
    if (!s->mover->place->remote || !closed_range(wanted, &s->from, ret_n) || *ret_n == 0)
        return false;
    take_room(s, *ret_n);
    if (*ret_n > (s->granted ? s->granted : SENDING_PIECE))
        return false;
    s->at = s->from;
    s->end = s->from + *ret_n;
    return read_ahead(s, err) == 0 || err->kind != ERR_CORRUPT;
}

/* Small files whole: with their bytes comes their size. */
static bool begin_whole(struct sending *s, const char *wanted, uint64_t *ret_n, struct err *err)
{
    struct backend *b = s->mover->backend;
    if (!s->mover->place->remote || wanted || s->granted || s->file.type == BACKEND_DATA)
        return false;
    take_room(s, SENDING_AHEAD);
    if (!s->granted)
        return false;
    if (b->ops->load(b, &s->file, 0, BACKEND_ALL, s->granted, &s->ahead, err) < 0)
        return err->kind != ERR_TOO_LARGE;
    s->at = s->end = *ret_n = s->ahead.n;
    return true;
}

static void forget_ahead(struct sending *s, struct err *err)
{
    atomic_fetch_sub(&ahead_in_use, s->granted);
    s->granted = 0;
    buf_free(&s->ahead);
    *err = (struct err){0};
}

static enum MHD_Result answer_head(struct request *r, struct MHD_Connection *c)
{
    struct err err = {0};
    uint64_t size;
    if (backend_stat(r->mover->backend, &r->route.file, &size, &err) < 0)
        return serve_error(c, &err);
    /* HEAD sends the headers of a body that is never asked for. */
    struct sending *s = sending_new(r);
    struct MHD_Response *a =
        MHD_create_response_from_callback(size, SENDING_PIECE, send_piece, s, sending_free);
    if (!a)
        sending_free(s);
    else
        MHD_add_response_header(a, "Content-Type", "application/octet-stream");
    return serve_answer(c, 200, a);
}

static enum MHD_Result answer_file(struct MHD_Connection *c, struct sending **s, uint64_t n,
                                   const char *wanted, const char *size)
{
    char range[128];
    uint64_t from = (*s)->from;
    if (!mover_spend((*s)->mover, n))
        return serve_text(c, 403, "the mover's budget of bytes is spent\n");
    struct MHD_Response *a =
        n == 0 ? MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT)
               : MHD_create_response_from_callback(n, SENDING_PIECE, send_piece, *s, sending_free);
    if (a && n)
        (void)TAKE(*s);
    if (a)
        MHD_add_response_header(a, "Content-Type", "application/octet-stream");
    if (a && wanted) {
        snprintf(range, sizeof range, "bytes %llu-%llu/%s", (unsigned long long)from,
                 (unsigned long long)(from + n - 1), size);
        MHD_add_response_header(a, "Content-Range", range);
    }
    return serve_answer(c, wanted ? 206 : 200, a);
}

/* What came with the registration. */
static enum MHD_Result answer_text(struct MHD_Connection *c, struct mover *m, str text)
{
    if (!mover_spend(m, text.n))
        return serve_text(c, 403, "the mover's budget of bytes is spent\n");
    struct MHD_Response *a =
        MHD_create_response_from_buffer(text.n, (void *)(uintptr_t)text.p, MHD_RESPMEM_MUST_COPY);
    if (a)
        MHD_add_response_header(a, "Content-Type", "application/octet-stream");
    return serve_answer(c, 200, a);
}

enum MHD_Result serve_file(struct request *r, struct MHD_Connection *c)
{
    struct err err = {0};
    struct sending *s CLEANUP(sending_free_p) = NULL;
    uint64_t size, n = 0;
    char size_text[24] = "*";
    const char *wanted = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Range");
    const struct registration *own = &r->mover->r;
    if (r->route.file.type == BACKEND_KEY && *own->key_text)
        return answer_text(c, r->mover, str_of(own->key_text));
    if (r->method == METHOD_HEAD)
        return answer_head(r, c);
    if (r->route.file.type == BACKEND_CONFIG && own->config.n && !wanted)
        return answer_text(c, r->mover, buf_view(&own->config));
    s = sending_new(r);
    if (begin_range(s, wanted, &n, &err) ||
        (err.kind == ERR_NONE && begin_whole(s, wanted, &n, &err)))
        return err.kind == ERR_NONE ? answer_file(c, &s, n, wanted, size_text)
                                    : serve_error(c, &err);
    forget_ahead(s, &err);
    if (backend_stat(r->mover->backend, &r->route.file, &size, &err) < 0)
        return serve_error(c, &err);
    s->from = 0;
    n = size;
    if (wanted && !route_range(str_of(wanted), size, &s->from, &n))
        return serve_text(c, 416, "no such range\n");
    s->at = s->from;
    s->end = s->from + n;
    take_room(s, n);
    snprintf(size_text, sizeof size_text, "%llu", (unsigned long long)size);
    return answer_file(c, &s, n, wanted, size_text);
}
