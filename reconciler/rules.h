/* The catalogue: what is known of kinds and marks, as data (rules/kubernetes.yaml, compiled in).
 * Pure: it looks at one object's bytes and nothing else. */
#ifndef RECONCILER_RULES_H
#define RECONCILER_RULES_H

#include "reconciler/verdict.h"

struct catalogue;

/* One entry of the table. */
struct rule {
    const char *id, *reason;
    enum verdict_class class;
    enum verdict_keep keep;
    enum verdict_restore restore;
};

/* The built-in catalogue, parsed once and kept until the process ends. Never NULL: a table that
 * does not parse ends the process, and a unit test reads it. */
const struct catalogue *catalogue_builtin(void);

/* Parses a catalogue (the format is described at the top of rules/kubernetes.yaml). Everything in
 * the arena. ERR_INVALID names the rule and the key. */
int catalogue_parse(struct arena *a, str yaml, const struct catalogue **ret, struct err *err)
    must_check;

size_t catalogue_count(const struct catalogue *c);
const struct rule *catalogue_at(const struct catalogue *c, size_t i);

/* The first rule of the class that hits the object; NULL if none does. `a` is for scratch. */
const struct rule *catalogue_find(const struct catalogue *c, struct arena *a,
                                  enum verdict_class class, const struct kube_type *t,
                                  const struct kube_object *o);

/* True if the owner's controller makes such a child again exactly as it has to be. */
bool catalogue_regenerates(const struct catalogue *c, const char *owner_group,
                           const char *owner_kind, const char *child_group, const char *child_kind);

bool catalogue_noise_annotation(const struct catalogue *c, const char *key);
bool catalogue_platform_manager(const struct catalogue *c, const char *manager);

#endif
