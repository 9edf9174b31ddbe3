/* gleaner forget: asks the controller to forget Backups, or shows what would go and why. The
 * request is an annotation on the Backup, so that no password of a store is needed here. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cli/cli.h"
#include "core/clock.h"
#include "core/codec.h"
#include "reconciler/status.h"
#include "reconciler/store/preview.h"
#include "reconciler/store/retain.h"

enum { LOOK_MS = 500, PATIENCE_S = 300 };

struct forget_options {
    struct cli_cluster c;
    const char *schedule, *timeout, *output;
    bool dry_run;
    unsigned seconds;
};

/* ---- dry run ---- */

static bool is_wanted(struct forget_options *o, const struct known_backup *b, char **names,
                      size_t n)
{
    if (o->schedule)
        return streq(b->schedule, arena_printf(o->c.arena, "%s/%s", o->c.cx.ns, o->schedule));
    for (size_t i = 0; i < n; i++)
        if (streq(b->name, names[i]) && streq(b->ns, o->c.cx.ns))
            return true;
    return false;
}

static void print_rows(struct forget_options *o, const struct preview_row *rows, size_t rows_n,
                       char **names, size_t n)
{
    struct cli_table t = {.columns = 4};
    json_t *all CLEANUP_JSON = json_array();
    cli_table_row(&t, (const char *[]){"BACKUP", "AGE", "WOULD", "WHY"});
    for (size_t i = 0; i < rows_n; i++) {
        const struct known_backup *b = rows[i].backup;
        const struct guard_verdict *v = &rows[i].verdict;
        char time[CLOCK_RFC3339];
        if (!is_wanted(o, b, names, n))
            continue;
        clock_format(b->completed_ms, time);
        cli_table_row(&t, (const char *[]){b->name, cli_age(o->c.arena, time),
                                           v->forget ? "go" : "stay", v->why});
        json_array_append_new(all, json_pack("{s:s, s:s, s:b, s:s}", "backup", b->name, "snapshot",
                                             b->snapshot, "forget", v->forget, "why", v->why));
    }
    if (streq(o->output, "json")) {
        char *text CLEANUP(free_p) = json_dumps(all, JSON_INDENT(2));
        puts(text ? text : "[]");
    } else {
        cli_table_print(&t);
    }
    cli_table_free(&t);
}

static int show(struct forget_options *o, char **names, size_t n)
{
    struct known k CLEANUP(known_free) = {0};
    struct preview_row *rows;
    size_t rows_n;
    struct err err;
    if (known_read(&o->c.cx, o->c.arena, &k, &err) < 0 ||
        preview_judge(&o->c.cx, o->c.arena, &k, (const char *const *)names, n, &rows, &rows_n,
                      &err) < 0)
        return cli_fail("forget", &err);
    print_rows(o, rows, rows_n, names, n);
    return CLI_OK;
}

/* ---- asking ---- */

static int ask(struct forget_options *o, const char *name, const char *request, struct err *err)
{
    struct kube_object b;
    if (kube_get(o->c.cx.kube, o->c.arena, &KUBE_BACKUP, o->c.cx.ns, name, &b, err) < 0)
        return -1;
    const char *snapshot = raw_text(o->c.arena, b.raw, "status", "snapshot", NULL);
    if (!snapshot || !*snapshot)
        return err_set(err, ERR_REFUSED,
                       "Backup %s has stored nothing: kubectl delete backup -n %s %s takes it away",
                       name, o->c.cx.ns, name);
    json_t *j CLEANUP_JSON = json_pack("{s:{s:s, s:{s:s}}}", "metadata", "uid", b.uid,
                                       "annotations", "gleaner.dev/request", request);
    struct buf body CLEANUP(buf_free) = {0};
    struct kube_write opts = {.manager = "gleaner-cli"};
    json_print(&body, j);
    return kube_patch(o->c.cx.kube, o->c.arena, &KUBE_BACKUP, o->c.cx.ns, name, KUBE_PATCH_MERGE,
                      buf_view(&body), &opts, NULL, err);
}

/* 1: forgotten; 0: it stays, and *ret_why says why; 2: no answer in time. */
static int wait_for(struct forget_options *o, const char *name, const char *request,
                    const char **ret_why, struct err *err)
{
    int64_t end = clock_mono_ms() + (int64_t)o->seconds * 1000;
    *ret_why = "the controller has not answered";
    while (clock_mono_ms() < end) {
        struct status st CLEANUP(status_free) = {0};
        if (status_read(o->c.cx.kube, o->c.arena, &KUBE_BACKUP, o->c.cx.ns, name, &st, err) < 0)
            return err->kind == ERR_NOT_FOUND ? 1 : -1;
        /* Forgotten, and made anew for a copy elsewhere: no request stands on it. */
        const char *now = kube_annotation(o->c.arena, &st.object, "gleaner.dev/request");
        if (!streq(now, request))
            return 1;
        const char *said = status_message(&st, "Forgotten");
        if (*said)
            *ret_why = arena_strdup(o->c.arena, said);
        if (streq(status_text(&st, "lastHandledRequest"), request))
            return 0;
        struct timespec pause = {0, LOOK_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
    return 2;
}

static int forget_one(struct forget_options *o, const char *name)
{
    struct err err;
    char token[9];
    const char *why;
    random_token(token, 4);
    const char *request = arena_printf(o->c.arena, FORGET_REQUEST ":%s", token);
    if (ask(o, name, request, &err) < 0)
        return cli_fail("forget", &err);
    int r = wait_for(o, name, request, &why, &err);
    if (r < 0)
        return cli_fail("forget", &err);
    if (r == 1) {
        printf("Backup %s/%s is forgotten\n", o->c.cx.ns, name);
        return CLI_OK;
    }
    fprintf(stderr, "%s forget: Backup %s/%s: %s\n", cli_program, o->c.cx.ns, name, why);
    return r == 2 ? CLI_TIMEOUT : CLI_FAILED;
}

static int run(int argc, char **argv, struct forget_options *o)
{
    const struct cli_option options[] = {
        {"dry-run", 0, NULL, "show what would go and why the rest stays; nothing is asked for",
         &o->dry_run},
        {"schedule", 0, "NAME", "with --dry-run: all Backups of a Schedule, by its retention",
         &o->schedule},
        {"timeout", 't', "SECONDS", "wait so long for the answer (default: 300)", &o->timeout},
        {"output", 'o', "FORMAT", "of --dry-run: table or json", &o->output},
        CLI_CLUSTER_OPTIONS(&o->c),
    };
    const struct cli_usage usage = {
        "forget", "BACKUP... | --schedule NAME --dry-run",
        "Forgets Backups: their snapshots are taken out of the store, under the same rules as by\n"
        "retention. The newest complete one of a target, one that a Restore names, a safety "
        "backup\n"
        "before its time and one younger than the store's minRetention stay, and it is said why.\n"
        "The space comes back with the next prune.",
        options, ARRAY_LEN(options)};
    int first, code;
    uint64_t seconds = PATIENCE_S;
    struct err err;
    if (!cli_options(argc, argv, &usage, &first, &code))
        return code;
    if (o->timeout && (!str_u64(str_of(o->timeout), &seconds) || seconds > INT32_MAX))
        return cli_usage_error(&usage, "--timeout %s: not a number of seconds", o->timeout);
    if (o->output && !streq(o->output, "json") && !streq(o->output, "table"))
        return cli_usage_error(&usage, "-o %s: table or json", o->output);
    if (o->schedule && (!o->dry_run || first < argc))
        return cli_usage_error(&usage, "--schedule goes with --dry-run and names no Backups: the "
                                       "controller forgets by itself");
    if (!o->schedule && first == argc)
        return cli_usage_error(&usage, "name one Backup or more");
    o->seconds = (unsigned)seconds;
    if (cli_connect(&o->c, &err) < 0)
        return cli_fail("forget", &err);
    if (o->dry_run)
        return show(o, argv + first, (size_t)(argc - first));
    code = CLI_OK;
    for (int i = first; i < argc; i++) {
        int one = forget_one(o, argv[i]);
        code = one ? one : code;
    }
    return code;
}

int cli_forget(int argc, char **argv)
{
    struct forget_options o = {0};
    int code = run(argc, argv, &o);
    cli_disconnect(&o.c);
    return code;
}
