/* Damages a small repository in every way that a stranger, a disk or an administrator can: bits
 * flipped, files cut, extended, exchanged, copied to where they do not belong, deleted, or put back
 * as they were earlier. Each must be reported by opening, listing, or check, or be provably
 * harmless: the list of snapshots is complete and each restores as it was. In no case may one
 * restore otherwise than it was, without an error.
 *
 * One thing a store cannot see by itself: that a whole snapshot file is gone, or that all of the
 * repository is as it was earlier. Gleaner's controller sees it, because its Backup resources lie
 * elsewhere: one whose snapshot a complete listing lacks is marked (reconciler/store/sync.h).
 */
#include "judge.h"
#include "store_support.h"

#include "store/lock.h"
#include "store/repository_impl.h"
#include "store/stream.h"
#include "store/synthetic.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>

enum { STAGES = 6, FAILURES_MAX = 20, SECONDS_MAX = 60, MEMORY_MAX_MB = 1024 };

static const char *const kinds[BACKEND_TYPES] = {"config",   "key",   "lock",
                                                 "snapshot", "index", "data"};
static const char *const verdict_names[VERDICT_COUNT] = {
#define X(name, text, what) text,
    VERDICTS(X)
#undef X
};
static const char *const verdict_meanings[VERDICT_COUNT] = {
#define X(name, text, what) what,
    VERDICTS(X)
#undef X
};

static struct memory memory;
static struct memory_files stages[STAGES]; /* the last one: all of it */
static size_t stages_n;
static struct truths truths;
static struct judging judging = {.memory = &memory, .truths = &truths};
static char current[200]; /* what is being tried */
static size_t failures;

static void die(const char *fmt, ...) printf_like(1, 2) __attribute__((noreturn));
static void die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void too_long(int signal)
{
    (void)signal;
    (void)!write(2, "it does not end: ", 17);
    (void)!write(2, current, strlen(current));
    _exit(1);
}

/* ---- the repository ---- */

static void must(int r, const struct err *err)
{
    if (r < 0)
        die("the repository cannot be made: %s", err->msg);
}

static struct repository *session(void)
{
    struct repository *repo;
    struct err err;
    must(repository_open(&memory.base, judge_passwords[0], NULL, &repo, &err), &err);
    must(repository_load_index(repo, &err), &err);
    return repo;
}

static void keep_stage(void)
{
    memory_copy(&memory.files, &stages[stages_n++]);
}

/* A tree of its own: a link, an attribute, a device. */
static void save_volume(struct repository *repo, struct store_id *ret_tree)
{
    struct tree_writer *w CLEANUP(tree_writer_free_p) = tree_writer_new();
    const struct node_xattr xattr = {STR("user.note"), STR("\xff\0x")};
    const struct node nodes[] = {
        {.name = STR("device"), .type = NODE_CHARDEV, .mode = 0600, .device = 259},
        {.name = STR("lat\xe4"), .type = NODE_SYMLINK, .link_target = STR("to \xff")},
        {.name = STR("pipe"), .type = NODE_FIFO, .xattrs = &xattr, .xattrs_n = 1}};
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
        must(tree_writer_add(w, &nodes[i], &err), &err);
    must(tree_writer_finish(w, repo, ret_tree, NULL, &err), &err);
}

static void backup(struct repository *repo, const char *own, struct store_id *ret_id)
{
    struct synthetic *s CLEANUP(synthetic_free_p) = synthetic_new(repo, 1700000000);
    struct store_id volume, tree;
    char path[100];
    struct err err;
    snprintf(path, sizeof path, "/meta/%s.json", own);
    save_volume(repo, &volume);
    must(synthetic_add(s, "/same", "in all of them, and longer when it is compressed", 48, 1, &err),
         &err);
    must(synthetic_add(s, path, own, strlen(own), 2, &err), &err);
    must(synthetic_graft(s, "/volume", &volume, NULL, &err), &err);
    must(synthetic_finish(s, &tree, &err), &err);
    must(save_test_snapshot(repo, &tree, own, ret_id, &err), &err);
}

/* As tagging does: the new file, then the old one goes. */
static void tag(struct store_id *id)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct repository *repo CLEANUP(repository_close_p) = session();
    struct store_id old = *id;
    struct snapshot s;
    const char *tags[] = {"tagged"};
    struct err err;
    must(snapshot_load(repo, &old, a, &s, &err), &err);
    s.has_original = true;
    s.original = old;
    s.tags = tags;
    s.tags_n = 1;
    must(snapshot_save(repo, &s, id, &err), &err);
    must(backend_remove(&memory.base, &(struct backend_file){BACKEND_SNAPSHOT, old}, &err), &err);
}

static void keep_truth(const struct store_id *id, bool listed)
{
    struct repository *repo CLEANUP(repository_close_p) = session();
    struct truth *t = vec_add(&truths);
    struct err err;
    t->id = *id;
    t->listed = listed;
    must(judge_restore(repo, id, &t->content, &err), &err);
}

static void put_config(const struct buf *sealed)
{
    const struct store_id none = {{0}};
    size_t at = memory_find(&memory.files, BACKEND_CONFIG, &none);
    if (at < memory.files.n)
        memory_drop(&memory.files, at);
    memory_add(&memory.files, BACKEND_CONFIG, &none, buf_view(sealed));
}

/* The config as it is, and as it was before the repository became one of version 2. */
static void save_configs(struct buf *ret_now, struct buf *ret_before)
{
    struct repository *repo CLEANUP(repository_close_p) = session();
    struct store_config config = repo->config;
    struct buf text CLEANUP(buf_free) = {0};
    struct err err;
    must(backend_load_all(&memory.base, &(struct backend_file){.type = BACKEND_CONFIG}, 10000,
                          ret_now, &err),
         &err);
    config.version = 1;
    store_config_text(&config, &text);
    crypto_seal(&repo->key, text.p, text.n, ret_before);
}

/* A lock of somebody who died. */
static void put_lock(void)
{
    const struct lock_options shared = {.hostname = "another", .settle_ms = 1};
    struct buf bytes CLEANUP(buf_free) = {0};
    struct lock *lock;
    struct err err;
    must(lock_acquire(judging.opened, &shared, &lock, &err), &err);
    struct store_id id = *lock_id(lock);
    must(backend_load_all(&memory.base, &(struct backend_file){BACKEND_LOCK, id}, 10000, &bytes,
                          &err),
         &err);
    must(lock_release(lock, &err), &err);
    memory_add(&memory.files, BACKEND_LOCK, &id, buf_view(&bytes));
}

static void make_repository(void)
{
    const struct repository_key keys[] = {cheap_key(judge_passwords[0]),
                                          cheap_key(judge_passwords[1])};
    struct buf now CLEANUP(buf_free) = {0}, before CLEANUP(buf_free) = {0};
    struct store_id a, b, c;
    struct err err;
    memory_init(&memory);
    must(repository_init(&memory.base, keys, 1, NULL, &err), &err);
    save_configs(&now, &before);
    put_config(&before);
    keep_stage();
    put_config(&now);
    struct repository *one = session(), *two = session();
    must(repository_add_key(one, &keys[1], NULL, &err), &err);
    backup(one, "a", &a);
    keep_truth(&a, false);
    keep_stage();
    tag(&a);
    keep_truth(&a, true);
    keep_stage();
    backup(two, "b", &b); /* its copies of what is the same: nobody knew of the other */
    repository_close(one);
    repository_close(two);
    keep_truth(&b, true);
    keep_stage();
    judging.opened = session();
    backup(judging.opened, "c", &c);
    keep_truth(&c, true);
    keep_stage();
    put_lock();
    keep_stage();
}

/* ---- counting ---- */

#define WAYS(X)                                                                                    \
    X(FLIP, "a bit flipped")                                                                       \
    X(FLIP_NAMED, "a bit flipped, named by what it is then")                                       \
    X(CUT, "cut, to each shorter length")                                                          \
    X(EXTEND, "extended")                                                                          \
    X(SWAP, "exchanged with another of its kind")                                                  \
    X(OVERWRITE, "overwritten by another of its kind")                                             \
    X(MISPLACE, "copied to another kind")                                                          \
    X(DELETE, "deleted")                                                                           \
    X(DELETE_TWO, "deleted with another")                                                          \
    X(ROLL_BACK, "kinds put back to what they were earlier")

enum way {
#define X(name, text) WAY_##name,
    WAYS(X)
#undef X
        WAY_COUNT
};

static const char *const way_names[WAY_COUNT] = {
#define X(name, text) text,
    WAYS(X)
#undef X
};

/* BACKEND_TYPES: several kinds at once. */
static unsigned counts[WAY_COUNT][BACKEND_TYPES + 1][VERDICT_COUNT];

static void try(enum way way, int kind, const char *fmt, ...) printf_like(3, 4);
static void try(enum way way, int kind, const char *fmt, ...)
{
    enum verdict verdict;
    va_list args;
    va_start(args, fmt);
    vsnprintf(current, sizeof current, fmt, args);
    va_end(args);
    alarm(SECONDS_MAX);
    if (judge(&judging, &verdict)) {
        counts[way][kind][verdict]++;
        return;
    }
    fprintf(stderr, "%s, %s: %s\n", current, way_names[way], judging.why);
    if (++failures >= FAILURES_MAX)
        die("there may be more");
}

static void put_back(void)
{
    memory_copy(&stages[stages_n - 1], &memory.files);
}

/* What kinds are hit says how to look. */
static void expect(bool config_or_key, bool snapshot_gone, bool lock_hit)
{
    judging.anew = config_or_key;
    judging.may_be_older = snapshot_gone;
    judging.lock_hit = lock_hit;
}

static void expect_of(enum backend_type type)
{
    expect(type == BACKEND_CONFIG || type == BACKEND_KEY, false, type == BACKEND_LOCK);
}

static bool same_bytes(const struct memory_file *a, const struct memory_file *b)
{
    return str_eq(buf_view(&a->bytes), buf_view(&b->bytes));
}

/* ---- the ways ---- */

static void flip(size_t at, size_t byte, int bit)
{
    struct memory_file *f = &memory.files.p[at];
    struct store_id name = f->id;
    expect_of(f->type);
    f->bytes.p[byte] ^= (char)(1 << bit);
    try(WAY_FLIP, f->type, "%s %zu, byte %zu, bit %d", kinds[f->type], at, byte, bit);
    if (f->type != BACKEND_CONFIG) {
        store_id_of(f->bytes.p, f->bytes.n, &f->id);
        try(WAY_FLIP_NAMED, f->type, "%s %zu, byte %zu, bit %d", kinds[f->type], at, byte, bit);
        f->id = name;
    }
    f->bytes.p[byte] ^= (char)(1 << bit);
}

static void flip_all(bool every_bit)
{
    for (size_t at = 0; at < memory.files.n; at++)
        for (size_t byte = 0; byte < memory.files.p[at].bytes.n; byte++)
            for (int bit = 0; bit < 8; bit++)
                if (every_bit || bit == (int)(byte % 8))
                    flip(at, byte, bit);
}

static void cut_all(void)
{
    for (size_t at = 0; at < memory.files.n; at++) {
        struct memory_file *f = &memory.files.p[at];
        size_t whole = f->bytes.n;
        expect_of(f->type);
        while (f->bytes.n > 0) {
            f->bytes.n--;
            /* A lock of no bytes was never written, as restic has it. */
            judging.lock_hit = f->type == BACKEND_LOCK && f->bytes.n > 0;
            try(WAY_CUT, f->type, "%s %zu, %zu bytes left", kinds[f->type], at, f->bytes.n);
        }
        f->bytes.n = whole;
    }
}

static void extend_all(void)
{
    static const char zeros[100];
    for (size_t at = 0; at < memory.files.n; at++) {
        struct memory_file *f = &memory.files.p[at];
        struct buf whole CLEANUP(buf_free) = {0};
        size_t n = f->bytes.n;
        buf_str(&whole, buf_view(&f->bytes));
        expect_of(f->type);
        for (int way = 0; way < 3; way++) {
            if (way < 2)
                buf_add(&f->bytes, zeros, way ? sizeof zeros : 1);
            else
                buf_str(&f->bytes, buf_view(&whole));
            try(WAY_EXTEND, f->type, "%s %zu, to %zu bytes", kinds[f->type], at, f->bytes.n);
            f->bytes.n = n;
        }
    }
}

static void set_bytes(size_t at, str bytes)
{
    buf_reset(&memory.files.p[at].bytes);
    buf_str(&memory.files.p[at].bytes, bytes);
}

static void exchange_all(void)
{
    const struct memory_files *whole = &stages[stages_n - 1];
    for (size_t i = 0; i < whole->n; i++)
        for (size_t k = 0; k < whole->n; k++) {
            const struct memory_file *f = &whole->p[i], *g = &whole->p[k];
            if (i == k || f->type != g->type || same_bytes(f, g))
                continue;
            expect_of(f->type);
            set_bytes(i, buf_view(&g->bytes));
            try(WAY_OVERWRITE, f->type, "%s %zu by %zu", kinds[f->type], i, k);
            set_bytes(k, buf_view(&f->bytes));
            if (i < k)
                try(WAY_SWAP, f->type, "%s %zu and %zu", kinds[f->type], i, k);
            put_back();
        }
}

/* Every sealed file is authentic under any name and kind. */
static void misplace_all(void)
{
    const struct memory_files *whole = &stages[stages_n - 1];
    for (size_t i = 0; i < whole->n; i++)
        for (int kind = 0; kind < BACKEND_TYPES; kind++) {
            const struct memory_file *f = &whole->p[i];
            if (kind == (int)f->type)
                continue;
            expect(kind == BACKEND_CONFIG || kind == BACKEND_KEY, false, false);
            struct store_id name = f->id;
            if (f->type == BACKEND_CONFIG)
                store_id_of(f->bytes.p, f->bytes.n, &name);
            if (kind == BACKEND_CONFIG)
                put_config(&f->bytes);
            else
                memory_add(&memory.files, (enum backend_type)kind, &name, buf_view(&f->bytes));
            try(WAY_MISPLACE, kind, "%s %zu as %s", kinds[f->type], i, kinds[kind]);
            put_back();
        }
}

static void delete_all(void)
{
    const struct memory_files *whole = &stages[stages_n - 1];
    for (size_t i = 0; i < whole->n; i++)
        for (size_t k = i; k < whole->n; k++) {
            enum backend_type x = whole->p[i].type, y = whole->p[k].type;
            expect(x <= BACKEND_KEY || y <= BACKEND_KEY,
                   x == BACKEND_SNAPSHOT || y == BACKEND_SNAPSHOT, false);
            memory_drop(&memory.files, k);
            if (i != k)
                memory_drop(&memory.files, i);
            try(i == k ? WAY_DELETE : WAY_DELETE_TWO, i == k || x == y ? (int)x : BACKEND_TYPES,
                "%s %zu, %s %zu", kinds[x], i, kinds[y], k);
            put_back();
        }
}

/* Kinds, in every combination, as they were at each stage. */
static void roll_back_all(void)
{
    for (size_t stage = 0; stage + 1 < stages_n; stage++)
        for (unsigned set = 1; set < 1u << BACKEND_TYPES; set++) {
            for (size_t i = memory.files.n; i-- > 0;)
                if (set >> memory.files.p[i].type & 1)
                    memory_drop(&memory.files, i);
            for (size_t i = 0; i < stages[stage].n; i++) {
                const struct memory_file *f = &stages[stage].p[i];
                if (set >> f->type & 1)
                    memory_add(&memory.files, f->type, &f->id, buf_view(&f->bytes));
            }
            expect(set & (1u << BACKEND_CONFIG | 1u << BACKEND_KEY), set & 1u << BACKEND_SNAPSHOT,
                   false);
            int kind = BACKEND_TYPES;
            for (int t = 0; t < BACKEND_TYPES; t++)
                kind = set == 1u << t ? t : kind;
            try(WAY_ROLL_BACK, kind, "kinds %x at stage %zu", set, stage);
            put_back();
        }
}

/* ---- all of it ---- */

static void print_counts(void)
{
    unsigned sums[VERDICT_COUNT] = {0}, all = 0;
    for (int way = 0; way < WAY_COUNT; way++) {
        printf("%s\n", way_names[way]);
        for (int kind = 0; kind <= BACKEND_TYPES; kind++) {
            bool any = false;
            for (int v = 0; v < VERDICT_COUNT; v++) {
                unsigned n = counts[way][kind][v];
                if (n && !any)
                    printf("  %-9s", kind < BACKEND_TYPES ? kinds[kind] : "several");
                if (n)
                    printf("  %s %u", verdict_names[v], n);
                any = any || n;
                sums[v] += n, all += n;
            }
            if (any)
                putchar('\n');
        }
    }
    printf("%u ways to damage %zu files; of them, first told by\n", all, memory.files.n);
    for (int v = 0; v < VERDICT_COUNT; v++)
        printf("  %-8s %6u  %s\n", verdict_names[v], sums[v], verdict_meanings[v]);
}

int main(void)
{
    const char *full = getenv("GLEANER_TEST_FULL");
    enum verdict verdict;
    struct rusage usage;
    signal(SIGALRM, too_long);
    make_repository();
    expect(true, false, false);
    if (!judge(&judging, &verdict) || verdict != VERDICT_HARMLESS)
        die("the undamaged repository: %s (%s)", verdict_names[verdict], judging.why);
    flip_all(full && *full);
    cut_all();
    extend_all();
    exchange_all();
    misplace_all();
    delete_all();
    roll_back_all();
    repository_close(judging.opened);
    print_counts();
    getrusage(RUSAGE_SELF, &usage);
    printf("at most %ld MiB of memory\n", usage.ru_maxrss >> 10);
    if (usage.ru_maxrss >> 10 > MEMORY_MAX_MB)
        die("that is more than %d", MEMORY_MAX_MB);
    memory_free(&memory.files);
    for (size_t i = 0; i < stages_n; i++)
        memory_free(&stages[i]);
    for (size_t i = 0; i < truths.n; i++)
        buf_free(&truths.p[i].content);
    vec_free(&truths);
    return failures > 0;
}
