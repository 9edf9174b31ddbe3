/* YAML documents as JSON, by the rules of sigs.k8s.io/yaml (which every part of Kubernetes, Helm
 * and Flux reads manifests with): YAML 1.1 scalars as go-yaml v2 resolves them (yes, on, 0777,
 * 0x1f, 1_000, .5), merge keys, the last of duplicate keys, keys turned into strings; null keys,
 * NaN and infinities are refused. For the worker alone: the text is a stranger's. */
#ifndef GITOPS_YAML_H
#define GITOPS_YAML_H

#include "core/arena.h"
#include "core/err.h"

enum { YAML_DEPTH = 100, YAML_MERGES = 10000 };

/* Calls each() with the JSON text of every document that is not null; it lives during the call.
 * *budget counts down the bytes of JSON that may still be made (aliases multiply). ERR_INVALID with
 * the line; ERR_TOO_LARGE. */
int yaml_each(str text, size_t *budget, int (*each)(void *ctx, str json, struct err *err),
              void *ctx, struct err *err) must_check;

#endif
