/* Ids of Flux inventories: <namespace>_<name>_<group>_<kind>; namespace and group may be empty;
 * names of RBAC kinds have ':' written as "__". Source: github.com/fluxcd/cli-utils
 * pkg/object/objmetadata.go. */
#ifndef GITOPS_INVENTORY_H
#define GITOPS_INVENTORY_H

#include "core/arena.h"

struct inventory_id {
    const char *ns, *name, *group, *kind;
};

/* False if it is not an id. The strings are in the arena. */
bool inventory_parse(struct arena *a, str id, struct inventory_id *ret);

#endif
