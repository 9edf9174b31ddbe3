/* What the verbs of the command line share: options, the connection, tables, exit codes.
 *
 * A verb is one file with one function. It prints results to stdout; what went wrong goes to stderr
 * as one line: the thing, the cause, the next step. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "core/json.h"
#include "core/vec.h"
#include "reconciler/context.h"

/* Exit codes; docs/cli.md lists them for people. */
enum {
    CLI_OK = 0,
    CLI_FAILED = 1,  /* it was tried and did not work; nothing is half done */
    CLI_USAGE = 2,   /* the command line is wrong; nothing was tried */
    CLI_PARTIAL = 3, /* a Backup ended PartiallyFailed */
    CLI_HELD = 4,    /* a Restore is Held: the engine stays away until a person decides */
    CLI_TIMEOUT = 5  /* --wait gave up; the work goes on in the cluster */
};

/* "gleaner", "kubectl gleaner" or "flux gleaner", as the program was called. */
extern const char *cli_program;

/* ---- options ---- */

struct cli_option {
    const char *name;  /* without the dashes */
    char letter;       /* 0: none */
    const char *value; /* the word for its value in the help, or NULL for a switch; "WORD...": the
                          option may be given again, and `at` is a struct cli_list */
    const char *help;  /* NULL: accepted, but not listed */
    void *at;          /* const char ** for a value, bool * for a switch */
};

/* The values of an option in their order; zero-initialise, vec_free at the end. */
struct cli_list {
    const char **p;
    size_t n, room;
};

struct cli_usage {
    const char *verb, *arguments; /* "plan", "KIND/NAME" */
    const char *what;             /* one sentence or more */
    const struct cli_option *options;
    size_t count;
};

/* Reads the options of argv (argv[0] is the verb), by their full names only; what is left are the
 * arguments, moved to the end, from *ret_first on. True: go on. False: return *ret_exit (help was
 * asked for, or the usage error was printed). */
bool cli_options(int argc, char **argv, const struct cli_usage *usage, int *ret_first,
                 int *ret_exit);

/* The same for the options that stand before a verb: ends at the first argument. */
bool cli_options_before(int argc, char **argv, const struct cli_usage *usage, int *ret_first,
                        int *ret_exit);

/* As `VERB --help`. */
int cli_help(int (*verb)(int argc, char **argv), const char *name);

/* Prints "gleaner VERB: message" and where the help is; gives CLI_USAGE. */
int cli_usage_error(const struct cli_usage *usage, const char *fmt, ...) printf_like(2, 3);

/* ---- the connection ---- */

struct cli_cluster {
    const char *kubeconfig, *context, *gleaner_ns;
    struct arena *arena;
    struct context cx;
    char path[4096];
};

/* The options that every verb has that talks to a cluster: rows for its table. */
#define CLI_CLUSTER_OPTIONS(c)                                                                     \
    {"kubeconfig", 0, "FILE", "by default $KUBECONFIG, then ~/.kube/config", &(c)->kubeconfig},    \
        {"context", 0, "NAME", "a context of the kubeconfig", &(c)->context},                      \
    {                                                                                              \
        "gleaner-namespace", 0, "NS",                                                              \
            "where gleaner runs (default $GLEANER_NAMESPACE, then gleaner-system)",                \
            &(c)->gleaner_ns                                                                       \
    }

/* Connects as the user of the kubeconfig. */
int cli_connect(struct cli_cluster *c, struct err *err) must_check;
void cli_disconnect(struct cli_cluster *c); /* fit for CLEANUP */

/* ---- talking to people ---- */

/* Prints the error as "gleaner VERB: ..." and gives CLI_FAILED. */
int cli_fail(const char *verb, const struct err *err);

/* "KIND/NAME" (kind in any case, or its plural) to the kind as the API spells it and the name. */
int cli_parse_target(struct arena *a, const char *text, const char **ret_kind,
                     const char **ret_name, struct err *err) must_check;

/* Rows of equal width, printed with columns as wide as their longest cell. NULL cells are "-". */
struct cli_table {
    size_t columns;
    VEC(const char *) cells; /* borrowed */
};
void cli_table_row(struct cli_table *t, const char *const *cells);
void cli_table_print(const struct cli_table *t);
void cli_table_free(struct cli_table *t);

/* "5m", "3h", "12d" since an RFC 3339 time, in the arena; NULL if it is none. */
const char *cli_age(struct arena *a, const char *time);

/* ---- waiting ---- */

struct cli_end {
    const char *phase;
    int code;
};

struct cli_waiting {
    const struct kube_type *type;
    const char *name;
    const char *request; /* wait first until status.lastHandledRequest is this; may be NULL */
    const struct cli_end *ends; /* the phases that end it, with their exit codes */
    size_t count;
    unsigned seconds; /* 0: no limit */
};

/* Prints each phase and each new message of the resource until it has ended; gives the exit code.
 */
int cli_wait(struct cli_cluster *c, const char *verb, const struct cli_waiting *w);

/* ---- the verbs ---- */

int cli_plan(int argc, char **argv);
int cli_backup(int argc, char **argv);
int cli_restore(int argc, char **argv);
int cli_holds(int argc, char **argv);
int cli_forget(int argc, char **argv);
int cli_get(int argc, char **argv);
int cli_repo(int argc, char **argv);
int cli_version(int argc, char **argv);

#endif
