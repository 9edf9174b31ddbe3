/* Kubernetes Events (events.k8s.io/v1) on an object, so that people see in `kubectl describe` what
 * we did. The same (object, reason, note) within ten minutes counts up one series instead of making
 * another object; at most 25 at once for one object, then one each 5 minutes. Best effort: a
 * failing write is reported to the caller and nothing else happens. Thread-safe. */
#ifndef KUBE_EVENT_H
#define KUBE_EVENT_H

#include "kube/client.h"

struct kube_events;

struct kube_events *kube_events_new(struct kube *k, const char *component /* "gleaner" */,
                                    const char *instance /* pod name */);
void kube_events_free(struct kube_events *e);

/* reason: CamelCase; note: one sentence, cut at 1 kB; action: what we were doing ("Restore"). The
 * Event stands in the object's namespace ("default" for cluster-scoped ones). */
int kube_event_emit(struct kube_events *e, const struct kube_object *about, bool warning,
                    const char *reason, const char *action, const char *note, struct err *err)
    must_check;

#endif
