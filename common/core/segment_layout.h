/* How a segment's file is laid out; all a reader must know beside the schema text within.
 *
 *   0          struct segment_header
 *   4 KiB      the schema text
 *   64 KiB     the directory: struct segment_entry each
 *   16 MiB     shared parts
 *   32 MiB     slot records, in chunks: a chunk holds 64 KiB for each of the 512 slots,
 *              behind one another, and an object's records lie at the same place in each of
 *              them. So a worker's records are close together, whatever the number of workers.
 *
 * The file is sparse: what nobody wrote takes no memory. Numbers are of the writer's byte order. */
#ifndef RPD_CORE_SEGMENT_LAYOUT_H
#define RPD_CORE_SEGMENT_LAYOUT_H

#include <stdint.h>
#include "common/core/stats.h"

#define SEGMENT_MAGIC "rpdstats"
#define SEGMENT_LAYOUT 1
#define SEGMENT_BYTE_ORDER UINT32_C(0x01020304)

struct segment_header {
    char magic[8];
    uint32_t layout;
    uint32_t byte_order;
    uint64_t schema_offset, schema_size;
    uint64_t directory_offset;
    uint64_t entry_size;
    uint64_t entries_max;
    uint64_t stride;    /* from a slot's record to the next slot's */
    uint64_t slots_max;
    uint64_t created_us; /* since 1970 */
    uint64_t reserved[6];
    /* What changes lies on cache lines of its own. */
    uint64_t count;     /* entries; written with release after the entry */
    uint64_t slots;     /* in use */
};

struct segment_entry {
    uint64_t kind;
    uint64_t is_used;
    uint64_t shared_offset; /* in the file; 0: none */
    uint64_t slot_offset;   /* of slot 0's record; 0: none */
    char name[STATS_NAME_MAX];
};

#endif
