#include "judge.h"

#include "store/check.h"
#include "store/lock.h"
#include "store/snapshot_text.h"
#include "store/stream.h"
#include "store/tree.h"

#include <stdio.h>

const char *const judge_passwords[2] = {"first", "second"};

/* ---- restoring ---- */

struct restoring {
    struct repository *repo;
    struct buf *out;
};

static int add_bytes(void *ctx, const void *p, size_t n, struct err *err)
{
    (void)err;
    buf_add(ctx, p, n);
    return 0;
}

static int add_node(void *ctx, const char *path, const struct node *node, struct err *err)
{
    struct restoring *r = ctx;
    buf_printf(r->out, "%s %d %o %lld.%09ld %u:%u %llu %llu %.*s\n", path, (int)node->type,
               node->mode, (long long)node->mtime.tv_sec, node->mtime.tv_nsec, node->uid, node->gid,
               (unsigned long long)node->size, (unsigned long long)node->device,
               STR_FMT(node->link_target));
    for (size_t i = 0; i < node->xattrs_n; i++)
        buf_printf(r->out, "%.*s=%.*s\n", STR_FMT(node->xattrs[i].name),
                   STR_FMT(node->xattrs[i].value));
    return stream_load(r->repo, node->content, node->content_n, add_bytes, r->out, err);
}

int judge_restore(struct repository *repo, const struct store_id *id, struct buf *out,
                  struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct restoring r = {repo, out};
    const struct tree_visitor visitor = {.node = add_node, .ctx = &r};
    struct snapshot s;
    buf_reset(out);
    if (snapshot_load(repo, id, a, &s, err) < 0)
        return -1;
    snapshot_text(&s, out);
    return tree_walk(repo, &s.tree, &visitor, err);
}

/* ---- judging ---- */

static bool wrong(struct judging *j, const char *what, const struct store_id *id)
{
    char hex[STORE_ID_HEX] = "";
    if (id)
        store_id_hex(id, hex);
    snprintf(j->why, sizeof j->why, "%s %.12s", what, hex);
    return false;
}

/* Both passwords open it: the last one stays open. False: one does not, which somebody was told. */
static bool open_anew(struct judging *j, struct repository **ret_repo)
{
    struct err err;
    *ret_repo = NULL;
    bool all = true;
    for (size_t i = 0; i < ARRAY_LEN(judge_passwords); i++) {
        struct repository *repo;
        if (repository_open(&j->memory->base, judge_passwords[i], NULL, &repo, &err) < 0) {
            all = false;
            continue;
        }
        repository_close(*ret_repo);
        *ret_repo = repo;
    }
    return all;
}

/* Each snapshot that is listed restores as it was, or fails to. *ret_whole: all do; *ret_older: the
 * list is not what it was at the end. */
static bool compare(struct judging *j, struct repository *repo, const struct snapshot_list *list,
                    bool *ret_whole, bool *ret_older)
{
    struct buf content CLEANUP(buf_free) = {0};
    size_t known = 0, expected = 0;
    struct err err;
    *ret_whole = true;
    for (size_t k = 0; k < j->truths->n; k++)
        expected += j->truths->p[k].listed;
    for (size_t i = 0; i < list->n; i++) {
        const struct truth *t = NULL;
        for (size_t k = 0; k < j->truths->n; k++)
            if (store_id_equal(&j->truths->p[k].id, &list->p[i].id))
                t = &j->truths->p[k];
        if (!t)
            return wrong(j, "a snapshot is listed that never was", &list->p[i].id);
        known += t->listed;
        if (judge_restore(repo, &t->id, &content, &err) < 0)
            *ret_whole = false;
        else if (!str_eq(buf_view(&content), buf_view(&t->content)))
            return wrong(j, "a snapshot restores otherwise than it was", &t->id);
    }
    *ret_older = known != expected || list->n != expected;
    return true;
}

/* Somebody who wants to delete, while another's lock is damaged. */
static bool lock_is_passed_over(struct repository *repo)
{
    struct lock_options o = {.exclusive = true, .hostname = "x", .settle_ms = 1};
    struct lock *lock;
    struct err err;
    if (lock_acquire(repo, &o, &lock, &err) < 0)
        return false;
    (void)lock_release(lock, NULL);
    return true;
}

static bool judge_opened(struct judging *j, struct repository *repo, enum verdict *verdict)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    const struct check_options all = {.read = {.what = CHECK_ALL}};
    struct check_result result = {0};
    struct snapshot_list list;
    size_t unreadable = 0;
    struct err err;
    bool whole, older;
    if (snapshot_list_all(repo, NULL, a, &list, &unreadable, &err) < 0) {
        *verdict = MIN(*verdict, VERDICT_LIST);
        return true;
    }
    if (unreadable)
        *verdict = MIN(*verdict, VERDICT_LIST);
    if (repository_load_index(repo, &err) < 0)
        *verdict = MIN(*verdict, VERDICT_INDEX);
    bool checked = check_run(repo, &all, &result, &err) == 0;
    bool damaged = !checked || result.damages > 0, hinted = checked && result.hints > 0;
    check_result_free(&result);
    if (!compare(j, repo, &list, &whole, &older))
        return false;
    if (damaged)
        *verdict = MIN(*verdict, VERDICT_CHECK);
    else if (unreadable || !whole)
        return wrong(j, "check finds no damage where a snapshot cannot be read", NULL);
    if (j->lock_hit) {
        if (lock_is_passed_over(repo))
            return wrong(j, "a damaged lock is passed over", NULL);
        *verdict = MIN(*verdict, VERDICT_LOCK);
    }
    if (*verdict < VERDICT_HINT)
        return true;
    if (older && !j->may_be_older)
        return wrong(j, "nobody says that a snapshot is gone", NULL);
    *verdict = older ? VERDICT_UNSEEN : hinted ? VERDICT_HINT : VERDICT_HARMLESS;
    return true;
}

bool judge(struct judging *j, enum verdict *ret_verdict)
{
    struct repository *repo = NULL;
    struct err err;
    *ret_verdict = VERDICT_HARMLESS;
    if (j->anew ? !open_anew(j, &repo) : repository_reopen(j->opened, &repo, &err) < 0)
        *ret_verdict = VERDICT_OPEN;
    bool fine = !repo || judge_opened(j, repo, ret_verdict);
    repository_close(repo);
    return fine;
}
