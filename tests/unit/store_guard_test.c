/* What may be forgotten. Each rule has a case in which it alone keeps a snapshot: without the rule
 * the snapshot would go, and the same case without what the rule is about shows that it does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/clock.h"
#include "reconciler/schedule/policy.h"
#include "reconciler/snapshot_layout.h"
#include "reconciler/store/guard.h"

#include <stdlib.h>

#define HOUR ((int64_t)3600000)
#define DAY (24 * HOUR)
#define NOW (1000 * DAY)

struct bench {
    struct arena *a;
    struct snapshot s[32];
    size_t n, made;
    struct guard_restore restores[4];
    struct guard_backup backups[4];
    struct guard_schedule schedule;
    struct store_id asked[4];
    struct guard_input in;
    struct guard_verdict v[32];
};

/* `last` of Schedule "g/s" on HelmRelease shop/shop. */
static void up(struct bench *b, int last)
{
    *b = (struct bench){.a = arena_new()};
    b->schedule = (struct guard_schedule){.name = "g/s",
                                          .kind = "HelmRelease",
                                          .target_ns = "shop",
                                          .target = "shop",
                                          .policy = {.last = last}};
    b->in = (struct guard_input){.snapshots = b->s,
                                 .restores = b->restores,
                                 .backups = b->backups,
                                 .asked = b->asked,
                                 .schedules = &b->schedule,
                                 .schedules_n = 1,
                                 .now_ms = NOW};
}

/* A snapshot that is `age` old, with the tags of a Completed one of the Schedule; `more` is added,
 * a tag of the same key replaces, "key:" alone takes it away. */
static size_t add(struct bench *b, int64_t age, const char *more)
{
    size_t i = b->n++, made = b->made++;
    struct snapshot *s = &b->s[i];
    const char *keys[] = {"gleaner", "backup", "uid", "target", "phase", "schedule"};
    const char *tags[] = {"gleaner",
                          arena_printf(b->a, "backup:g/b%zu", made),
                          arena_printf(b->a, "uid:u%zu", made),
                          "target:HelmRelease/shop/shop",
                          "phase:Completed",
                          "schedule:g/s"};
    const char **all = arena_alloc(b->a, 16 * sizeof *all);
    *s = (struct snapshot){0};
    memset(s->id.b, (int)made + 1, sizeof s->id.b);
    s->time.tv_sec = (NOW - age) / 1000;
    for (size_t t = 0; t < ARRAY_LEN(tags); t++) {
        bool replaced =
            more && strncmp(more, keys[t], strlen(keys[t])) == 0 && more[strlen(keys[t])] == ':';
        if (!replaced)
            all[s->tags_n++] = tags[t];
    }
    if (more && more[strlen(more) - 1] != ':')
        all[s->tags_n++] = more;
    s->tags = all;
    b->in.snapshots_n = b->n;
    return i;
}

static const char *hex(struct bench *b, size_t i)
{
    char text[STORE_ID_HEX];
    store_id_hex(&b->s[i].id, text);
    return arena_strdup(b->a, text);
}

static void judge(struct bench *b)
{
    guard_judge(&b->in, b->a, b->v);
    for (size_t i = 0; i < b->n; i++)
        assert_true(b->v[i].why && *b->v[i].why);
}

#define STAYS(i, words)                                                                            \
    do {                                                                                           \
        judge(&b);                                                                                 \
        if (b.v[i].forget || !strstr(b.v[i].why, words))                                           \
            fail_msg("snapshot %d: %s, %s", (int)(i), b.v[i].forget ? "goes" : "stays",            \
                     b.v[i].why);                                                                  \
    } while (0)
#define GOES(i, words)                                                                             \
    do {                                                                                           \
        judge(&b);                                                                                 \
        if (!b.v[i].forget || !strstr(b.v[i].why, words))                                          \
            fail_msg("snapshot %d: %s, %s", (int)(i), b.v[i].forget ? "goes" : "stays",            \
                     b.v[i].why);                                                                  \
    } while (0)

static void down(struct bench *b)
{
    arena_free(b->a);
}

static void the_policy_decides(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 2);
    for (int i = 5; i >= 1; i--)
        add(&b, i * DAY, NULL);
    GOES(0, "retention of Schedule g/s");
    GOES(2, "retention");
    STAYS(3, "last snapshot");
    STAYS(4, "newest complete");
    b.schedule.policy.last = 0; /* empty: keeps all */
    STAYS(0, "no retention");
    down(&b);
}

static void an_unreadable_snapshot_keeps_all(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    add(&b, 2 * DAY, NULL);
    add(&b, DAY, NULL);
    GOES(0, "retention");
    b.in.unreadable = 1;
    STAYS(0, "cannot be read");
    down(&b);
}

static void what_gleaner_did_not_record_stays(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    static const char *const lacks[] = {"gleaner:", "backup:",       "uid:",        "target:",
                                        "phase:",   "phase:Running", "target:shop", "backup:b"};
    for (size_t i = 0; i < ARRAY_LEN(lacks); i++)
        add(&b, 10 * DAY, lacks[i]);
    size_t whole = add(&b, 9 * DAY, NULL);
    add(&b, DAY, NULL);
    for (size_t i = 0; i < ARRAY_LEN(lacks); i++) {
        b.asked[0] = b.s[i].id;
        b.in.asked_n = 1;
        STAYS(i, "no record");
    }
    GOES(whole, "retention");
    down(&b);
}

static void what_a_restore_names_stays(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    add(&b, 2 * DAY, NULL);
    add(&b, DAY, NULL);
    /* By snapshot, also when it has ended. */
    b.restores[0] =
        (struct guard_restore){.name = "g/r", .uid = "ru", .snapshot = hex(&b, 0), .ended = true};
    b.in.restores_n = 1;
    STAYS(0, "Restore g/r");
    /* By the Backup's name, before it has looked. */
    b.restores[0].snapshot = NULL;
    b.restores[0].backup = "g/b0";
    STAYS(0, "Restore g/r");
    /* By a Backup that was made anew under another name. */
    b.restores[0].backup = "g/other";
    b.backups[0] =
        (struct guard_backup){.name = "g/other", .uid = "u0", .snapshot = hex(&b, 0), true};
    b.in.backups_n = 1;
    STAYS(0, "Restore g/r");
    /* By an id that it had before its tags were changed, which writes it anew. */
    struct store_id before = {.b = {99}};
    char text[STORE_ID_HEX];
    store_id_hex(&before, text);
    b.restores[0].snapshot = text;
    STAYS(0, "Restore g/r");
    b.restores[0].backup = NULL;
    GOES(0, "retention");
    b.s[0].has_original = true;
    b.s[0].original = before;
    STAYS(0, "Restore g/r");
    b.in.restores_n = 0;
    GOES(0, "retention");
    down(&b);
}

static void safety_backups_stay_and_do_not_count(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 2);
    size_t old = add(&b, 30 * DAY, "safety:ru");
    size_t first = add(&b, 20 * DAY, NULL);
    add(&b, 19 * DAY, NULL);
    size_t young = add(&b, 6 * DAY, "safety:ru");
    /* Two counted ones are kept: the safety backup is none of them. */
    STAYS(first, "last snapshot");
    /* Its Restore is gone: seven days from its own time. */
    STAYS(young, "kept for 7 days");
    GOES(old, "older than all that retention");
    /* Not ended, however old. */
    b.restores[0] = (struct guard_restore){.name = "g/r", .uid = "ru", .snapshot = "other"};
    b.in.restores_n = 1;
    STAYS(old, "has not ended");
    /* Ended six days ago, eight days ago. */
    b.restores[0].ended = true;
    b.restores[0].ended_ms = NOW - 6 * DAY;
    STAYS(old, "kept for 7 days");
    b.restores[0].ended_ms = NOW - 8 * DAY;
    GOES(old, "safety backup");
    b.restores[0].ended_ms = 0; /* not known when: as if just now */
    STAYS(old, "kept for 7 days");
    /* Asked for, it stays as well. */
    b.asked[0] = b.s[young].id;
    b.in.asked_n = 1;
    STAYS(young, "kept for 7 days");
    down(&b);
}

/* Nor is one the newest complete one of its target. */
static void a_safety_backup_does_not_stand_for_the_newest(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    size_t only = add(&b, 20 * DAY, "ttl:1d");
    add(&b, DAY, "safety:ru");
    STAYS(only, "newest complete");
    down(&b);
}

static void the_young_stay(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    add(&b, 3 * DAY, NULL);
    add(&b, 2 * DAY, "ttl:1h");
    add(&b, DAY, NULL);
    b.asked[0] = b.s[0].id;
    b.in.asked_n = 1;
    GOES(0, "asked");
    GOES(1, "time to live");
    b.in.min_retention_ms = 3 * DAY + 1;
    STAYS(0, "minRetention");
    STAYS(1, "minRetention");
    b.in.min_retention_ms = 3 * DAY;
    GOES(0, "asked");
    down(&b);
}

static void the_newest_complete_one_stays(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    add(&b, 9 * DAY, NULL);
    size_t newest = add(&b, 5 * DAY, "ttl:1d");
    add(&b, 2 * DAY, "phase:PartiallyFailed");
    add(&b, DAY, "target:HelmRelease/shop/other");
    b.asked[0] = b.s[newest].id;
    b.in.asked_n = 1;
    STAYS(newest, "newest complete one of HelmRelease shop/shop");
    assert_true(b.v[newest].newest);
    /* A newer complete one takes its place. */
    add(&b, HOUR, NULL);
    GOES(newest, "asked");
    b.in.asked_n = 0;
    GOES(newest, "time to live");
    down(&b);
}

/* The tag of a claim that was made so long ago. */
static const char *claim(struct bench *b, const char *name, int64_t age)
{
    char text[CLOCK_RFC3339];
    clock_format(NOW - age, text);
    return snapshot_claim_tag(b->a, name, text, true);
}

static const char *data(struct bench *b, int64_t age)
{
    return claim(b, "data", age);
}

static size_t with(struct bench *b, size_t i, const char *tag)
{
    ((const char **)b->s[i].tags)[b->s[i].tags_n++] = tag;
    return i;
}

/* Deleted and made again, with nothing in it: `last: 2` would be two of nothing after two days. */
static void the_last_one_with_a_volume_stays(void **state)
{
    (void)state;
    struct bench b;
    for (int anew = 0; anew < 2; anew++) {
        up(&b, 2);
        const char *old = data(&b, 100 * DAY), *new = anew ? data(&b, 4 * DAY + HOUR) : old;
        size_t first = add(&b, 6 * DAY, old), good = add(&b, 5 * DAY, old);
        size_t between = add(&b, 4 * DAY, new);
        size_t last = (add(&b, 3 * DAY, new), add(&b, 2 * DAY, new));
        judge(&b);
        assert_true(b.v[first].forget);
        assert_int_equal(b.v[good].forget, !anew);
        assert_true(b.v[between].forget);
        assert_false(b.v[last].forget);
        if (anew)
            assert_non_null(strstr(b.v[good].why, "the volume of data@19"));
        down(&b);
    }
}

/* One of two claims is made anew, is gone, or was not copied: the other says nothing of it. */
static void of_each_volume_the_last_one_stays(void **state)
{
    (void)state;
    struct bench b;
    for (int gone = 0; gone < 2; gone++) {
        up(&b, 1);
        const char *cache = claim(&b, "cache", 100 * DAY), *old = data(&b, 90 * DAY);
        size_t first = with(&b, add(&b, 6 * DAY, cache), old);
        size_t good = with(&b, add(&b, 5 * DAY, cache), old);
        size_t between = add(&b, 4 * DAY, cache);
        size_t newest = add(&b, DAY, cache);
        if (!gone)
            with(&b, between, data(&b, 4 * DAY + HOUR)), with(&b, newest, data(&b, 4 * DAY + HOUR));
        STAYS(good, "volume of data@19");
        GOES(first, "does not keep");
        GOES(between, "does not keep");
        /* It is there again: under another name of the same time it is another. */
        with(&b, newest, claim(&b, "date", 90 * DAY));
        STAYS(good, "volume of data@19");
        with(&b, newest, old);
        GOES(good, "does not keep");
        down(&b);
    }
}

/* Each time anew, what it had before; a person may say that it was meant. */
static void of_each_time_anew_the_last_one_stays(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    size_t one = add(&b, 9 * DAY, data(&b, 100 * DAY));
    size_t two = add(&b, 6 * DAY, data(&b, 8 * DAY));
    size_t older = with(&b, add(&b, 5 * DAY, "phase:PartiallyFailed"), data(&b, 8 * DAY));
    size_t partial = with(&b, add(&b, 4 * DAY, "phase:PartiallyFailed"), data(&b, 8 * DAY));
    size_t others = add(&b, 4 * DAY - HOUR, "target:HelmRelease/shop/another");
    size_t three = add(&b, 3 * DAY, data(&b, 4 * DAY));
    size_t unknown = add(&b, 2 * DAY, "claim:data@soon");
    size_t newest = add(&b, DAY, data(&b, 4 * DAY));
    with(&b, others, data(&b, 8 * DAY)); /* stands for nothing of shop */
    judge(&b);
    const size_t stay[] = {one, two, partial, others, newest}, go[] = {older, three, unknown};
    for (size_t i = 0; i < ARRAY_LEN(stay); i++)
        if (b.v[stay[i]].forget)
            fail_msg("%zu goes: %s", stay[i], b.v[stay[i]].why);
    for (size_t i = 0; i < ARRAY_LEN(go); i++)
        if (!b.v[go[i]].forget)
            fail_msg("%zu stays: %s", go[i], b.v[go[i]].why);
    b.asked[0] = b.s[two].id;
    b.in.asked_n = 1;
    judge(&b);
    assert_true(b.v[two].forget);
    down(&b);
}

/* The operator was slow: the first Backups of the new one had no claims at all, or all have none.
 */
static void one_without_claims_does_not_stand_for_one_with(void **state)
{
    (void)state;
    struct bench b;
    for (int come = 0; come < 2; come++) {
        up(&b, 1);
        size_t good = add(&b, 5 * DAY, data(&b, 100 * DAY)), bare = add(&b, 4 * DAY, NULL);
        add(&b, 3 * DAY, come ? data(&b, 4 * DAY - HOUR) : NULL);
        add(&b, 2 * DAY, come ? data(&b, 4 * DAY - HOUR) : NULL);
        STAYS(good, "last complete one with the volume");
        GOES(bare, "does not keep");
        down(&b);
    }
}

/* What is going, of the future, or a safety backup stands for nothing. */
static void what_may_not_stay_stands_for_nothing(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    const char *old = data(&b, 100 * DAY), *other = claim(&b, "cache", 100 * DAY);
    size_t good = add(&b, 12 * DAY, old), asked = add(&b, 11 * DAY, old);
    size_t partial = with(&b, add(&b, 10 * DAY, "phase:PartiallyFailed"), other);
    size_t safety = with(&b, with(&b, add(&b, 9 * DAY, "safety:u"), old), other);
    with(&b, safety, claim(&b, "scratch", 100 * DAY));
    add(&b, DAY, data(&b, 6 * DAY));
    add(&b, -DAY, old);
    b.asked[0] = b.s[asked].id;
    b.in.asked_n = 1;
    GOES(asked, "asked");
    STAYS(good, "last complete one with the volume of data@");
    STAYS(partial, "last one with the volume of cache@");
    GOES(safety, "safety backup");
    b.in.asked_n = 0;
    STAYS(asked, "last complete one with the volume");
    GOES(good, "does not keep");
    down(&b);
}

/* However dear: the second may be all that there is of the new claim. */
static void neither_policy_nor_ttl_takes_the_last_volume(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    size_t dear = with(&b, add(&b, 9 * DAY, "ttl:1d"), data(&b, 100 * DAY));
    size_t broken = with(&b, add(&b, 8 * DAY, "ttl:1d"), data(&b, 8 * DAY + HOUR));
    size_t newest = add(&b, DAY, NULL);
    STAYS(dear, "last complete one with the volume");
    STAYS(broken, "last complete one with the volume");
    b.backups[0] = (struct guard_backup){.name = "g/b1", .uid = "u1", .completed = false};
    b.in.backups_n = 1;
    STAYS(broken, "last one with the volume");
    with(&b, newest, data(&b, 8 * DAY + HOUR));
    STAYS(dear, "last complete one with the volume");
    GOES(broken, "time to live");
    down(&b);
}

static void claims_that_are_anew_each_day_are_no_accident(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    for (int day = 20; day > 0; day--)
        add(&b, day * DAY, data(&b, day * DAY + HOUR));
    judge(&b);
    size_t stay = 0;
    for (size_t i = 0; i < b.n; i++)
        stay += !b.v[i].forget;
    assert_int_equal(stay, GUARD_LAST_VOLUMES);
    assert_false(b.v[b.n - GUARD_LAST_VOLUMES].forget);
    down(&b);
}

/* Each night another of these: that must not cost the volume that was there for months. */
static void claims_of_a_day_do_not_count_against_one_of_months(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    size_t good = with(&b, add(&b, 25 * DAY, data(&b, 100 * DAY)), claim(&b, "run", 26 * DAY));
    for (int day = 24; day > 0; day--)
        with(&b, add(&b, day * DAY, data(&b, 24 * DAY + HOUR)), claim(&b, "run", day * DAY + HOUR));
    size_t others =
        with(&b, add(&b, 30 * DAY, "target:HelmRelease/shop/another"), data(&b, 30 * DAY + HOUR));
    add(&b, 29 * DAY, "target:HelmRelease/shop/another");
    STAYS(good, "last complete one with the volume of data@");
    STAYS(others, "last complete one with the volume of data@");
    size_t stay = 0;
    for (size_t i = 0; i < b.n; i++)
        stay += !b.v[i].forget;
    assert_int_equal(stay, 1 + GUARD_LAST_VOLUMES + 2);
    down(&b);
}

/* Who asks to forget it has read what goes with it. */
static void all_that_it_has_alone_is_named(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    size_t good = with(&b, add(&b, 9 * DAY, claim(&b, "cache", 90 * DAY)), data(&b, 100 * DAY));
    size_t newest = add(&b, DAY, claim(&b, "cache", 2 * DAY));
    STAYS(good, "the volume of cache@");
    assert_non_null(strstr(b.v[good].why, ", data@"));
    with(&b, newest, claim(&b, "cache", 90 * DAY));
    STAYS(good, "the volume of data@");
    with(&b, with(&b, good, claim(&b, "x", DAY)), claim(&b, "y", DAY));
    with(&b, good, claim(&b, "z", DAY));
    STAYS(good, "and others:");
    down(&b);
}

/* A disk that begins to fail: what can still be read of it does not stand for what it had. */
static void part_of_a_volume_does_not_stand_for_the_whole(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 0);
    const char *whole = data(&b, 100 * DAY), *part = arena_printf(b.a, "part:%s", whole + 6);
    const char *tags[] = {part, whole, part, part};
    for (int i = 0; i < 4; i++)
        with(&b, with(&b, add(&b, (9 - i) * DAY, "phase:PartiallyFailed"), "ttl:1d"), tags[i]);
    GOES(0, "time to live");
    STAYS(1, "last one with the volume of data@");
    GOES(2, "time to live");
    STAYS(3, "last one with the volume of data@");
    down(&b);
}

static void one_that_its_backup_denies_is_not_complete(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    size_t old = add(&b, 2 * DAY, "ttl:1d");
    size_t new = add(&b, DAY, NULL);
    GOES(old, "time to live");
    b.backups[0] = (struct guard_backup){.name = "g/b1", .uid = "u1", .completed = false};
    b.in.backups_n = 1;
    STAYS(old, "newest complete");
    STAYS(new, "not complete");
    down(&b);
}

/* A clock that was wrong when one snapshot was made must not cost the ones that are made until its
 * time has come: it takes nobody's place in a policy, and is not the newest. */
static void one_of_the_future_costs_nobody_his_place(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 0);
    b.schedule.policy.daily = 7;
    size_t before = add(&b, DAY, NULL);
    size_t today = add(&b, 0, NULL);
    size_t future = add(&b, -DAY, NULL);
    STAYS(before, "daily");
    STAYS(today, "newest complete");
    STAYS(future, "future");
    /* It goes when people ask. */
    b.asked[0] = b.s[future].id;
    b.in.asked_n = 1;
    GOES(future, "asked");
    down(&b);
    /* Nor does it stand for the newest. */
    up(&b, 0);
    size_t over = add(&b, 3 * DAY, "ttl:1d");
    add(&b, -DAY, NULL);
    STAYS(over, "newest complete");
    down(&b);
    /* The only one is the newest, whatever its time. */
    up(&b, 0);
    b.asked[0] = b.s[add(&b, -DAY, NULL)].id;
    b.in.asked_n = 1;
    STAYS(0, "newest complete");
    down(&b);
}

static void spans_do_not_count_from_the_future(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 3);
    b.schedule.policy = (struct retention_policy){.within = {.days = 2}};
    size_t yesterday = add(&b, DAY, NULL);
    add(&b, HOUR, NULL);
    size_t future = add(&b, -300 * DAY, NULL);
    /* Counted back from a day in the future, yesterday's would be far too old. */
    STAYS(yesterday, "within");
    STAYS(future, "future");
    b.in.min_retention_ms = HOUR;
    STAYS(future, "minRetention");
    down(&b);
}

static void a_ttl_ends_one(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 10);
    size_t over = add(&b, 73 * HOUR, "ttl:72h");
    size_t still = add(&b, 71 * HOUR, "ttl:72h");
    size_t odd = add(&b, 71 * HOUR, "ttl:never");
    add(&b, HOUR, NULL);
    GOES(over, "72h");
    STAYS(still, "last snapshot");
    STAYS(odd, "last snapshot");
    down(&b);
}

static void a_schedule_judges_its_own(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 1);
    size_t by_hand = add(&b, 9 * DAY, "schedule:");
    size_t of_other = add(&b, 8 * DAY, "schedule:g/other");
    size_t before = add(&b, 7 * DAY, "target:HelmRelease/shop/before");
    size_t newer = add(&b, 6 * DAY, "target:HelmRelease/shop/before");
    size_t own = add(&b, 5 * DAY, NULL);
    add(&b, DAY, NULL);
    STAYS(by_hand, "no retention applies");
    STAYS(of_other, "no retention applies");
    /* Of a target that the Schedule had once. */
    STAYS(before, "no retention applies");
    STAYS(newer, "newest");
    GOES(own, "retention");
    /* The Schedule is deleted: nothing is. */
    b.in.schedules_n = 0;
    STAYS(own, "no retention applies");
    down(&b);
}

static void a_partial_one_goes_behind_a_kept_one(void **state)
{
    (void)state;
    struct bench b;
    up(&b, 2);
    size_t oldest = add(&b, 9 * DAY, "phase:PartiallyFailed");
    add(&b, 8 * DAY, NULL);
    size_t middle = add(&b, 7 * DAY, "phase:PartiallyFailed");
    add(&b, 6 * DAY, NULL);
    GOES(oldest, "not complete");
    STAYS(middle, "not complete");
    /* It is not counted: two complete ones are kept beside it. */
    STAYS(1, "last snapshot");
    /* Without any complete one nothing goes. */
    struct bench c;
    up(&c, 1);
    for (int i = 5; i > 0; i--)
        add(&c, i * DAY, "phase:PartiallyFailed");
    judge(&c);
    for (size_t i = 0; i < c.n; i++)
        assert_false(c.v[i].forget);
    down(&c);
    down(&b);
}

/* ---- a thousand worlds ---- */

static void no_world_loses_the_newest(void **state)
{
    (void)state;
    srand(4711);
    for (int round = 0; round < 2000; round++) {
        struct bench b;
        up(&b, rand() % 4);
        b.schedule.policy.daily = rand() % 3;
        b.in.min_retention_ms = rand() % 3 * HOUR;
        for (int i = rand() % 24; i > 0; i--) {
            static const char *const more[] = {
                NULL,        NULL,      "phase:PartiallyFailed", "ttl:1h", "safety:ru",
                "schedule:", "gleaner:"};
            add(&b, (rand() % 200 - 20) * HOUR, more[rand() % (int)ARRAY_LEN(more)]);
        }
        for (size_t i = 0; i < b.n && i < 4; i++)
            b.asked[i] = b.s[(size_t)rand() % b.n].id;
        b.in.asked_n = MIN(b.n, 4);
        judge(&b);
        size_t complete = 0, left = 0;
        for (size_t i = 0; i < b.n; i++) {
            struct recorded r;
            bool counts = recorded_read(b.a, &b.s[i], &r) && r.completed && !r.safety;
            complete += counts;
            left += counts && !b.v[i].forget;
            if (b.v[i].forget && NOW - MIN(r.time_ms, NOW) < b.in.min_retention_ms)
                fail_msg("a young one goes");
        }
        if (complete && !left)
            fail_msg("round %d: no complete one is left", round);
        down(&b);
    }
}

/* What is left after each night's forgetting, whatever became of the claims by day. */
static void no_night_loses_a_volume(void **state)
{
    (void)state;
    enum { NIGHTS = 24, CLAIMS = 2, MADE = 4 };
    srand(815);
    for (int round = 0; round < 300; round++) {
        struct bench b;
        int made[CLAIMS] = {1, 1};
        bool stored[CLAIMS][MADE + 1] = {{false}};
        up(&b, 1 + rand() % 2);
        for (int night = 1; night <= NIGHTS; night++) {
            bool complete = rand() % 4 != 0, there[CLAIMS];
            size_t new = add(&b, (NIGHTS - night) * DAY, complete ? NULL : "phase:PartiallyFailed");
            for (int c = 0; c < CLAIMS; c++) {
                made[c] += made[c] < MADE && rand() % 6 == 0;
                there[c] = rand() % 5 != 0;
                if (there[c])
                    with(&b, new, claim(&b, c ? "cache" : "data", (100 - made[c]) * DAY));
                stored[c][made[c]] |= there[c] && complete;
            }
            b.in.now_ms = NOW - (NIGHTS - night) * DAY;
            judge(&b);
            size_t left = 0;
            for (size_t i = 0; i < b.n; i++)
                if (!b.v[i].forget)
                    b.s[left++] = b.s[i];
            b.in.snapshots_n = b.n = left;
            for (int c = 0; c < CLAIMS; c++) {
                for (int m = 1; m <= MADE; m++) {
                    const char *tag = claim(&b, c ? "cache" : "data", (100 - m) * DAY);
                    bool has = false;
                    for (size_t i = 0; i < b.n; i++)
                        has |= snapshot_has_tag(&b.s[i], tag) &&
                               snapshot_has_tag(&b.s[i], "phase:Completed");
                    if (stored[c][m] && !has)
                        fail_msg("round %d, night %d: %s is lost", round, night, tag);
                }
            }
        }
        down(&b);
    }
}

/* ---- words of a policy ---- */

static void the_annotation_says_what_the_spec_says(void **state)
{
    (void)state;
    struct arena *a CLEANUP(arena_free_p) = arena_new();
    struct retention_policy p;
    struct err err;
    str text;
    assert_int_equal(
        schedule_policy_parse(a, STR(" last=3, daily=7,withinWeekly=1y2m "), &text, &err), 0);
    assert_string_equal(text.p, "{\"last\":3,\"daily\":7,\"withinWeekly\":\"1y2m\"}");
    assert_int_equal(schedule_policy_read(a, text, &p, &err), 0);
    assert_true(p.last == 3 && p.daily == 7 && p.within_weekly.years == 1 &&
                p.within_weekly.months == 2);
    assert_int_equal(schedule_policy_read(a, (str){0}, &p, &err), 0);
    assert_true(retention_policy_is_empty(&p));
    static const char *const wrong[] = {"",        "last",      "last=",      "last=-1",
                                        "last=x",  "keep=3",    "last=0",     "last=3,last=4",
                                        "last=3,", "within=3w", "last=\"3\"", "last=9999999"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (schedule_policy_parse(a, str_of(wrong[i]), &text, &err) == 0)
            fail_msg("'%s' was taken", wrong[i]);
    assert_int_equal(schedule_policy_read(a, STR("{\"lost\":3}"), &p, &err), -1);
    assert_int_equal(schedule_policy_read(a, STR("{\"last\":-3}"), &p, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_policy_decides),
        cmocka_unit_test(an_unreadable_snapshot_keeps_all),
        cmocka_unit_test(what_gleaner_did_not_record_stays),
        cmocka_unit_test(what_a_restore_names_stays),
        cmocka_unit_test(safety_backups_stay_and_do_not_count),
        cmocka_unit_test(a_safety_backup_does_not_stand_for_the_newest),
        cmocka_unit_test(the_young_stay),
        cmocka_unit_test(the_newest_complete_one_stays),
        cmocka_unit_test(the_last_one_with_a_volume_stays),
        cmocka_unit_test(of_each_volume_the_last_one_stays),
        cmocka_unit_test(of_each_time_anew_the_last_one_stays),
        cmocka_unit_test(one_without_claims_does_not_stand_for_one_with),
        cmocka_unit_test(what_may_not_stay_stands_for_nothing),
        cmocka_unit_test(neither_policy_nor_ttl_takes_the_last_volume),
        cmocka_unit_test(claims_that_are_anew_each_day_are_no_accident),
        cmocka_unit_test(claims_of_a_day_do_not_count_against_one_of_months),
        cmocka_unit_test(all_that_it_has_alone_is_named),
        cmocka_unit_test(part_of_a_volume_does_not_stand_for_the_whole),
        cmocka_unit_test(one_that_its_backup_denies_is_not_complete),
        cmocka_unit_test(one_of_the_future_costs_nobody_his_place),
        cmocka_unit_test(spans_do_not_count_from_the_future),
        cmocka_unit_test(a_ttl_ends_one),
        cmocka_unit_test(a_schedule_judges_its_own),
        cmocka_unit_test(a_partial_one_goes_behind_a_kept_one),
        cmocka_unit_test(no_world_loses_the_newest),
        cmocka_unit_test(no_night_loses_a_volume),
        cmocka_unit_test(the_annotation_says_what_the_spec_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
