/* What a reader makes of a repository that somebody has damaged. */
#ifndef TESTS_TAMPER_JUDGE_H
#define TESTS_TAMPER_JUDGE_H

#include "memory.h"

#include "store/repository.h"

/* What was in a snapshot when it was whole: its own text, then every entry with its content. */
struct truth {
    struct store_id id;
    struct buf content;
    bool listed; /* one of those that are there at the end */
};

struct truths {
    struct truth *p;
    size_t n, room;
};

/* Who has spoken first, in the order in which a person would meet it. */
#define VERDICTS(X)                                                                                \
    X(OPEN, "open", "the repository does not open, or not with one of the passwords")              \
    X(LIST, "list", "the list of snapshots says that some cannot be read")                         \
    X(INDEX, "index", "the index does not load")                                                   \
    X(CHECK, "check", "check finds damage")                                                        \
    X(LOCK, "lock", "whoever wants to delete is told that a lock cannot be read")                  \
    X(HINT, "hint", "check gives a hint; every snapshot is listed and restores equal")             \
    X(HARMLESS, "harmless", "nobody says a word; every snapshot is listed and restores equal")     \
    X(UNSEEN, "older",                                                                             \
      "a snapshot file, or all of the repository, is as if it had never been: "                    \
      "all that is listed restores equal")

enum verdict {
#define X(name, text, what) VERDICT_##name,
    VERDICTS(X)
#undef X
        VERDICT_COUNT
};

struct judging {
    struct memory *memory;
    struct repository *opened; /* while all was whole: saves the key derivation */
    const struct truths *truths;
    bool anew; /* keys or config are hit: open with each password */
    bool
        may_be_older; /* whole snapshot files are gone or back: a store cannot see that by itself */
    bool lock_hit;    /* a lock of another is damaged, and must not be passed over */
    char why[400];    /* of a failure */
};

extern const char *const judge_passwords[2];

/* A snapshot's content into out: < 0 if a part of it cannot be read. */
int judge_restore(struct repository *repo, const struct store_id *snapshot, struct buf *out,
                  struct err *err) must_check;

/* False: nobody says a word, or a wrong word, and something is lost or wrong; `why` says what. */
bool judge(struct judging *j, enum verdict *ret_verdict);

#endif
