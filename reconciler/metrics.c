#include "reconciler/metrics.h"

#include "core/map.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>

static const struct metric {
    const char *name, *type, *help;
} metrics[] = {
    {"gleaner_backups", "gauge", "Backups in the cluster, by store and phase."},
    {"gleaner_backup_last_success_timestamp_seconds", "gauge",
     "When the newest Completed Backup of a target was completed."},
    {"gleaner_held_applications", "gauge", "Applications that are held."},
    {"gleaner_store_ready", "gauge", "1 if the BackupStore is Ready."},
    {"gleaner_store_snapshots", "gauge", "Snapshots in a store at the last look."},
    {"gleaner_check_damages", "gauge", "Damages that the last check of a store found."},
    {"gleaner_snapshots_forgotten_total", "counter", "Snapshots forgotten by this process."},
    {"gleaner_prune_removed_bytes_total", "counter", "Bytes that this process pruned."},
};

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static struct map *series[ARRAY_LEN(metrics)]; /* by labels: double */

/* Under the lock; NULL: there is no such name. */
static double *value_of(const char *name, const char *labels)
{
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
        if (!streq(metrics[i].name, name))
            continue;
        if (!series[i])
            series[i] = map_new(free);
        double *v = map_get(series[i], str_of(labels));
        if (!v)
            map_put(series[i], str_of(labels), v = xcalloc(1, sizeof *v));
        return v;
    }
    return NULL;
}

void metrics_set(const char *name, const char *labels, double value)
{
    pthread_mutex_lock(&lock);
    double *v = value_of(name, labels);
    if (v)
        *v = value;
    pthread_mutex_unlock(&lock);
}

void metrics_add(const char *name, const char *labels, double value)
{
    pthread_mutex_lock(&lock);
    double *v = value_of(name, labels);
    if (v)
        *v += value;
    pthread_mutex_unlock(&lock);
}

void metrics_max(const char *name, const char *labels, double value)
{
    pthread_mutex_lock(&lock);
    double *v = value_of(name, labels);
    if (v)
        *v = MAX(*v, value);
    pthread_mutex_unlock(&lock);
}

void metrics_clear(const char *name)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
        if (streq(metrics[i].name, name)) {
            map_free(series[i]);
            series[i] = NULL;
        }
    }
    pthread_mutex_unlock(&lock);
}

void metrics_hold(void)
{
    pthread_mutex_lock(&lock);
}

void metrics_release(void)
{
    pthread_mutex_unlock(&lock);
}

void metrics_forget(const char *labels)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++)
        if (series[i])
            map_del(series[i], str_of(labels));
    pthread_mutex_unlock(&lock);
}

/* Backslash, quote and newline are escaped. */
static void add_label(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s%s=\"", out->n ? "," : "", name);
    for (const char *c = value; *c; c++) {
        if (*c == '\\' || *c == '"')
            buf_putc(out, '\\');
        if (*c == '\n')
            buf_puts(out, "\\n");
        else
            buf_putc(out, *c);
    }
    buf_putc(out, '"');
}

const char *metrics_label(struct arena *a, const char *name, const char *value)
{
    struct buf out CLEANUP(buf_free) = {0};
    add_label(&out, name, value);
    return arena_str(a, buf_view(&out)).p;
}

const char *metrics_labels(struct arena *a, ...)
{
    struct buf out CLEANUP(buf_free) = {0};
    va_list args;
    va_start(args, a);
    for (const char *name; (name = va_arg(args, const char *)) != NULL;) {
        const char *value = va_arg(args, const char *);
        add_label(&out, name, value ? value : "");
    }
    va_end(args);
    return out.n ? arena_str(a, buf_view(&out)).p : "";
}

void metrics_print(struct buf *out)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
        size_t at = 0;
        str labels;
        void *value;
        if (!series[i] || !map_count(series[i]))
            continue;
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metrics[i].name, metrics[i].help,
                   metrics[i].name, metrics[i].type);
        while (map_each(series[i], &at, &labels, &value))
            buf_printf(out, "%s%s%.*s%s %.17g\n", metrics[i].name, labels.n ? "{" : "",
                       STR_FMT(labels), labels.n ? "}" : "", *(double *)value);
    }
    pthread_mutex_unlock(&lock);
}
