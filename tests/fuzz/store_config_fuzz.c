#include "store/chunker.h"
#include "store/config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted is written and accepted again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store_config c, again;
    struct buf text = {0};
    struct err err;
    if (store_config_parse((str){(const char *)data, size}, &c, &err) == 0) {
        store_config_text(&c, &text);
        if (!polynomial_usable(c.polynomial) ||
            store_config_parse(buf_view(&text), &again, &err) < 0 ||
            again.polynomial != c.polynomial)
            abort();
    }
    buf_free(&text);
    return 0;
}
