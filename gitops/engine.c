#include "gitops/engine.h"

const struct engine *const engines[] = {&engine_flux, &engine_argocd, NULL};

int engine_of_kind(const char *kind, const struct engine **ret, const struct kube_type **ret_type,
                   struct err *err)
{
    struct buf known CLEANUP(buf_free) = {0};
    for (const struct engine *const *e = engines; *e; e++)
        for (const struct kube_type *const *t = (*e)->types; *t; t++) {
            if (streq((*t)->kind, kind)) {
                *ret = *e;
                *ret_type = *t;
                return 0;
            }
            buf_printf(&known, "%s%s", known.n ? ", " : "", (*t)->kind);
        }
    return err_set(err, ERR_INVALID,
                   "no GitOps engine has applications of kind '%.100s'; known: %s", kind, known.p);
}
