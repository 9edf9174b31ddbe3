/* store: the backend that keeps small files in memory answers from there only what the store has
 * just listed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store_support.h"

#include "core/codec.h"
#include "store/layout.h"
#include "store/recall.h"

struct bed {
    char *folder;
    struct backend *local, *b; /* the same files */
};

static void must(int r, const struct err *err)
{
    if (r < 0)
        fail_msg("%s", err->msg);
}

static int setup(void **state)
{
    struct bed *bed = xcalloc(1, sizeof *bed);
    struct backend *inner;
    struct repository_key key = cheap_key("first");
    struct err err;
    recall_forget();
    bed->folder = make_folder();
    must(backend_open_local(bed->folder, &bed->local, &err), &err);
    must(backend_open_local(bed->folder, &inner, &err), &err);
    must(repository_init(bed->local, &key, 1, NULL, &err), &err);
    bed->b = backend_recall(inner);
    *state = bed;
    return 0;
}

static int teardown(void **state)
{
    struct bed *bed = *state;
    backend_close(bed->b);
    backend_close(bed->local);
    remove_folder(bed->folder);
    free(bed);
    recall_forget();
    return 0;
}

static int ignore(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    (void)ctx, (void)id, (void)size, (void)err;
    return 0;
}

static void list(struct bed *bed, enum backend_type type)
{
    struct err err;
    must(backend_list(bed->b, type, ignore, NULL, &err), &err);
}

static struct backend_file save(struct bed *bed, enum backend_type type, const char *text)
{
    struct backend_file f = {.type = type};
    struct err err;
    must(backend_save(bed->b, type, text, strlen(text), &f.id, &err), &err);
    return f;
}

/* What the file holds now; with its mode as the store leaves it. */
static void overwrite(struct bed *bed, const struct backend_file *f, const char *text)
{
    struct buf name CLEANUP(buf_free) = {0};
    layout_file(&name, f, f->type == BACKEND_DATA);
    char *path CLEANUP(free_p) = xasprintf("%s/%s", bed->folder, name.p);
    chmod(path, 0600);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static bool reads(struct bed *bed, const struct backend_file *f, const char *text)
{
    struct buf out CLEANUP(buf_free) = {0};
    struct err err;
    return backend_load_all(bed->b, f, 1 << 20, &out, &err) == 0 && str_is(buf_view(&out), text);
}

static void test_once(void **state)
{
    struct bed *bed = *state;
    static const enum backend_type kept[] = {BACKEND_SNAPSHOT, BACKEND_INDEX, BACKEND_LOCK,
                                             BACKEND_KEY};
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        struct backend_file f = save(bed, kept[i], "text");
        list(bed, kept[i]);
        assert_true(reads(bed, &f, "text"));
        overwrite(bed, &f, "TEXT"); /* of the same size: the store is not asked */
        assert_true(reads(bed, &f, "text"));
        recall_forget();
        assert_false(reads(bed, &f, "text"));
        overwrite(bed, &f, "text");
    }
}

/* What was written is not taken for what was read; nor is what is not whole. */
static void test_only_what_was_read(void **state)
{
    struct bed *bed = *state;
    struct backend_file f = save(bed, BACKEND_SNAPSHOT, "text");
    list(bed, BACKEND_SNAPSHOT);
    overwrite(bed, &f, "TEXT");
    assert_false(reads(bed, &f, "text"));
    overwrite(bed, &f, "text");
    assert_true(reads(bed, &f, "text"));
}

static void test_only_what_is_listed(void **state)
{
    struct bed *bed = *state;
    struct err err;
    struct backend_file f = save(bed, BACKEND_SNAPSHOT, "text");
    assert_true(reads(bed, &f, "text"));
    overwrite(bed, &f, "TEXT");
    assert_false(reads(bed, &f, "text")); /* no list yet */
    list(bed, BACKEND_SNAPSHOT);
    assert_true(reads(bed, &f, "text"));
    overwrite(bed, &f, "longer text");
    list(bed, BACKEND_SNAPSHOT);
    assert_false(reads(bed, &f, "text")); /* another size */
    overwrite(bed, &f, "text");
    list(bed, BACKEND_SNAPSHOT);
    assert_true(reads(bed, &f, "text"));
    must(backend_remove(bed->local, &f, &err), &err); /* by somebody else */
    list(bed, BACKEND_SNAPSHOT);
    assert_false(reads(bed, &f, "text"));
    f = save(bed, BACKEND_SNAPSHOT, "text");
    list(bed, BACKEND_SNAPSHOT);
    must(backend_remove(bed->b, &f, &err), &err); /* by ourselves, and no list since */
    assert_false(reads(bed, &f, "text"));
}

/* Packs, and ranges of any file, are always the store's. */
static void test_not_packs(void **state)
{
    struct bed *bed = *state;
    struct buf out CLEANUP(buf_free) = {0};
    struct err err;
    struct backend_file f = save(bed, BACKEND_DATA, "text");
    list(bed, BACKEND_DATA);
    assert_true(reads(bed, &f, "text"));
    overwrite(bed, &f, "TEXT");
    assert_false(reads(bed, &f, "text"));
    f = save(bed, BACKEND_INDEX, "index");
    list(bed, BACKEND_INDEX);
    assert_true(reads(bed, &f, "index"));
    overwrite(bed, &f, "INDEX");
    must(backend_load_range(bed->b, &f, 1, 2, &out, &err), &err);
    assert_true(str_is(buf_view(&out), "ND"));
}

/* However much is read, the memory has its bound, and the last is in it. */
static void test_bound(void **state)
{
    struct bed *bed = *state;
    enum { FILES = 3 * (RECALL_ALL / (1 << 20)) };
    struct backend_file first = {0}, f = {0};
    char *text CLEANUP(free_p) = xmalloc((1 << 20) + 1);
    struct buf out CLEANUP(buf_free) = {0};
    struct err err;
    memset(text, 'x', 1 << 20);
    text[1 << 20] = '\0';
    for (int i = 0; i < FILES; i++) {
        snprintf(text, 16, "%08d", i);
        text[8] = 'x';
        f = save(bed, BACKEND_INDEX, text);
        first = i ? first : f;
        list(bed, BACKEND_INDEX);
        must(backend_load_all(bed->b, &f, 2 << 20, &out, &err), &err);
    }
    assert_true(recall_bytes() <= RECALL_ALL);
    assert_true(recall_bytes() > RECALL_ALL / 2);
    char *other CLEANUP(free_p) = xstrdup(text);
    other[100] = 'y';
    overwrite(bed, &f, other);
    overwrite(bed, &first, other);
    must(backend_load_all(bed->b, &f, 2 << 20, &out, &err), &err);
    assert_int_equal(backend_load_all(bed->b, &first, 2 << 20, &out, &err), -1);
}

/* A key that was kept opens the repository again without a key file, as long as that is there. */
static void test_memory_of_a_repository(void **state)
{
    struct bed *bed = *state;
    struct repository_memory *m CLEANUP(repository_memory_free_p) = NULL;
    struct repository *repo;
    struct store_id key, second;
    struct err err;
    must(repository_open(bed->b, "first", NULL, &repo, &err), &err);
    key = *repository_key_id(repo);
    struct store_id id = *repository_id(repo);
    assert_true(repository_lists_key(repo, &key));
    m = repository_remember(repo);
    struct repository_key more = cheap_key("second");
    must(repository_add_key(repo, &more, &second, &err), &err);
    assert_false(repository_lists_key(repo, &second));
    repository_close(repo);
    struct repository_options options = {.memory = m};
    for (int known = 0; known < 2; known++) {
        options.config_known = known;
        /* The password is not asked: whoever keeps a key knows which one it was for. */
        must(repository_open(bed->b, "not asked", &options, &repo, &err), &err);
        assert_true(store_id_equal(repository_id(repo), &id));
        assert_true(store_id_equal(repository_key_id(repo), &key));
        repository_close(repo);
    }
    must(backend_remove(bed->local, &(struct backend_file){BACKEND_KEY, key}, &err), &err);
    assert_int_equal(repository_open(bed->b, "first", &options, &repo, &err), -1);
    assert_int_equal(err.kind, ERR_UNAUTHORIZED);
    must(repository_open(bed->b, "second", &options, &repo, &err), &err);
    assert_true(store_id_equal(repository_key_id(repo), &second));
    repository_close(repo);
}

static void clear(struct bed *bed, const char *what)
{
    char *command CLEANUP(free_p) = xasprintf("rm -rf %s/%s", bed->folder, what);
    assert_int_equal(system(command), 0);
}

/* Another one has come into its place, of the same password: nothing of the old one is used. */
static void test_another_repository(void **state)
{
    struct bed *bed = *state;
    struct repository_memory *m CLEANUP(repository_memory_free_p) = NULL;
    struct repository *repo;
    struct repository_key again = cheap_key("first");
    struct err err;
    must(repository_open(bed->b, "first", NULL, &repo, &err), &err);
    struct store_id id = *repository_id(repo);
    m = repository_remember(repo);
    repository_close(repo);
    clear(bed, "config");
    clear(bed, "keys/*");
    must(repository_init(bed->local, &again, 1, NULL, &err), &err);
    for (int known = 0; known < 2; known++) {
        struct repository_options options = {.memory = m, .config_known = known};
        must(repository_open(bed->b, "first", &options, &repo, &err), &err);
        assert_false(store_id_equal(repository_id(repo), &id));
        repository_close(repo);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_what_was_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_what_is_listed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_packs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_of_a_repository, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_repository, setup, teardown),
    };
    return cmocka_run_group_tests_name("store_recall", tests, NULL, NULL);
}
