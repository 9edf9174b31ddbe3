/* restic's forms of sizes, times, modes, and its JSON. */
#include "cli/repo.h"

#include <stdio.h>
#include <time.h>

#include "store/gojson.h"
#include "store/snapshot_text.h"

const char *repo_size(struct arena *a, uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    for (int i = ARRAY_LEN(units) - 1; i >= 0; i--) {
        uint64_t unit = (uint64_t)1 << (10 * (i + 1));
        if (bytes >= unit)
            return arena_printf(a, "%.3f %s", (double)bytes / (double)unit, units[i]);
    }
    return arena_printf(a, "%llu B", (unsigned long long)bytes);
}

const char *repo_time(struct arena *a, struct timespec t)
{
    struct tm tm;
    char text[64];
    localtime_r(&t.tv_sec, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
    return arena_strdup(a, text);
}

bool repo_parse_time(const char *text, struct timespec *ret)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S",
                                        "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S"};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(text, forms[i], &tm);
        if (!end || *end)
            continue;
        *ret = (struct timespec){.tv_sec = mktime(&tm)};
        return true;
    }
    return false;
}

void repo_mode(uint32_t mode, char out[REPO_MODE_TEXT])
{
    static const char types[] = "dalTLDpSugct?", bits[] = "rwxrwxrwx";
    char *at = out;
    for (int i = 0; types[i]; i++)
        if (mode & 1u << (31 - i))
            *at++ = types[i];
    if (at == out)
        *at++ = '-';
    for (int i = 0; bits[i]; i++)
        *at++ = mode & 1u << (8 - i) ? bits[i] : '-';
    *at = '\0';
}

void repo_snapshot_json(struct buf *out, const struct snapshot *s)
{
    char hex[STORE_ID_HEX];
    store_id_hex(&s->id, hex);
    snapshot_text(s, out);
    while (out->n && out->p[out->n - 1] != '}')
        out->n--;
    out->n--;
    buf_printf(out, ",\"id\":\"%s\",\"short_id\":\"%.8s\"}", hex, hex);
}

void repo_node_json(struct buf *out, const char *path, const struct node *node)
{
    char mode[REPO_MODE_TEXT];
    repo_mode(node->mode, mode);
    buf_puts(out, "{\"name\":");
    gojson_string(out, node->name);
    buf_printf(out, ",\"type\":\"%s\",\"path\":", node_type_name(node->type));
    gojson_string(out, str_of(path));
    buf_printf(out, ",\"uid\":%u,\"gid\":%u", node->uid, node->gid);
    if (node->type == NODE_FILE)
        buf_printf(out, ",\"size\":%llu", (unsigned long long)node->size);
    if (node->mode)
        buf_printf(out, ",\"mode\":%u,\"permissions\":\"%s\"", node->mode, mode);
    buf_puts(out, ",\"mtime\":");
    gojson_time(out, node->mtime);
    buf_puts(out, ",\"atime\":");
    gojson_time(out, node->atime);
    buf_puts(out, ",\"ctime\":");
    gojson_time(out, node->ctime);
    if (node->inode)
        buf_printf(out, ",\"inode\":%llu", (unsigned long long)node->inode);
}
