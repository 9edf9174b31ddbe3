/* A repository in memory, whose files can be damaged and put back. */
#ifndef TESTS_TAMPER_MEMORY_H
#define TESTS_TAMPER_MEMORY_H

#include "store/backend.h"

struct memory_file {
    enum backend_type type;
    struct store_id id;
    struct buf bytes;
};

struct memory_files {
    struct memory_file *p;
    size_t n, room;
};

struct memory {
    struct backend base;
    struct memory_files files;
};

void memory_init(struct memory *m);

/* *to becomes a copy; what it held is freed. */
void memory_copy(const struct memory_files *from, struct memory_files *to);
void memory_free(struct memory_files *files);

/* The place of a file; files.n if there is none. */
size_t memory_find(const struct memory_files *files, enum backend_type type,
                   const struct store_id *id);

void memory_add(struct memory_files *files, enum backend_type type, const struct store_id *id,
                str bytes);
void memory_drop(struct memory_files *files, size_t at);

#endif
