/* A worker's answer: what passes the check ends where it says, and every frame lies inside of it.
 */
#include "gitops/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    str text = {(const char *)data, size};
    if (worker_check_answer(text, &err) == 0) {
        str rest = text, payload;
        size_t n = 5;
        char type;
        while (frame_next(&rest, &type, &payload, &err) > 0)
            n += 5 + payload.n;
        if (n != size)
            __builtin_trap();
    }
    return 0;
}
