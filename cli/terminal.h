/* What a terminal is shown.
 *
 * The names in a backup, and messages with them, are what strangers wrote. On a terminal a control
 * character would be obeyed: it could hide lines, or type into the shell. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

/* From here on stdout and stderr, where they are terminals, show control characters as \x1b;
 * newlines and tabs are written as they are. What is written to a file or a pipe is never changed.
 */
void terminal_guard(void);

/* Takes away the line of stderr on which the cursor stands. For who knows that it is a terminal. */
void terminal_clear_line(void);

#endif
