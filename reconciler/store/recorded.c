#include "reconciler/store/recorded.h"

#include "core/clock.h"

/* "a/b" or "a/b/c" to its parts; false unless all of them are there. */
static bool split(struct arena *a, const char *text, const char **parts, size_t n)
{
    str rest = str_of(text);
    for (size_t i = 0; i < n; i++) {
        str part = i + 1 < n ? str_cut(&rest, '/') : rest;
        if (part.n == 0)
            return false;
        parts[i] = arena_str(a, part).p;
    }
    return !strchr(parts[n - 1], '/');
}

/* Who made more of them than a Backup can have is not us: the rest is not known. */
static void read_claims(struct arena *a, const struct snapshot *s, struct recorded *ret)
{
    struct snapshot_claim claims[SNAPSHOT_CLAIMS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < s->tags_n && n < ARRAY_LEN(claims); i++)
        n += snapshot_claim_read(s->tags[i], &claims[n]);
    ret->claims_n = n;
    ret->claims = arena_alloc(a, n * sizeof *claims);
    for (size_t i = 0; i < n; i++)
        ret->claims[i] = claims[i];
}

bool recorded_read(struct arena *a, const struct snapshot *s, struct recorded *ret)
{
    const char *backup = snapshot_tag_value(s, "backup"), *target = snapshot_tag_value(s, "target");
    const char *phase = snapshot_tag_value(s, "phase"), *uid = snapshot_tag_value(s, "uid");
    const char *names[2], *targets[3];
    if (!snapshot_has_tag(s, "gleaner") || !backup || !target || !phase || !uid || !*uid ||
        !split(a, backup, names, 2) || !split(a, target, targets, 3))
        return false;
    bool completed = streq(phase, "Completed");
    if (!completed && !streq(phase, "PartiallyFailed"))
        return false;
    *ret = (struct recorded){.ns = names[0],
                             .name = names[1],
                             .uid = uid,
                             .kind = targets[0],
                             .target_ns = targets[1],
                             .target = targets[2],
                             .completed = completed,
                             .safety = snapshot_tag_value(s, "safety"),
                             .schedule = snapshot_tag_value(s, "schedule"),
                             .ttl = snapshot_tag_value(s, "ttl"),
                             .time_ms = (int64_t)s->time.tv_sec * 1000 + s->time.tv_nsec / 1000000};
    store_id_hex(&s->id, ret->snapshot);
    if (ret->ttl && (!clock_parse_duration(str_of(ret->ttl), &ret->ttl_ms) || ret->ttl_ms <= 0))
        ret->ttl_ms = 0;
    read_claims(a, s, ret);
    return true;
}

const char *recorded_target(struct arena *a, const struct recorded *r)
{
    return arena_printf(a, "%s %s/%s", r->kind, r->target_ns, r->target);
}
