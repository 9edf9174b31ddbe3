#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"

enum { HELP = 'h' };

static void print_option(const struct cli_option *o)
{
    char left[64];
    snprintf(left, sizeof left, "%s%c%s--%s%s%s", o->letter ? "-" : " ",
             o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name, o->value ? " " : "",
             o->value ? o->value : "");
    printf("  %-28s %s\n", left, o->help);
}

static void print_help(const struct cli_usage *u)
{
    printf("usage: %s %s%s%s [options]\n\n%s\n\noptions:\n", cli_program, u->verb,
           *u->arguments ? " " : "", u->arguments, u->what);
    for (size_t i = 0; i < u->count; i++)
        if (u->options[i].help)
            print_option(&u->options[i]);
    print_option(&(struct cli_option){"help", HELP, NULL, "this text", NULL});
}

int cli_usage_error(const struct cli_usage *u, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "%s %s: ", cli_program, u->verb);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "; '%s %s --help' lists what there is\n", cli_program, u->verb);
    va_end(args);
    return CLI_USAGE;
}

static const struct cli_option *find_name(const struct cli_usage *u, str name)
{
    for (size_t i = 0; i < u->count; i++)
        if (str_is(name, u->options[i].name))
            return &u->options[i];
    return NULL;
}

static const struct cli_option *find_letter(const struct cli_usage *u, char letter)
{
    for (size_t i = 0; i < u->count; i++)
        if (u->options[i].letter == letter)
            return &u->options[i];
    return NULL;
}

/* What lies in the arguments, and how far they are read. */
struct reading {
    const struct cli_usage *usage;
    char **argv;
    int argc, at;
    int exit; /* when a function gave false */
};

static bool fail(struct reading *r, const char *what, const char *why)
{
    r->exit = cli_usage_error(r->usage, "%s: %s", what, why);
    return false;
}

static bool help(struct reading *r)
{
    print_help(r->usage);
    r->exit = CLI_OK;
    return false;
}

static void store(const struct cli_option *o, const char *value)
{
    if (str_ends(str_of(o->value), "..."))
        *vec_add((struct cli_list *)o->at) = value;
    else
        *(const char **)o->at = value;
}

/* The value in the word that follows. */
static bool store_next(struct reading *r, const struct cli_option *o, const char *called)
{
    if (r->at == r->argc)
        return fail(r, called, "a value is missing");
    store(o, r->argv[r->at++]);
    return true;
}

/* "--json=true"; what is accepted but means nothing, as "--verbose=2", may have any value. */
static bool set_switch(struct reading *r, const struct cli_option *o, const char *called,
                       const char *value)
{
    bool on = !value || !o->help || streq(value, "true");
    if (!on && !streq(value, "false"))
        return fail(r, called, "it is true or false");
    *(bool *)o->at = on;
    return true;
}

/* "--name", "--name=value" or "--name value". A name that is cut short is none: what an option of
 * tomorrow makes ambiguous, or what removes more than was meant, must not be guessed. */
static bool read_long(struct reading *r, char *word)
{
    str value = str_of(word + 2), name = str_cut(&value, '=');
    const struct cli_option *o = find_name(r->usage, name);
    if (str_is(name, "help"))
        return help(r);
    if (!o)
        return fail(r, word, "no such option");
    if (!o->value)
        return set_switch(r, o, word, value.p);
    if (!value.p)
        return store_next(r, o, word);
    store(o, value.p);
    return true;
}

/* "-a", "-abc", "-n5", "-n=5" or "-n 5". */
static bool read_letters(struct reading *r, const char *word)
{
    for (const char *at = word + 1; *at; at++) {
        const char called[] = {'-', *at, '\0'};
        const struct cli_option *o = find_letter(r->usage, *at);
        if (*at == HELP && !o)
            return help(r);
        if (!o)
            return fail(r, called, "no such option");
        if (o->value && !at[1])
            return store_next(r, o, called);
        if (o->value) {
            store(o, at + 1 + (at[1] == '='));
            return true;
        }
        *(bool *)o->at = true;
    }
    return true;
}

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1];
}

static bool read_option(struct reading *r)
{
    char *word = r->argv[r->at++];
    return word[1] == '-' ? read_long(r, word) : read_letters(r, word);
}

bool cli_options(int argc, char **argv, const struct cli_usage *u, int *ret_first, int *ret_exit)
{
    struct reading r = {.usage = u, .argv = argv, .argc = argc, .at = 1};
    char **arguments CLEANUP(free_p) = xmalloc(((size_t)argc + 1) * sizeof *arguments);
    int n = 0;
    bool rest = false; /* all that follows "--" are arguments */
    while (r.at < argc) {
        if (rest || !is_option(argv[r.at])) {
            arguments[n++] = argv[r.at++];
        } else if (streq(argv[r.at], "--")) {
            rest = true;
            r.at++;
        } else if (!read_option(&r)) {
            *ret_exit = r.exit;
            return false;
        }
    }
    *ret_first = argc - n;
    memcpy(argv + *ret_first, arguments, (size_t)n * sizeof *arguments);
    return true;
}

bool cli_options_before(int argc, char **argv, const struct cli_usage *u, int *ret_first,
                        int *ret_exit)
{
    struct reading r = {.usage = u, .argv = argv, .argc = argc, .at = 1};
    while (r.at < argc && is_option(argv[r.at]))
        if (!read_option(&r)) {
            *ret_exit = r.exit;
            return false;
        }
    *ret_first = r.at;
    return true;
}

int cli_help(int (*verb)(int argc, char **argv), const char *name)
{
    char called[32], help[] = "--help";
    snprintf(called, sizeof called, "%s", name);
    return verb(2, (char *[]){called, help, NULL});
}
