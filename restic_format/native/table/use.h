/* Which blobs of a table are used, and which copy of each is kept: what a prune decides by. A byte for each row. */
#ifndef RESTIC_FORMAT_USE_H
#define RESTIC_FORMAT_USE_H

#include "table.h"
#include "trees.h"

/* Bits of a row. */
enum {
    USE_USED = 1,   /* something needs the blob; until use_choose only its last row says so */
    USE_OPEN = 2,   /* one of several copies among which the one to be kept is not chosen yet */
    USE_KEPT = 4,   /* the copy that is kept */
    USE_AGAIN = 8   /* listed by another row as well: not a copy of its own */
};

/* How far a pack can be relied on: a copy in a pack with a lower number is preferred, whatever else speaks for another one. */
enum { USE_STORED = 0, USE_MARKED = 1, USE_MISSING = 2 };

/* What becomes of a pack. */
enum { USE_STAYS = 0, USE_GOES = 1, USE_REPACKED = 2 };

typedef struct {
    const table *table;
    uint8_t *rows; /* bits */
    size_t count;
} blob_use;

/* What a pack has, in blobs and in sealed bytes. */
typedef struct {
    uint64_t used_size, unused_size, copies_size;
    uint32_t used;   /* blobs that are kept here */
    uint32_t unused; /* all others */
    uint32_t copies; /* of those, blobs that are kept elsewhere */
    uint32_t plain;  /* of all, those that are stored uncompressed */
    uint32_t types;  /* TABLE_HAS_DATA, TABLE_HAS_TREES */
    uint32_t unset;
} use_pack;

/* Marks a blob as used: 1, 0 where it was so already, -1 where the table has it not. Threads may do so at the same time. */
int use_mark(blob_use *use, uint8_t type, const uint8_t *id);
/* Marks the blobs of the files in a tree, then the trees of its directories. Lists of ids, to be freed: *fresh has the trees that
 * were not marked before or are not in the table, *missing the data blobs that are not in the table. 0, -1 without memory, or -2
 * where the tree is not of restic's usual form: then no tree is marked, and somebody else must look at it. */
typedef struct {
    uint8_t *ids;
    size_t count, room;
} use_ids;
int use_mark_tree(blob_use *use, const char *json, size_t size, use_ids *fresh, use_ids *missing);

/* What is marked here and is not in *other, of the same table: before use_choose. */
typedef struct {
    uint64_t data, trees;
    uint64_t bytes; /* of plaintext */
} use_count;
void use_beyond(const blob_use *use, const blob_use *other, use_count *found);

/* Chooses which copy of each used blob is kept, and counts. *trust has for each of *packs* packs how far it can be relied on. */
void use_choose(blob_use *use, const uint8_t *trust, use_pack *packs);
/* Where a pack that stays has a copy of a blob, no other copy need be kept for its sake. */
void use_release(blob_use *use, const uint8_t *fate);
/* The kept rows of packs that are repacked, as table_order has all of them. *order has room for use_repacked rows. */
size_t use_repacked(const blob_use *use, const uint8_t *fate);
int use_order(const blob_use *use, const uint8_t *fate, size_t packs, uint32_t *order, uint32_t *starts);

#endif
