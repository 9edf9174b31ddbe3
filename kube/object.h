/* Cluster objects as raw bytes with their identity cut out, and the types they are of. */
#ifndef KUBE_OBJECT_H
#define KUBE_OBJECT_H

#include "core/arena.h"
#include "core/err.h"
#include "core/jsonscan.h"

/* A resource type at one served version. Static for the types that code names (kube/types.h), or
 * owned by a discovery result. */
struct kube_type {
    const char *group; /* "" for the core group */
    const char *version;
    const char *resource; /* plural, lower case: "statefulsets" */
    const char *kind;
    bool namespaced;
    unsigned verbs; /* KUBE_VERB_... bits; 0 for static types */
};

enum {
    KUBE_VERB_GET = 1,
    KUBE_VERB_LIST = 2,
    KUBE_VERB_WATCH = 4,
    KUBE_VERB_CREATE = 8,
    KUBE_VERB_PATCH = 16,
    KUBE_VERB_DELETE = 32
};

/* An object as the API server sent it. Everything in it belongs to the arena that it was read into.
 * `raw` is terminated; nothing in it was changed, but that apiVersion and kind are spliced in as
 * the first members where an item of a list lacks them. Strings that are absent are "". */
struct kube_object {
    str raw;
    const char *api_version, *kind, *ns, *name, *uid, *resource_version;
};

/* Cuts the identity out of the text of an object. The text is borrowed: it must live as long as the
 * arena. ERR_CORRUPT if it is not an object with kind and metadata.name. */
int kube_object_read(struct arena *a, str raw, struct kube_object *ret, struct err *err) must_check;

/* A deep copy into another arena. */
struct kube_object kube_object_copy(struct arena *a, const struct kube_object *o);

/* "group/version", or "version" for the core group, in the arena. */
const char *kube_api_version(struct arena *a, const struct kube_type *t);

/* True if the object's apiVersion and kind say that it is of this type's group and kind. */
bool kube_object_is(const struct kube_object *o, const char *group, const char *kind);

/* The group part of an apiVersion: "apps/v1" -> "apps", "v1" -> "". A slice of the argument. */
str kube_group_of(const char *api_version);

/* The value of metadata.annotations[key] / metadata.labels[key] in the arena, or NULL. */
const char *kube_annotation(struct arena *a, const struct kube_object *o, const char *key);
const char *kube_label(struct arena *a, const struct kube_object *o, const char *key);

/* The condition of that type among status.conditions of an object's text, raw; absent if there is
 * none. */
str kube_condition(str object, const char *type);
bool kube_condition_is(str object, const char *type, const char *status); /* "True" ... */

/* A Job has finished when it says Complete or Failed. Source: batch/v1 JobStatus.conditions. */
bool kube_job_is_finished(const struct kube_object *job);

/* metadata.ownerReferences, one by one; see raw_iter. */
struct kube_owner {
    const char *api_version, *kind, *name, *uid;
    bool controller;
};
bool kube_owner_next(struct arena *a, struct raw_iter *it, struct kube_owner *ret);
struct raw_iter kube_owners(const struct kube_object *o);

#endif
