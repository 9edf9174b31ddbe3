/* What this process keeps of the repositories that it has opened, in memory alone: their keys, so
 * that a password is asked for once and not at each look (scrypt takes 0.1 s and 32 MiB).
 *
 * By repository; good for the passwords that it was opened with only. Another password (a Secret
 * that was changed) finds nothing, and what it makes replaces (and wipes) what was kept. Whoever
 * uses it looks that the key file is still listed. Thread-safe. */
#ifndef RECONCILER_STORE_KEYRING_H
#define RECONCILER_STORE_KEYRING_H

#include "reconciler/store/open.h"

/* The caller's own, or NULL. */
struct repository_memory *keyring_find(const struct opened *o, const char *password);
void keyring_note(const struct opened *o, const char *password);

/* The key file that o->mover_password opens. */
bool keyring_find_mover(const struct opened *o, struct store_id *ret);
void keyring_note_mover(const struct opened *o, const struct store_id *id);

/* Wipes all: at the end of the process. */
void keyring_wipe(void);

#endif
