/* The memory budget and the bounds of the store, in one table. Each row is a cap: what would pass
 * it is refused (ERR_TOO_LARGE, ERR_CORRUPT), never truncated. The bytes of a repository are
 * written by strangers until they are verified. */
#ifndef STORE_LIMITS_H
#define STORE_LIMITS_H

#include <stdint.h>

/* Sizes in bytes. */
#define STORE_PACK_TARGET (16u << 20)      /* a data pack is closed when it reaches this */
#define STORE_TREE_PACK_TARGET (4u << 20)  /* a tree pack: small, because it waits for flush */
#define STORE_MOVER_PACK_TARGET (8u << 20) /* in a mover: three of them fit into 64 MiB */
#define STORE_LEAN_INDEX (12u << 20)       /* a lean index of this size makes room: */
#define STORE_LEAN_PACK (4u << 20)         /* data packs become so small, tree packs half of that */
#define STORE_LEAN_INDEX_BIG (20u << 20)   /* of this size, more: repository_crowding */
#define STORE_QUEUE_BYTES (8u << 20)       /* plaintext that waits for a writer's threads */
#define STORE_PACK_HEADER_MAX (16u << 20)  /* restic's own bound */
#define STORE_AHEAD_BYTES (8u << 20) /* plaintext that a reader loads ahead: one chunk at most */
#define STORE_BLOB_MAX (256u << 20)  /* plaintext of one blob; a tree of a million files */
#define STORE_CHUNK_MIN (512u << 10) /* content-defined chunks */
#define STORE_CHUNK_MAX (8u << 20)
#define STORE_FILE_MAX (64u << 20)       /* stored size of an index, snapshot, lock, key, config */
#define STORE_SMALL_FILE_MAX (8u << 20)  /* plaintext of a snapshot, lock, config; a key file */
#define STORE_INDEX_TEXT_MAX (1u << 30)  /* plaintext of an index file; it is streamed */
#define STORE_SCRYPT_MEMORY (256u << 20) /* 128 * N * r of a key file */
#define STORE_REST_LIST_MAX (256u << 20) /* one REST listing */
#define STORE_S3_PAGE_MAX (4u << 20)     /* one page of an S3 listing: 1000 objects */

/* Counts. */
#define STORE_KEYS_MAX 1000
#define STORE_KEYS_TRIED 20    /* as restic */
#define STORE_QUEUE_JOBS 128   /* blobs that wait for a writer's threads */
#define STORE_WRITER_THREADS 4 /* two that seal while two upload */
#define STORE_MOVER_THREADS 3  /* in a mover: one more seals while two upload */
#define STORE_MOVER_UPLOADS 2
#define STORE_LEAN_IDS 24000000 /* of stored data that a lean index keeps: 320 MiB */
#define STORE_PACK_BLOBS 8192   /* a pack is closed at this many: its header is small */
#define STORE_AHEAD_BLOBS 16    /* that a reader loads ahead */
#define STORE_AHEAD_THREADS 4   /* of a reader: some wait for the store while two open and check */
#define STORE_INDEX_BLOBS 50000 /* blobs after which an index file is written */
#define STORE_INDEX_SECONDS 600 /* or this long after the last one */
#define STORE_PACKS_MAX 0x7ffffff0u /* packs of one repository */
#define STORE_TREE_DEPTH 2048       /* directories below each other */
#define STORE_S3_FILES_MAX 4000000  /* files of one type in a bucket: 40 bytes each for a list */
#define STORE_SNAPSHOTS_MAX 1000000
#define STORE_LOCKS_MAX 10000 /* lock files that are looked at */

#endif
