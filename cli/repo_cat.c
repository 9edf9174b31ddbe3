/* gleaner repo cat and list: what lies in a repository, file by file. */
#include <stdio.h>

#include "cli/repo.h"
#include "store/gojson.h"
#include "store/keys.h"
#include "store/limits.h"

/* ---- cat ---- */

static void print_bytes(str bytes, bool line)
{
    fwrite(bytes.p, 1, bytes.n, stdout);
    if (line && (bytes.n == 0 || bytes.p[bytes.n - 1] != '\n'))
        putchar('\n');
}

static int cat_config(struct repo_session *s)
{
    char id[STORE_ID_HEX];
    store_id_hex(repository_id(s->repo), id);
    printf("{\n  \"version\": %u,\n  \"id\": \"%s\",\n  \"chunker_polynomial\": \"%llx\"\n}\n",
           repository_version(s->repo), id, (unsigned long long)repository_polynomial(s->repo));
    return 0;
}

/* Of a key what is no secret: whoever has salt and data may try passwords at leisure. */
static int cat_key(struct repo_session *s, const char *which, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct key_list keys;
    struct store_id id;
    if (store_find_id(s->repo, BACKEND_KEY, which, &id, err) < 0 ||
        key_list_all(s->repo, a, &keys, NULL, err) < 0)
        return -1;
    for (size_t i = 0; i < keys.n; i++) {
        const struct key_info *k = &keys.p[i];
        if (!store_id_equal(&k->id, &id))
            continue;
        json_t *j CLEANUP_JSON =
            json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "created", k->created, "username",
                      k->username, "hostname", k->hostname, "kdf", "scrypt", "N", (json_int_t)k->n,
                      "r", (json_int_t)k->r, "p", (json_int_t)k->p);
        struct buf text CLEANUP(buf_free) = {0};
        json_print(&text, j);
        print_bytes(buf_view(&text), true);
        return 0;
    }
    return err_set(err, ERR_NOT_FOUND, "key %s: not there, or it cannot be read", which);
}

static int cat_file(struct repo_session *s, enum backend_type type, const char *which,
                    struct err *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    struct store_id id;
    if (store_find_id(s->repo, type, which, &id, err) < 0)
        return -1;
    int r = type == BACKEND_DATA ? backend_load_all(s->backend, &(struct backend_file){type, id},
                                                    SIZE_MAX, &text, err)
                                 : repository_load_file(s->repo, type, &id, &text, err);
    if (r == 0)
        print_bytes(buf_view(&text), type != BACKEND_DATA);
    return r;
}

static int cat_snapshot(struct repo_session *s, const char *which, struct err *err)
{
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct snapshot snapshot;
    char hex[STORE_ID_HEX];
    if (snapshot_find(s->repo, which, NULL, a, &snapshot, err) < 0)
        return -1;
    store_id_hex(&snapshot.id, hex);
    return cat_file(s, BACKEND_SNAPSHOT, hex, err);
}

static int cat_blob(struct repo_session *s, enum blob_type type, const struct store_id *id,
                    struct err *err)
{
    struct buf bytes CLEANUP(buf_free) = {0};
    if (repository_load_blob(s->repo, type, id, &bytes, err) < 0)
        return -1;
    print_bytes(buf_view(&bytes), false);
    return 0;
}

static int cat_by_id(struct repo_session *s, bool trees_only, const char *which, struct err *err)
{
    struct store_id id;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct snapshot snapshot;
    if (repository_load_index(s->repo, err) < 0)
        return -1;
    if (store_id_parse(str_of(which), &id)) {
        if (!trees_only && repository_has_blob(s->repo, BLOB_DATA, &id, NULL))
            return cat_blob(s, BLOB_DATA, &id, err);
        if (repository_has_blob(s->repo, BLOB_TREE, &id, NULL))
            return cat_blob(s, BLOB_TREE, &id, err);
    }
    if (!trees_only)
        return err_set(err, ERR_NOT_FOUND, "blob %s is in no index", which);
    if (repo_find_tree(s, NULL, which, a, &snapshot, &id, NULL, err) < 0)
        return -1;
    return cat_blob(s, BLOB_TREE, &id, err);
}

static int cat(struct repo_session *s, const char *kind, const char *which, struct err *err)
{
    if (streq(kind, "config"))
        return cat_config(s);
    if (streq(kind, "key"))
        return cat_key(s, which, err);
    if (streq(kind, "snapshot"))
        return cat_snapshot(s, which, err);
    if (streq(kind, "index"))
        return cat_file(s, BACKEND_INDEX, which, err);
    if (streq(kind, "lock"))
        return cat_file(s, BACKEND_LOCK, which, err);
    if (streq(kind, "pack"))
        return cat_file(s, BACKEND_DATA, which, err);
    return cat_by_id(s, streq(kind, "tree"), which, err);
}

static bool is_one_of(const char *word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (streq(word, words[i]))
            return true;
    return false;
}

int cli_repo_cat(int argc, char **argv)
{
    static const char *const kinds[] = {"config", "index", "snapshot", "key",
                                        "lock",   "pack",  "blob",     "tree"};
    struct repo_place place = {0};
    const struct cli_option options[] = {REPO_OPTIONS(&place)};
    const struct cli_usage usage = {
        "repo cat", "config | index|snapshot|key|lock|pack|blob|tree ID",
        "Prints a file of the repository, opened; of a key only what is no secret. A tree is named "
        "by\nits id or as SNAPSHOT[:FOLDER].",
        options, ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    const char *kind = first < argc ? argv[first] : "";
    if (streq(kind, "masterkey"))
        return cli_usage_error(&usage, "the master key is never printed");
    if (!is_one_of(kind, kinds, ARRAY_LEN(kinds)))
        return cli_usage_error(&usage, "'%s': no such kind of file", kind);
    if (argc - first != (streq(kind, "config") ? 1 : 2))
        return cli_usage_error(&usage, "give the id of one %s", kind);
    struct repo_session s CLEANUP(repo_close) = {0};
    struct err err;
    if (repo_open(&s, &place, REPO_READ, &err) < 0 ||
        cat(&s, kind, argc - first > 1 ? argv[first + 1] : "", &err) < 0)
        return repo_fail(&s, "repo cat", &err);
    return CLI_OK;
}

/* ---- list ---- */

static int print_id(void *ctx, const struct store_id *id, uint64_t size, struct err *err)
{
    char hex[STORE_ID_HEX];
    (void)ctx, (void)size, (void)err;
    store_id_hex(id, hex);
    puts(hex);
    return 0;
}

static int print_blob(void *ctx, enum blob_type type, const struct store_id *id, struct err *err)
{
    char hex[STORE_ID_HEX];
    (void)ctx, (void)err;
    store_id_hex(id, hex);
    printf("%s %s\n", type == BLOB_TREE ? "tree" : "data", hex);
    return 0;
}

int cli_repo_list(int argc, char **argv)
{
    static const struct {
        const char *word;
        enum backend_type type;
    } kinds[] = {{"packs", BACKEND_DATA}, {"index", BACKEND_INDEX}, {"snapshots", BACKEND_SNAPSHOT},
                 {"keys", BACKEND_KEY},   {"locks", BACKEND_LOCK},  {"blobs", BACKEND_TYPES}};
    struct repo_place place = {0};
    const struct cli_option options[] = {REPO_OPTIONS(&place)};
    const struct cli_usage usage = {"repo list", "blobs|packs|index|snapshots|keys|locks",
                                    "Lists the ids of what lies in the repository.", options,
                                    ARRAY_LEN(options)};
    int first, code;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    size_t i = 0;
    while (i < ARRAY_LEN(kinds) && !(argc - first == 1 && streq(argv[first], kinds[i].word)))
        i++;
    if (i == ARRAY_LEN(kinds))
        return cli_usage_error(&usage, "give one of blobs, packs, index, snapshots, keys, locks");
    struct repo_session s CLEANUP(repo_close) = {0};
    struct err err;
    /* As restic: who lists locks takes none. */
    enum repo_use use = kinds[i].type == BACKEND_LOCK ? REPO_UNLOCKED : REPO_READ;
    if (repo_open(&s, &place, use, &err) < 0)
        return repo_fail(&s, "repo list", &err);
    int r = kinds[i].type == BACKEND_TYPES
                ? repository_each_blob(s.repo, print_blob, NULL, &err)
                : backend_list(s.backend, kinds[i].type, print_id, NULL, &err);
    return r < 0 ? repo_fail(&s, "repo list", &err) : CLI_OK;
}
