#include "gateway/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/jsonscan.h"
#include "core/log.h"

#define REST_V2 "application/vnd.x.restic.rest.v2"

/* ---- small answers ---- */

enum MHD_Result serve_answer(struct MHD_Connection *c, unsigned status, struct MHD_Response *r)
{
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, "Cache-Control", "no-store");
    enum MHD_Result done = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return done;
}

enum MHD_Result serve_text(struct MHD_Connection *c, unsigned status, const char *text)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
                                                             MHD_RESPMEM_MUST_COPY);
    if (r && status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(r, "WWW-Authenticate", "Basic realm=\"gleaner\"");
    if (r && *text)
        MHD_add_response_header(r, "Content-Type", "text/plain");
    return serve_answer(c, status, r);
}

static unsigned status_of(const struct err *err)
{
    /* The store refuses *us*: no fault of the mover's, and over when the credentials are renewed.
     */
    if (err->http == 401 || err->http == 403 || (err->http && err->kind == ERR_UNAUTHORIZED))
        return 503;
    switch (err->kind) {
    case ERR_INVALID:
        return 400;
    case ERR_UNAUTHORIZED:
    case ERR_FORBIDDEN:
    case ERR_GONE:
    case ERR_EXISTS:
    case ERR_REFUSED:
        return 403;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_CONFLICT:
        return 409;
    case ERR_TOO_LARGE:
        return 413;
    case ERR_BUSY:
        return 429;
    case ERR_UNAVAILABLE:
    case ERR_TIMEOUT:
    case ERR_CANCELLED:
        return 503;
    case ERR_NONE:
    case ERR_CORRUPT:
    case ERR_IO:
    case ERR_UNSUPPORTED:
    case ERR_INTERNAL:
    case ERR_KIND_MAX:
        break;
    }
    return 500;
}

enum MHD_Result serve_error(struct MHD_Connection *c, const struct err *err)
{
    unsigned status = status_of(err);
    if (status >= 500)
        log_err("cannot answer", err, NULL, NULL);
    /* Paths of the store are for our log, not for a tenant. */
    return serve_text(c, status, status >= 500 ? "the store does not answer\n" : err->msg);
}

static void wipe_answer(void *p)
{
    OPENSSL_cleanse(p, strlen(p));
    free(p);
}

enum MHD_Result serve_password(struct request *r, struct MHD_Connection *c)
{
    /* Room for every byte escaped, so that the text never moves and leaves no copy behind. */
    struct buf text = {.room = 6 * strlen(r->mover->r.password) + 32};
    text.p = xmalloc(text.room);
    text.p[0] = '\0';
    buf_puts(&text, "{\"password\":");
    raw_add_string(&text, str_of(r->mover->r.password));
    buf_puts(&text, "}\n");
    struct MHD_Response *answer =
        MHD_create_response_from_buffer_with_free_callback(text.n, text.p, wipe_answer);
    if (!answer)
        wipe_answer(text.p);
    else
        MHD_add_response_header(answer, "Content-Type", "application/json");
    return serve_answer(c, 200, answer);
}

/* ---- lists ---- */

struct listing {
    const struct registration *registration;
    enum backend_type type;
    struct buf text;
};

static bool is_own_key(const struct registration *r, const struct store_id *id)
{
    for (size_t i = 0; i < r->keys_n; i++)
        if (store_id_equal(&r->keys[i], id))
            return true;
    return false;
}

static int list_one(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    struct listing *l = ctx;
    char name[STORE_ID_HEX];
    if (l->type == BACKEND_KEY && !is_own_key(l->registration, id))
        return 0;
    store_id_hex(id, name);
    buf_printf(&l->text, "%s{\"name\":\"%s\",\"size\":%llu}", l->text.n > 1 ? "," : "", name,
               (unsigned long long)size);
    return l->text.overflow ? err_set(err, ERR_TOO_LARGE, "the list is too long") : 0;
}

/* A list may be long: two at a time bound the memory. */
static pthread_mutex_t list_turns[2] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};

enum MHD_Result serve_list(struct request *r, struct MHD_Connection *c)
{
    struct err err = {0};
    struct listing l = {&r->mover->r, r->route.file.type, {.cap = GATEWAY_LIST_MAX}};
    pthread_mutex_t *turn = &list_turns[(uintptr_t)r / sizeof *r % 2];
    pthread_mutex_lock(turn);
    buf_putc(&l.text, '[');
    int done = l.type == BACKEND_KEY && *l.registration->key_text
                   ? list_one(&l, &l.registration->keys[0], strlen(l.registration->key_text), &err)
                   : backend_list(r->mover->backend, l.type, list_one, &l, &err);
    buf_putc(&l.text, ']');
    pthread_mutex_unlock(turn);
    if (done < 0 || l.text.overflow || !mover_spend(r->mover, l.text.n)) {
        buf_free(&l.text);
        if (done < 0)
            return serve_error(c, &err);
        return serve_text(c, 403, "the mover's budget of bytes is spent\n");
    }
    struct MHD_Response *answer =
        MHD_create_response_from_buffer(l.text.n, l.text.p, MHD_RESPMEM_MUST_FREE);
    if (answer)
        MHD_add_response_header(answer, "Content-Type", REST_V2);
    else
        buf_free(&l.text);
    return serve_answer(c, 200, answer);
}

/* ---- uploads ---- */

enum { STORING_SECONDS = 300 };

/* A file without a name: whatever happens, nothing of it stays. */
static int open_spool(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd;
    char *path CLEANUP(free_p) = xasprintf("%s/.spool-XXXXXX", folder);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

int serve_upload_begin(struct request *r, const char *spool, struct err *err)
{
    r->spool = open_spool(spool);
    return r->spool < 0 ? err_errno(err, errno, "spooling an upload in %s", spool) : 0;
}

void serve_upload_piece(struct request *r, const char *p, size_t n)
{
    while (n && !r->failed) {
        ssize_t w = write(r->spool, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0) {
            r->failed = errno;
            return;
        }
        p += w;
        n -= (size_t)w;
    }
}

/* Mapped, not read: the bytes stay the page cache's. */
static int store_spooled(struct request *r, struct err *err)
{
    if (r->failed)
        return err_errno(err, r->failed, "spooling an upload");
    if (r->route.file.type == BACKEND_INDEX && mover_confirm_lock(r->mover, err) < 0)
        return -1;
    if (r->received == 0)
        return err_set(err, ERR_INVALID, "an empty file is no %s",
                       r->route.file.type == BACKEND_INDEX ? "index" : "pack");
    void *p = mmap(NULL, r->received, PROT_READ, MAP_PRIVATE, r->spool, 0);
    if (p == MAP_FAILED)
        return err_errno(err, errno, "reading a spooled upload");
    int done = backend_save_as(r->mover->backend, &r->route.file, p, r->received, err);
    munmap(p, r->received);
    return done;
}

enum MHD_Result serve_upload_end(struct request *r, struct MHD_Connection *c)
{
    struct err err = {0};
    if (r->received != r->length)
        return serve_text(c, 400, "the body has another length than announced\n");
    /* Storing is no idleness: the answer must not meet a connection that was given up meanwhile. */
    MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)STORING_SECONDS);
    if (store_spooled(r, &err) < 0) {
        log_err("an upload was not stored", &err, "repository", r->mover->r.repository);
        return serve_error(c, &err);
    }
    return serve_text(c, 200, "");
}
