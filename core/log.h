/* One JSON object a line on stderr. Only the modes (controller, gateway, mover, worker) log;
 * library folders return errors. Never pass a secret: there is no redaction that could save it. */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "core/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* The least level that is written (default LOG_INFO), and the "mode" of every line. */
void log_setup(enum log_level least, const char *mode);

/* log_line(LOG_INFO, "backup completed", "backup", name, "snapshot", id, NULL): message, then pairs
 * of key and value (both char *, a NULL value is left out), ended by NULL. */
void log_line(enum log_level level, const char *msg, ...) __attribute__((sentinel));

/* The line for an error: kind and message of err. */
void log_err(const char *msg, const struct err *err, const char *key, const char *value);

#endif
