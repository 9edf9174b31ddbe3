#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>

#include "cli/cli.h"

enum { OPTIONS_MAX = 64, LONG_ONLY = 256, HELP = 'h' };

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

/* getopt's two tables. A long option without a letter gets LONG_ONLY + its index. */
static void fill_tables(const struct cli_usage *u, char *letters, struct option *longs)
{
    char *at = letters;
    *at++ = ':'; /* we say ourselves what is missing */
    for (size_t i = 0; i < u->count; i++) {
        const struct cli_option *o = &u->options[i];
        longs[i] = (struct option){.name = o->name,
                                   .has_arg = o->value ? required_argument : no_argument,
                                   .val = LONG_ONLY + (int)i};
        if (!o->letter)
            continue;
        *at++ = o->letter;
        if (o->value)
            *at++ = ':';
    }
    longs[u->count] = (struct option){.name = "help", .val = HELP};
    *at++ = HELP;
    *at = '\0';
}

static const struct cli_option *find_option(const struct cli_usage *u, int c)
{
    if (c >= LONG_ONLY)
        return &u->options[c - LONG_ONLY];
    for (size_t i = 0; i < u->count; i++)
        if (u->options[i].letter == c)
            return &u->options[i];
    return NULL;
}

bool cli_options(int argc, char **argv, const struct cli_usage *u, int *ret_first, int *ret_exit)
{
    char letters[2 * OPTIONS_MAX + 4];
    struct option longs[OPTIONS_MAX + 2] = {0};
    if (u->count > OPTIONS_MAX)
        __builtin_trap();
    fill_tables(u, letters, longs);
    optind = 1;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, letters, longs, NULL)) != -1;) {
        if (c == HELP) {
            print_help(u);
            *ret_exit = CLI_OK;
            return false;
        }
        if (c == '?' || c == ':') {
            *ret_exit = c == ':' ? cli_usage_error(u, "%s: a value is missing", argv[optind - 1])
                                 : cli_usage_error(u, "%s: no such option", argv[optind - 1]);
            return false;
        }
        const struct cli_option *o = find_option(u, c);
        if (!o)
            continue;
        if (o->value && str_ends(str_of(o->value), "..."))
            *vec_add((struct cli_list *)o->at) = optarg;
        else if (o->value)
            *(const char **)o->at = optarg;
        else
            *(bool *)o->at = true;
    }
    *ret_first = optind;
    return true;
}
