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

/* Sweeps once, then reconciles the Restore until it has ended or is Held, or stands in the phase
 * `until` (may be NULL). Exit code: 0. */
int driver_run(const char *kubeconfig, const char *root, const char *until);

/* So many reconciles, unless it ends before. */
int driver_turns(const char *kubeconfig, const char *root, int turns);

struct scenario {
    enum target target;
    const char *backup_ends; /* how the safety backup ends */
    const char *phase;       /* and the Restore */
    json_t *base, *end;
    char root[64];
    unsigned calls;
};

void scenario_open(struct scenario *s);
void scenario_close(struct scenario *s);

/* A fake server with the fixture; `more` reactors (may be NULL, borrowed). fake_stop at the end. */
struct fake_child *scenario_start(struct scenario *s, json_t *more);

/* Runs it to its end, then again and again, killed at each call that changes something, and
 * compares the ends; `end` is what it ends with. `base` (may be NULL: the fixture) is what it
 * begins with. */
void scenario_kill_everywhere(struct scenario *s);

void scenario_reactors(const struct fake_child *fake, const struct scenario *s, json_t *more);

/* {"Kind/ns/name": object}, without what two runs cannot share. A new reference. */
json_t *scenario_state(const struct fake_child *fake);

void assert_clean_hands(json_t *end);
void assert_restored(json_t *end);

/* The tests of restore_people.c. */
int people_tests(void);

/* The tests of restore_adopt.c. */
int adopt_tests(void);

/* The tests of restore_objects.c. */
int objects_tests(void);

/* The tests of restore_writers.c. */
int writers_tests(void);

#endif
