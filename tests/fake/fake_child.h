/* The fake API server as a child of a test. A failure to start or to understand ends the test. */
#ifndef FAKE_CHILD_H
#define FAKE_CHILD_H

#include <jansson.h>

#include "kube/client.h"

struct fake_child;

/* args: more arguments, ended by NULL; may be NULL. The child ends with the test, however it ends.
 */
struct fake_child *fake_start(const char *const *args);
void fake_stop(struct fake_child *f);

const char *fake_url(const struct fake_child *f);
const char *fake_kubeconfig(const struct fake_child *f); /* a file, removed by fake_stop */
struct kube *fake_client(const struct fake_child *f);    /* a client of its own; kube_free */

/* POST /fake/<what> and GET /fake/<what> (README.md); a new reference. */
void fake_post(const struct fake_child *f, const char *what, const char *json);
json_t *fake_get(const struct fake_child *f, const char *what);
void fake_clear_faults(const struct fake_child *f);

#endif
