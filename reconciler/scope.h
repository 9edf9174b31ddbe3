/* What a target is made of: its applications, their books, and every live object that belongs to it
 * or lies beside it. Reads only. */
#ifndef RECONCILER_SCOPE_H
#define RECONCILER_SCOPE_H

#include "core/map.h"
#include "core/vec.h"
#include "reconciler/judge.h"
#include "reconciler/proof.h"
#include "reconciler/reach.h"

/* How an application stands to the target. */
enum relation {
    MEMBER_CHAIN,  /* the target, or held by its books, at any depth */
    MEMBER_PARENT, /* its books hold the target */
    MEMBER_OTHER   /* another one with content in the same namespace */
};

struct member {
    enum relation relation;
    struct application app;
    const char *text; /* "HelmRelease shop/shop" */
    bool chart;       /* what it declares is rendered from a Helm chart */
    bool proven;      /* declared and sources are filled in */
    struct declaration declared;
    struct sources sources;
};

/* One line of somebody's books. Chain comes before parent, parent before other. */
struct booking {
    struct book_entry entry;
    struct member *by;
    struct member *contender; /* another application whose books have it too, or NULL */
};

/* A live object with what was found out about it. */
struct found {
    struct kube_object object;
    const struct kube_type *type;
    struct booking *booking; /* NULL */
    struct found *parent;    /* the owner that was found: the controller, or the first one */
    enum owner_state owner;
    const char *owner_text;
    bool core, foreign; /* foreign: belongs to another application alone */
    bool is_application, credential;
    bool issued;    /* see struct facts */
    bool contested; /* another application's books have it as well */
    /* Of a claim: a workload or pod of the chain, and one of another application, that mounts it */
    const struct found *mounted_by, *foreign_mount;
    int mark; /* for walks along owners */
};

struct text_list {
    const char **p;
    size_t n, room;
};

struct scope_set {
    struct context *cx;
    struct arena *a;
    struct prover *prover;
    struct kube_discovery *discovery;
    VEC(struct member *) members; /* [0] is the target */
    struct map *books;            /* key of an object -> struct booking */
    struct map *by_key, *by_uid;  /* -> struct found */
    VEC(struct found *) found;
    const char *ns; /* the content's */
    bool ns_exists, alone;
    struct text_list warnings, problems;
    /* What should be there and is not: problems, but for a safety backup, which is made because of
     * them. */
    struct text_list losses;
};

/* Everything about the target; `ret` lives until scope_free. Errors: as plan_make. */
int scope_collect(struct context *cx, struct arena *a, const char *kind, const char *ns,
                  const char *name, struct scope_set *ret, struct err *err) must_check;
void scope_set_free(struct scope_set *s); /* fit for CLEANUP */

/* ---- between the files of this module ---- */

/* The members and their books; decides ns and alone. */
int scope_read_members(struct scope_set *s, const char *kind, const char *ns, const char *name,
                       struct err *err) must_check;

/* Tells of what the chain's books name and the cluster does not hold. After the proofs. */
int scope_find_absent(struct scope_set *s, struct err *err) must_check;

/* True for a namespaced thing of the chain that is content, not an engine's object. */
bool scope_is_content(const struct booking *b);

/* Whose the objects are: owners, core, foreign. Pure. */
void scope_relate(struct scope_set *s);

const char *scope_key(struct arena *a, str group, const char *kind, const char *ns,
                      const char *name);
struct booking *scope_booking(struct scope_set *s, str group, const char *kind, const char *ns,
                              const char *name);
void scope_warn(struct text_list *list, struct arena *a, const char *fmt, ...) printf_like(3, 4);

#endif
