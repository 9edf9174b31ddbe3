#include "store/tag.h"

#include "core/vec.h"

#include <stdlib.h>

struct tags {
    const char **p;
    size_t n, room;
};

static void tags_free(struct tags *t)
{
    vec_free(t);
}

static bool has(const char *const *list, size_t n, const char *tag)
{
    for (size_t i = 0; i < n; i++)
        if (streq(list[i], tag))
            return true;
    return false;
}

static void add_all(struct tags *to, const char *const *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (*from[i] && !has(to->p, to->n, from[i]))
            *vec_add(to) = from[i];
}

static bool equal(const struct tags *a, const struct snapshot *s)
{
    bool same = a->n == s->tags_n;
    for (size_t i = 0; same && i < a->n; i++)
        same = streq(a->p[i], s->tags[i]);
    return same;
}

int snapshot_change_tags(struct repository *repo, const struct snapshot *snapshot,
                         const struct tag_change *change, struct store_id *ret_id, struct err *err)
{
    struct tags tags CLEANUP(tags_free) = {0};
    struct snapshot s = *snapshot;
    struct store_id id;
    if (change->set_n)
        add_all(&tags, change->set, change->set_n);
    else
        add_all(&tags, s.tags, s.tags_n);
    add_all(&tags, change->add, change->add_n);
    size_t n = 0;
    for (size_t i = 0; i < tags.n; i++)
        if (!has(change->remove, change->remove_n, tags.p[i]))
            tags.p[n++] = tags.p[i];
    tags.n = n;
    if (equal(&tags, snapshot))
        return 0;
    s.tags = tags.p;
    s.tags_n = tags.n;
    if (!s.has_original) {
        s.has_original = true;
        s.original = snapshot->id;
    }
    if (snapshot_save(repo, &s, &id, err) < 0 ||
        backend_remove(repository_backend(repo),
                       &(struct backend_file){BACKEND_SNAPSHOT, snapshot->id}, err) < 0)
        return -1;
    *ret_id = id;
    return 1;
}
