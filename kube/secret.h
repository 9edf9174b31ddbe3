/* Values out of a Secret. */
#ifndef KUBE_SECRET_H
#define KUBE_SECRET_H

#include "kube/object.h"

/* The decoded value of a key, in the arena, terminated; it may be empty and may hold any byte.
 * ERR_NOT_FOUND: the Secret has no such key; ERR_INVALID: what is there is no base64. The message
 * names Secret and key and nothing of the value. */
int kube_secret_value(struct arena *a, const struct kube_object *secret, const char *key, str *ret,
                      struct err *err) must_check;

/* As kube_secret_value, as a text; NULL: there is no such key, or it is no base64. */
const char *kube_secret_text(struct arena *a, const struct kube_object *secret, const char *key);

#endif
