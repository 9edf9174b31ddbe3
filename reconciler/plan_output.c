/* A plan as JSON and as a table. Names and reasons only: no value of any object. */
#include "reconciler/verdict.h"

#include <stdio.h>

static json_t *object_json(const struct subject *x)
{
    const struct verdict *v = &x->verdict;
    const struct {
        const char *member, *text;
    } texts[] = {
        {"group", x->type->group},
        {"version", x->type->version},
        {"kind", x->type->kind},
        {"resource", x->type->resource},
        {"namespace", x->object.ns},
        {"name", x->object.name},
        {"uid", x->object.uid},
        {"class", verdict_class_name(v->class)},
        {"rule", v->rule},
        {"reason", v->reason},
        {"keep", verdict_keep_name(v->keep)},
        {"restore", verdict_restore_name(v->restore)},
    };
    json_t *row = json_object(), *fields = json_array();
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        json_object_set_new(row, texts[i].member, json_string(texts[i].text));
    for (size_t i = 0; i < v->field_count; i++)
        json_array_append_new(fields, json_string(v->fields[i]));
    json_object_set_new(row, "core", json_boolean(x->core));
    json_object_set_new(row, "fields", fields);
    return row;
}

static json_t *texts_json(const char *const *p, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(p[i]));
    return list;
}

struct counts {
    size_t classes[VERDICT_CLASS_MAX], keeps[KEEP_OBJECT + 1];
};

static struct counts count(const struct plan *p)
{
    struct counts c = {0};
    for (size_t i = 0; i < p->subject_count; i++) {
        c.classes[p->subjects[i].verdict.class]++;
        c.keeps[p->subjects[i].verdict.keep]++;
    }
    return c;
}

static json_t *claim_names(const struct plan *p)
{
    json_t *names = json_array();
    for (size_t i = 0; i < p->claim_count; i++)
        json_array_append_new(names, json_string(p->claims[i].name));
    return names;
}

static json_t *summary_json(const struct plan *p)
{
    struct counts c = count(p);
    json_t *classes = json_object();
    for (int i = 0; i < VERDICT_CLASS_MAX; i++) {
        if (c.classes[i])
            json_object_set_new(classes, verdict_class_name((enum verdict_class)i),
                                json_integer((json_int_t)c.classes[i]));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "objects",
                     (json_int_t)p->subject_count, "keptObjects", (json_int_t)c.keeps[KEEP_OBJECT],
                     "keptFields", (json_int_t)c.keeps[KEEP_FIELDS], "notKept",
                     (json_int_t)c.keeps[KEEP_NONE], "classes", classes, "claims", claim_names(p),
                     "warnings", texts_json(p->warnings, p->warning_count), "problems",
                     texts_json(p->problems, p->problem_count));
}

json_t *plan_json(const struct plan *p)
{
    json_t *objects = json_array();
    for (size_t i = 0; i < p->subject_count; i++)
        json_array_append_new(objects, object_json(&p->subjects[i]));
    json_t *target =
        json_pack("{s:s, s:s, s:s, s:s}", "kind", p->app.type->kind, "namespace", p->app.object.ns,
                  "name", p->app.object.name, "contentNamespace", p->ns);
    json_t *declared = json_pack("{s:s, s:s, s:s, s:s}", "engine", p->declared.engine, "source",
                                 p->declared.source, "revision", p->declared.revision, "reachable",
                                 reachable_name(p->declared.reachable));
    if (p->declared.reachable != REACHABLE_TRUE && p->declared.why)
        json_object_set_new(declared, "why", json_string(p->declared.why));
    return json_pack("{s:o, s:o, s:o, s:o}", "target", target, "declared", declared, "objects",
                     objects, "summary", summary_json(p));
}

/* ---- for people ---- */

static void print_fields(struct buf *out, const struct verdict *v)
{
    for (size_t i = 0; i < v->field_count; i++)
        buf_printf(out, "  %-7s   %s\n", "", v->fields[i]);
}

/* What is not proven is said once, at the top, with the whole reason. */
static const char *short_reason(const struct verdict *v)
{
    return v->class == VERDICT_DECLARED_UNPROVEN && streq(v->rule, "git-not-proven")
               ? "declared, but nobody proves that Git still holds it: see above"
               : v->reason;
}

static void print_kept(struct buf *out, const struct plan *p)
{
    buf_puts(out, "\nKEPT     OBJECT\n");
    for (size_t i = 0; i < p->subject_count; i++) {
        const struct subject *x = &p->subjects[i];
        if (x->verdict.keep == KEEP_NONE)
            continue;
        const char *slash = *x->object.ns ? "/" : "";
        buf_printf(out, "  %-7s%s %s%s%s  [%s] %s\n", verdict_keep_name(x->verdict.keep),
                   x->type->kind, x->object.ns, slash, x->object.name,
                   verdict_class_name(x->verdict.class), short_reason(&x->verdict));
        print_fields(out, &x->verdict);
    }
}

/* Runs of one kind and rule are one line: a namespace full of pods is not news. */
static void print_rest(struct buf *out, const struct plan *p)
{
    buf_puts(out, "\nNOT KEPT\n");
    for (size_t i = 0; i < p->subject_count;) {
        const struct subject *x = &p->subjects[i];
        size_t n = 0;
        while (i + n < p->subject_count && p->subjects[i + n].verdict.keep == KEEP_NONE &&
               streq(p->subjects[i + n].type->kind, x->type->kind) &&
               streq(p->subjects[i + n].verdict.rule, x->verdict.rule))
            n++;
        if (n == 1)
            buf_printf(out, "  %s %s  [%s] %s\n", x->type->kind, x->object.name,
                       verdict_class_name(x->verdict.class), x->verdict.reason);
        else if (n > 1)
            buf_printf(out, "  %zu x %s  [%s] such as: %s\n", n, x->type->kind,
                       verdict_class_name(x->verdict.class), x->verdict.reason);
        i += MAX(n, (size_t)1);
    }
}

static void print_claims(struct buf *out, const struct plan *p)
{
    if (p->claim_count)
        buf_printf(out, "\nVOLUMES\n");
    for (size_t i = 0; i < p->claim_count; i++)
        buf_printf(out, "  %s\n", p->claims[i].name);
}

static void print_texts(struct buf *out, const char *title, const char *const *p, size_t n)
{
    if (n)
        buf_printf(out, "\n%s\n", title);
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "  %s\n", p[i]);
}

void plan_print(struct buf *out, const struct plan *p)
{
    const struct declaration *d = &p->declared;
    struct counts c = count(p);
    buf_printf(out, "%s %s/%s, content in namespace %s\n", p->app.type->kind, p->app.object.ns,
               p->app.object.name, p->ns);
    buf_printf(out, "declared by %s from %s\n", d->engine, *d->source ? d->source : "no source");
    buf_printf(out, "revision %s: held by its remote: %s%s%s\n",
               *d->revision ? d->revision : "unknown", reachable_name(d->reachable),
               d->reachable != REACHABLE_TRUE ? ", " : "",
               d->reachable != REACHABLE_TRUE && d->why ? d->why : "");
    print_kept(out, p);
    print_rest(out, p);
    print_claims(out, p);
    print_texts(out, "WARNINGS", p->warnings, p->warning_count);
    print_texts(out, "NOT IN THIS BACKUP", p->problems, p->problem_count);
    buf_printf(out,
               "\n%zu objects: %zu kept whole, %zu with fields, %zu held by Git or made again; %zu "
               "volumes\n",
               p->subject_count, c.keeps[KEEP_OBJECT], c.keeps[KEEP_FIELDS], c.keeps[KEEP_NONE],
               p->claim_count);
}
