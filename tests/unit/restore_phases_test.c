/* The table of phases, held to what the design says of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reconciler/restore/restore.h"

static bool is_end(enum restore_phase p)
{
    return restore_phases[p].flags & PHASE_ENDS;
}

static void every_row_is_filled(void **state)
{
    (void)state;
    for (int p = 0; p < PHASE_MAX; p++) {
        const struct phase *ph = &restore_phases[p];
        assert_non_null(ph->name);
        assert_non_null(ph->reason);
        assert_non_null(ph->doing);
        assert_true(ph->next < PHASE_MAX);
        assert_true(ph->on_fail < PHASE_MAX);
        bool stands = is_end((enum restore_phase)p) || p == PHASE_HELD;
        assert_true(stands || ph->run != NULL);
        assert_true(stands || ph->timeout_s > 0);
        assert_int_equal(restore_phase_parse(ph->name), p);
    }
    assert_int_equal(restore_phase_parse("Nonsense"), PHASE_MAX);
}

static void the_course_is_the_published_one(void **state)
{
    (void)state;
    static const char *const course[] = {
        "Validate",     "Plan",   "Lock",        "Hold",    "Quiet",   "Stop",
        "SafetyBackup", "Clear",  "Definitions", "Volumes", "Objects", "Recreate",
        "Preflight",    "Resume", "Settle",      "Residue", "Verify",  "Done"};
    enum restore_phase p = PHASE_VALIDATE;
    for (size_t i = 0; i < ARRAY_LEN(course); i++) {
        assert_string_equal(restore_phases[p].name, course[i]);
        p = restore_phases[p].next;
    }
    assert_int_equal(p, PHASE_DONE);
}

static void every_phase_is_reachable(void **state)
{
    (void)state;
    bool seen[PHASE_MAX] = {[PHASE_VALIDATE] = true, [PHASE_CANCELLED] = true /* by a request */};
    for (int round = 0; round < PHASE_MAX; round++)
        for (int p = 0; p < PHASE_MAX; p++)
            if (seen[p])
                seen[restore_phases[p].next] = seen[restore_phases[p].on_fail] = true;
    for (int p = 0; p < PHASE_MAX; p++)
        assert_true(seen[p]);
}

/* Follows failures: from Clear on, no chain of them may reach a phase that gives an engine back. */
static void after_clear_no_failure_gives_back(void **state)
{
    (void)state;
    for (int p = PHASE_CLEAR; p <= PHASE_VERIFY; p++) {
        enum restore_phase at = restore_phases[p].on_fail;
        for (int i = 0; i < PHASE_MAX; i++) {
            assert_false(restore_phases[at].flags & PHASE_GIVES_BACK);
            assert_int_equal(at, PHASE_HELD);
            at = restore_phases[at].on_fail;
        }
        assert_null(restore_phases[p].undo); /* nobody undoes what comes after */
    }
    assert_null(restore_phases[PHASE_HELD].run);
}

static void before_clear_failures_go_back(void **state)
{
    (void)state;
    for (int p = PHASE_VALIDATE; p < PHASE_CLEAR; p++)
        assert_int_equal(restore_phases[p].on_fail, PHASE_FAILED);
    assert_non_null(restore_phases[PHASE_HOLD].undo);
    assert_non_null(restore_phases[PHASE_STOP].undo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_filled),
        cmocka_unit_test(the_course_is_the_published_one),
        cmocka_unit_test(every_phase_is_reachable),
        cmocka_unit_test(after_clear_no_failure_gives_back),
        cmocka_unit_test(before_clear_failures_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
