/* What a mover hands back: the text of its container's termination message.
 *
 *   {"v":1,"verb":"backup","tree":"<id>","root":"0755:0:0:1700000000.000000000","files":3,"dirs":1,
 *    "links":0,"bytes":123,"moved":123,"kept":0,"removed":0,"problems":2,
 *    "first":[{"path":"/a","what":"..."}],"list":"<id>","errorKind":"...","error":"...","note":"..."}
 * Members that are zero or empty are left out, but for v, verb and problems. */
#ifndef MOVER_REPORT_H
#define MOVER_REPORT_H

#include "core/str.h"
#include "store/id.h"

enum {
    MOVER_REPORT_MAX = 4096, /* bytes: Kubernetes cuts a termination message there */
    MOVER_REPORT_PROBLEMS = 10,
    MOVER_REPORT_PATH = 160, /* room for a path; a longer one keeps its end, after "..." */
    MOVER_REPORT_WHAT = 160,
    MOVER_ROOT_MAX = 1200 /* with some extended attributes */
};

/* One thing that is not as it should be, though the mover went on. */
struct mover_problem {
    char path[MOVER_REPORT_PATH]; /* from the volume's root: "/data/socket" */
    char what[MOVER_REPORT_WHAT]; /* "is another mount: not archived" */
};

/* Plain data: copied by assignment, nothing to free. */
struct mover_report {
    char verb[16]; /* "backup", "restore" */
    bool has_tree;
    struct store_id tree; /* backup: what the volume holds; restore: what it now equals */
    /* backup: owner, mode, time and attributes of the volume's own directory (mover/root.h).
     * Opaque: keep it with the tree and give it to the restoring mover (GLEANER_ROOT). */
    char root[MOVER_ROOT_MAX];
    /* backup: one sentence on what is no fault of this run, "" otherwise. */
    char note[MOVER_REPORT_WHAT];
    uint64_t files, dirs, links; /* in the tree; files: regular ones, links: symlinks */
    uint64_t bytes;              /* of all files */
    uint64_t moved;    /* backup: bytes new in the store; restore: bytes written to the volume */
    uint64_t kept;     /* files that were found unchanged */
    uint64_t removed;  /* restore: entries that the tree does not have */
    uint64_t problems; /* all of them, also those not in first[] */
    struct mover_problem first[MOVER_REPORT_PROBLEMS];
    size_t first_n;
    bool has_list;
    struct store_id list; /* backup with more problems than fit: a data blob, one line
                             {"path":...,"what":...} for each (up to 1 MiB of them) */
    char error_kind[24];  /* err_kind_name, "" if it did not fail */
    char error[512];      /* one sentence */
};

/* Appends the JSON text, never more than MOVER_REPORT_MAX bytes: problems that do not fit are left
 * out of first[]. */
void mover_report_encode(const struct mover_report *r, struct buf *out);

/* The text as the API server reports it: written by a tenant's pod, so each field is checked and
 * cut to its room. ERR_INVALID: it is not a report. */
int mover_report_decode(str text, struct mover_report *ret, struct err *err) must_check;

/* Adds a problem: counted always, kept while there is room. */
void mover_report_problem(struct mover_report *r, const char *path, const char *what);

/* Adds counts and problems of a part of the work. */
void mover_report_add(struct mover_report *r, const struct mover_report *part);

#endif
