/* Restores against the fake API server, killed at every call. */
#ifndef RESTORE_TORTURE_H
#define RESTORE_TORTURE_H

#include "core/json.h"
#include "fake_child.h"

enum target { TARGET_KUSTOMIZATION, TARGET_APPLICATION };

#define GLEANER_NS "gleaner-system"
#define RESTORE_UID "0f0f0f0f-0000-4000-8000-000000000001"

/* A store with one snapshot in `root`, and the cluster after an accident as a list of objects, with
 * a Backup of that snapshot and a Restore of it. The same for each run of a target. */
json_t *fixture_make(struct fake_child *fake, enum target t, const char *root);

/* Reconciles the Restore until it has ended or is Held. Exit code: 0. */
int driver_main(const char *kubeconfig, const char *root);

#endif
