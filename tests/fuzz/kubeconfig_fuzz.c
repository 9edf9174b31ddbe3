/* kube/kubeconfig: any text is a configuration with a server, or an error that says why. */
#include <stdlib.h>

#include "kube/config_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kubeconfig_text text = {"/nonexistent/config", {(const char *)data, size}};
    struct kube_config *c = config_new();
    struct err err = {0};
    if (kubeconfig_read(&text, 1, NULL, c, &err) < 0) {
        if (err.kind == ERR_NONE || !err.msg[0])
            abort();
    } else if (!str_starts(str_of(kube_config_server(c)), "http") || !kube_config_namespace(c)[0]) {
        abort();
    }
    kube_config_free(c);
    return 0;
}
