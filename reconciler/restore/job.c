/* Finished Jobs come back without running: made suspended, given their status, and only then
 * unsuspended; the Job controller leaves a finished Job alone.
 * Source: validation of Job status since Kubernetes 1.32 (JobManagedBy): Complete needs
 * SuccessCriteriaMet, Failed needs FailureTarget, and nothing may be active or uncounted. */
#include "core/jsonedit.h"
#include "reconciler/restore/prepare.h"

bool job_was_suspended(const struct kube_object *stored)
{
    return raw_true(raw_at(stored->raw, "spec", "suspend", NULL));
}

int job_prepare(struct arena *a, const struct prepared *p, str *ret, struct err *err)
{
    return raw_set(a, p->body, JSON_PATH("spec", "suspend"), STR("true"), ret, err);
}

/* The twin of a final condition that newer servers demand. */
static void add_twin(json_t *conditions, const char *final, const char *twin)
{
    size_t i;
    json_t *c, *found = NULL;
    json_array_foreach(conditions, i, c)
    {
        const char *type = json_text_at(c, "type", NULL);
        if (streq(type, twin))
            return;
        if (streq(type, final) && streq(json_text_at(c, "status", NULL), "True"))
            found = c;
    }
    if (!found)
        return;
    json_t *copy = json_deep_copy(found);
    json_object_set_new(copy, "type", json_string(twin));
    json_array_insert_new(conditions, 0, copy);
}

/* A zero that the server wrote is part of the status; anything else of these would be refused. */
static bool is_zero(const json_t *v)
{
    return (json_is_integer(v) && json_integer_value(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

int job_status_patch(struct arena *a, const struct kube_object *stored, const char *uid, str *ret,
                     struct err *err)
{
    json_t *status CLEANUP_JSON = NULL;
    if (json_parse(raw_get(stored->raw, "status"), &status, err) < 0)
        return err_wrap(err, "status of Job %s", stored->name);
    json_t *conditions = json_object_get(status, "conditions");
    if (!json_is_object(status) || !json_is_array(conditions))
        return err_set(err, ERR_CORRUPT, "Job %s: its status has no conditions", stored->name);
    add_twin(conditions, "Complete", "SuccessCriteriaMet");
    add_twin(conditions, "Failed", "FailureTarget");
    static const char *const none[] = {"active", "terminating", "ready", "uncountedTerminatedPods"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        if (!is_zero(json_object_get(status, none[i])))
            json_object_set_new(status, none[i], json_null());
    json_t *body CLEANUP_JSON =
        json_pack("{s:{s:s}, s:O}", "metadata", "uid", uid, "status", status);
    struct buf text CLEANUP(buf_free) = {0};
    json_print(&text, body);
    *ret = arena_str(a, buf_view(&text));
    return 0;
}
