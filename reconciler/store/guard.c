#include "reconciler/store/guard.h"

#include "core/clock.h"
#include "core/map.h"

#include <stdlib.h>

#define DAY_MS ((int64_t)24 * 60 * 60 * 1000)

/* One snapshot while it is judged. */
struct row {
    struct recorded r;
    bool ours, complete;
    bool future; /* its time has not come: a clock was wrong when it was made, or is now */
    bool kept_by_policy, judged_by_policy;
    const char *policy_word;
    const char *last_volumes; /* the claims whose volumes no later one has, in words, or NULL */
    int64_t lived_ms;         /* how long the oldest of these had been there */
};

struct judging {
    const struct guard_input *in;
    struct arena *a;
    struct row *rows;
};

static const struct guard_backup *backup_of(const struct guard_input *in, const struct recorded *r)
{
    for (size_t i = 0; i < in->backups_n; i++) {
        const struct guard_backup *b = &in->backups[i];
        if (streq(b->uid, r->uid) || (b->snapshot && streq(b->snapshot, r->snapshot)))
            return b;
    }
    return NULL;
}

static bool same_target(const struct recorded *x, const struct recorded *y)
{
    return streq(x->kind, y->kind) && streq(x->target_ns, y->target_ns) &&
           streq(x->target, y->target);
}

static void read_rows(struct judging *j)
{
    for (size_t i = 0; i < j->in->snapshots_n; i++) {
        struct row *row = &j->rows[i];
        row->ours = recorded_read(j->a, &j->in->snapshots[i], &row->r);
        if (!row->ours)
            continue;
        row->future = row->r.time_ms > j->in->now_ms;
        row->r.time_ms = MIN(row->r.time_ms, j->in->now_ms);
        const struct guard_backup *b = backup_of(j->in, &row->r);
        row->complete = row->r.completed && !row->r.safety && (!b || b->completed);
    }
}

/* ---- what protects ---- */

/* `restic tag` gives a snapshot another id, and the Backup with it. */
static bool had_id(const struct judging *j, const struct row *row, const char *id)
{
    const struct snapshot *s = &j->in->snapshots[row - j->rows];
    char original[STORE_ID_HEX];
    store_id_hex(&s->original, original);
    return streq(id, row->r.snapshot) || (s->has_original && streq(id, original));
}

static bool names(const struct judging *j, const struct guard_restore *r, const struct row *row)
{
    if (r->snapshot && had_id(j, row, r->snapshot))
        return true;
    for (size_t i = 0; r->backup && i < j->in->backups_n; i++) {
        const struct guard_backup *b = &j->in->backups[i];
        if (streq(b->name, r->backup))
            return streq(b->uid, row->r.uid) ||
                   (b->snapshot && streq(b->snapshot, row->r.snapshot));
    }
    return r->backup && streq(r->backup, arena_printf(j->a, "%s/%s", row->r.ns, row->r.name));
}

static const char *named_by(const struct judging *j, const struct row *row)
{
    for (size_t i = 0; i < j->in->restores_n; i++)
        if (names(j, &j->in->restores[i], row))
            return arena_printf(j->a, "Restore %s names it; it stays until that is deleted",
                                j->in->restores[i].name);
    return NULL;
}

static const char *safety_stays(const struct judging *j, const struct row *row)
{
    int64_t from = row->r.time_ms;
    for (size_t i = 0; i < j->in->restores_n; i++) {
        const struct guard_restore *r = &j->in->restores[i];
        if (!streq(r->uid, row->r.safety))
            continue;
        if (!r->ended)
            return arena_printf(j->a, "it is the safety backup of Restore %s, which has not ended",
                                r->name);
        from = r->ended_ms ? MIN(MAX(r->ended_ms, from), j->in->now_ms) : j->in->now_ms;
    }
    if (j->in->now_ms - from < GUARD_SAFETY_DAYS * DAY_MS)
        return arena_printf(j->a, "it is a safety backup, kept for %d days after its Restore",
                            GUARD_SAFETY_DAYS);
    return NULL;
}

/* Of two Completed ones of a target. One of the future is older than all others: nobody knows when
 * it was made. The last in the list, where times are equal. */
static bool is_newer(const struct row *x, const struct row *y)
{
    if (x->future != y->future)
        return y->future;
    return x->r.time_ms != y->r.time_ms ? x->r.time_ms > y->r.time_ms : x > y;
}

static bool is_newest(const struct judging *j, const struct row *row)
{
    if (!row->complete)
        return false;
    for (size_t i = 0; i < j->in->snapshots_n; i++) {
        const struct row *other = &j->rows[i];
        if (other->ours && other->complete && other != row && same_target(&other->r, &row->r) &&
            is_newer(other, row))
            return false;
    }
    return true;
}

static bool is_asked(const struct judging *j, const struct snapshot *s)
{
    for (size_t i = 0; i < j->in->asked_n; i++)
        if (store_id_equal(&j->in->asked[i], &s->id))
            return true;
    return false;
}

/* ---- volumes of which it is the last one ---- */

/* How much a snapshot has of a claim's volume: one stands for another that has no more. */
enum worth { PART = 1, WHOLE, IN_COMPLETE };

static enum worth worth_of(const struct row *row, const struct snapshot_claim *claim)
{
    return row->complete ? IN_COMPLETE : claim->whole ? WHOLE : PART;
}

static int newest_first(const void *x, const void *y)
{
    struct row *const *a = x, *const *b = y;
    return is_newer(*a, *b) ? -1 : is_newer(*b, *a);
}

/* Of all snapshots that may stand for another, and may have to stay: safety backups and what is
 * asked for go. */
static size_t sort_rows(const struct judging *j, struct row **ret)
{
    size_t n = 0;
    for (size_t i = 0; i < j->in->snapshots_n; i++) {
        struct row *row = &j->rows[i];
        if (row->ours && !row->r.safety && !is_asked(j, &j->in->snapshots[i]))
            ret[n++] = row;
    }
    if (n)
        qsort(ret, n, sizeof *ret, newest_first);
    return n;
}

enum { NAMED_MAX = 3 };

static void add_name(struct arena *a, struct row *row, const char *claim, size_t before)
{
    if (before < NAMED_MAX)
        row->last_volumes =
            arena_printf(a, "%s%s%s", before ? row->last_volumes : "", before ? ", " : "", claim);
    if (before == NAMED_MAX)
        row->last_volumes = arena_printf(a, "%s and others", row->last_volumes);
}

/* `best` has, by target and claim, the worth of the best copy in a newer one. */
static void find_last(struct judging *j, struct map *best, struct row *row)
{
    static enum worth worths[] = {0, PART, WHOLE, IN_COMPLETE};
    size_t found = 0;
    for (size_t i = 0; i < row->r.claims_n; i++) {
        const struct snapshot_claim *c = &row->r.claims[i];
        str key = str_of(arena_printf(j->a, "%s %s", recorded_target(j->a, &row->r), c->id));
        const enum worth *has = map_get(best, key);
        enum worth is = worth_of(row, c);
        if (has && *has >= is)
            continue;
        map_put(best, key, &worths[is]);
        add_name(j->a, row, c->id, found++);
        row->lived_ms = MAX(row->lived_ms, row->r.time_ms - c->since_ms);
    }
}

/* Claims that come and go every day are no accident. They do not count against one that was there
 * for long. */
static bool is_one_of_many(const struct row *row, struct row *const *newer, size_t n)
{
    size_t alike = 0;
    for (size_t i = 0; i < n; i++)
        alike += newer[i]->last_volumes && same_target(&newer[i]->r, &row->r) &&
                 (newer[i]->complete || !row->complete) && 2 * newer[i]->lived_ms >= row->lived_ms;
    return alike >= GUARD_LAST_VOLUMES;
}

static void find_last_volumes(struct judging *j)
{
    struct row **rows = arena_alloc(j->a, j->in->snapshots_n * sizeof(struct row *));
    struct map *best CLEANUP(map_free_p) = map_new(NULL);
    size_t n = sort_rows(j, rows);
    for (size_t i = 0; i < n; i++) {
        find_last(j, best, rows[i]);
        if (rows[i]->last_volumes && is_one_of_many(rows[i], rows, i))
            rows[i]->last_volumes = NULL;
    }
}

/* ---- policies ---- */

static bool has_target(const struct guard_schedule *s, const struct recorded *r)
{
    return streq(s->kind, r->kind) && streq(s->target_ns, r->target_ns) &&
           streq(s->target, r->target);
}

static bool is_of(const struct guard_schedule *s, const struct row *row)
{
    return row->ours && streq(row->r.schedule, s->name) && has_target(s, &row->r);
}

struct member {
    struct snapshot snapshot;
    struct row *row;
};

static int by_time(const void *x, const void *y)
{
    const struct member *a = x, *b = y;
    if (a->row->r.time_ms != b->row->r.time_ms)
        return a->row->r.time_ms < b->row->r.time_ms ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

static void apply_policy(struct judging *j, const struct guard_schedule *s)
{
    size_t n = 0;
    struct member *members = arena_alloc(j->a, (j->in->snapshots_n + 1) * sizeof *members);
    for (size_t i = 0; i < j->in->snapshots_n; i++)
        if (is_of(s, &j->rows[i]) && j->rows[i].complete && !j->rows[i].future)
            members[n++] = (struct member){j->in->snapshots[i], &j->rows[i]};
    if (n)
        qsort(members, n, sizeof *members, by_time);
    struct snapshot *list = arena_alloc(j->a, (n + 1) * sizeof *list);
    struct retention_verdict *verdicts = arena_alloc(j->a, (n + 1) * sizeof *verdicts);
    for (size_t i = 0; i < n; i++) {
        list[i] = members[i].snapshot;
        list[i].time = (struct timespec){members[i].row->r.time_ms / 1000,
                                         members[i].row->r.time_ms % 1000 * 1000000};
    }
    /* All of them are of the past: the newest counts. */
    retention_apply(&s->policy, list, n, (struct timespec){INT64_MAX, 0}, j->a, verdicts);
    for (size_t i = 0; i < n; i++) {
        members[i].row->judged_by_policy = true;
        members[i].row->kept_by_policy = verdicts[i].keep;
        members[i].row->policy_word = verdicts[i].reason;
    }
}

/* That a Completed one which the policy keeps is older than all that this could be of use for:
 * whoever has that one misses nothing of an incomplete one before it. */
static bool is_superseded(const struct judging *j, const struct guard_schedule *s,
                          const struct row *row)
{
    bool kept = false;
    for (size_t i = 0; i < j->in->snapshots_n; i++) {
        const struct row *other = &j->rows[i];
        if (!is_of(s, other) || !other->judged_by_policy || !other->kept_by_policy)
            continue;
        if (other->r.time_ms <= row->r.time_ms)
            return false;
        kept = true;
    }
    return kept;
}

static struct guard_verdict by_policy(const struct judging *j, const struct row *row)
{
    struct guard_verdict stays = {.why = "no ttl and no retention applies to it"};
    for (size_t i = 0; i < j->in->schedules_n; i++) {
        const struct guard_schedule *s = &j->in->schedules[i];
        bool of = row->r.safety ? has_target(s, &row->r) : is_of(s, row);
        if (!of || retention_policy_is_empty(&s->policy))
            continue;
        if (row->judged_by_policy && row->kept_by_policy)
            return (struct guard_verdict){
                .why = arena_printf(j->a, "retention of Schedule %s: %s", s->name,
                                    row->policy_word ? row->policy_word : "")};
        if (row->judged_by_policy)
            return (struct guard_verdict){
                true, false,
                arena_printf(j->a, "retention of Schedule %s does not keep it", s->name)};
        if (is_superseded(j, s, row))
            return (struct guard_verdict){
                true, false,
                arena_printf(j->a,
                             "it is %s and older than all that retention of Schedule %s keeps",
                             row->r.safety ? "a safety backup" : "not complete", s->name)};
        stays.why = arena_printf(j->a,
                                 "it is %s; it goes when it is older than all that retention of "
                                 "Schedule %s keeps",
                                 row->r.safety ? "a safety backup" : "not complete", s->name);
    }
    return stays;
}

/* ---- the chain ---- */

static struct guard_verdict stay(const char *why)
{
    return (struct guard_verdict){.why = why};
}

static struct guard_verdict judge(const struct judging *j, size_t i)
{
    const struct row *row = &j->rows[i];
    const struct guard_input *in = j->in;
    const char *why;
    if (in->unreadable)
        return stay(arena_printf(j->a,
                                 "%zu snapshot files of the repository cannot be read; until they "
                                 "can, nothing of it is forgotten",
                                 in->unreadable));
    if (!row->ours)
        return stay("gleaner has no record of it");
    if ((why = named_by(j, row)) || (row->r.safety && (why = safety_stays(j, row))))
        return stay(why);
    if (in->now_ms - row->r.time_ms < in->min_retention_ms)
        return stay("it is younger than minRetention of its BackupStore");
    if (is_newest(j, row))
        return (struct guard_verdict){.newest = true,
                                      .why =
                                          arena_printf(j->a, "it is the newest complete one of %s",
                                                       recorded_target(j->a, &row->r))};
    if (is_asked(j, &in->snapshots[i]))
        return (struct guard_verdict){true, false, "it was asked for"};
    if (row->last_volumes)
        return stay(arena_printf(j->a,
                                 "it is the last %sone with the volume of %s: where nobody needs "
                                 "that, ask to forget it",
                                 row->complete ? "complete " : "", row->last_volumes));
    if (row->r.ttl_ms && in->now_ms - row->r.time_ms >= row->r.ttl_ms)
        return (struct guard_verdict){
            true, false, arena_printf(j->a, "its time to live, %s, is over", row->r.ttl)};
    if (row->future)
        return stay("its time is in the future, and it stays until that has come");
    return by_policy(j, row);
}

void guard_judge(const struct guard_input *in, struct arena *a, struct guard_verdict *ret)
{
    struct judging j = {
        .in = in, .a = a, .rows = arena_alloc(a, (in->snapshots_n + 1) * sizeof(struct row))};
    read_rows(&j);
    find_last_volumes(&j);
    for (size_t i = 0; i < in->schedules_n; i++)
        if (!retention_policy_is_empty(&in->schedules[i].policy))
            apply_policy(&j, &in->schedules[i]);
    for (size_t i = 0; i < in->snapshots_n; i++)
        ret[i] = judge(&j, i);
}
