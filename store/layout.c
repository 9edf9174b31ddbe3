#include "store/layout.h"

static const char *const type_names[BACKEND_TYPES] = {
    [BACKEND_CONFIG] = "config",      [BACKEND_KEY] = "keys",    [BACKEND_LOCK] = "locks",
    [BACKEND_SNAPSHOT] = "snapshots", [BACKEND_INDEX] = "index", [BACKEND_DATA] = "data",
};

const char *layout_type_name(enum backend_type type)
{
    return type_names[type];
}

int layout_type(str name)
{
    for (int i = 0; i < BACKEND_TYPES; i++)
        if (str_is(name, type_names[i]))
            return i;
    return -1;
}

static bool is_element(str s)
{
    if (s.n == 0 || s.n > 253 || s.p[0] == '.')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '.' || c == '_'))
            return false;
    }
    return true;
}

int layout_repository(struct buf *out, const char *cluster_name, const char *namespace,
                      struct err *err)
{
    if (!is_element(str_of(cluster_name)))
        return err_set(
            err, ERR_INVALID,
            "clusterName '%s' cannot be part of a path: use letters, digits, '-', '_', '.'",
            cluster_name ? cluster_name : "");
    if (namespace && !is_element(str_of(namespace)))
        return err_set(err, ERR_INVALID, "namespace '%s' cannot be part of a path", namespace);
    buf_printf(out, "%s/%s", cluster_name, namespace ? namespace : LAYOUT_CLUSTER);
    return 0;
}

bool layout_parse_repository(str path, str *ret_cluster_name, str *ret_namespace)
{
    str rest = path, cluster = str_cut(&rest, '/');
    if (!is_element(cluster) || !is_element(rest))
        return false;
    *ret_cluster_name = cluster;
    *ret_namespace = rest;
    return true;
}

void layout_file(struct buf *out, const struct backend_file *f, bool sharded)
{
    buf_puts(out, type_names[f->type]);
    if (f->type == BACKEND_CONFIG)
        return;
    char id[STORE_ID_HEX];
    store_id_hex(&f->id, id);
    if (f->type == BACKEND_DATA && sharded)
        buf_printf(out, "/%.2s", id);
    buf_printf(out, "/%s", id);
}
