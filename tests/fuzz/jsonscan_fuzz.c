/* core/jsonscan and core/jsonedit: what the scanner accepts, jansson accepts (numbers out of range
 * aside), and an edit of what was accepted is accepted again. */
#include "core/json.h"
#include "core/jsonedit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(struct arena *a, str v, int depth)
{
    struct raw_iter it = raw_iter(v);
    str key, value;
    while (depth < 32 && raw_next(&it, &key, &value)) {
        (void)raw_string(a, key);
        (void)raw_string(a, value);
        walk(a, value, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    struct arena *a = arena_new();
    str text = {(const char *)data, size};
    walk(a, text, 0);
    if (raw_check(text, &err) == 0) {
        str edited;
        if (raw_set(a, text, JSON_PATH("metadata", "uid"), STR("\"x\""), &edited, &err) == 0) {
            if (raw_check(edited, &err) < 0 ||
                !raw_is(raw_at(edited, "metadata", "uid", NULL), "x"))
                __builtin_trap();
            if (raw_remove(a, edited, JSON_PATH("metadata", "uid"), &edited, &err) < 0 ||
                raw_check(edited, &err) < 0 || raw_at(edited, "metadata", "uid", NULL).p)
                __builtin_trap();
        }
    }
    arena_free(a);
    return 0;
}
