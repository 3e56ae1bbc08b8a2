/* The blobs of a repository in columns, with a hash table of row numbers over them; and restic's index files decoded
 * straight into such columns. About 60 bytes a blob, all in.
 *
 * Ids come from the repository, and whoever can write there chooses them: where a row goes depends on a secret seed, so that
 * nobody can make rows collide, and the copies of one blob share one slot. A look-up takes a few steps whatever is in the table. */
#ifndef RESTIC_FORMAT_TABLE_H
#define RESTIC_FORMAT_TABLE_H

#include <stddef.h>
#include <stdint.h>

enum { TABLE_SEED = 5 };

typedef struct {
    uint8_t *ids;       /* 32 bytes a row */
    uint8_t *types;     /* 0 data, 1 tree */
    uint32_t *packs, *offsets, *lengths, *plain;
    size_t count, room;
    size_t placed;      /* rows that the slots know */
    /* Linear probing over a power of two of slots; one for each blob. A slot has the number of the blob's last copy, and a
     * byte of its hash, 0 for an empty slot. */
    uint32_t *slots;
    uint8_t *tags;
    size_t slot_count;
    uint32_t *following; /* of a copy the next one, of the last one the first: NULL as long as no blob has two */
    uint64_t seed[TABLE_SEED];
    uint8_t *pack_ids;  /* 32 bytes each: the packs of a decoded file, in the order they stand */
    size_t pack_count, pack_room;
} table;

void table_init(table *t, const uint64_t seed[TABLE_SEED]);
void table_free(table *t);
/* 0, or -1 without memory. */
int table_add(table *t, uint8_t type, const uint8_t *id, uint32_t pack, uint32_t offset, uint32_t length, uint32_t plain);
/* The row that was added last for that blob, or -1. */
int64_t table_last(const table *t, uint8_t type, const uint8_t *id);
/* The row that was added next after *row* for the same blob; after the last one the first. */
uint32_t table_following(const table *t, uint32_t row);
/* The row that was added first for that blob, or -1. */
int64_t table_first(const table *t, uint8_t type, const uint8_t *id);
/* The most slots that any look-up goes through. */
size_t table_longest_search(const table *t);
/* Adds all rows of *from*, whose pack n is pack numbers[n] here; they are found after table_settle. */
int table_merge(table *t, const table *from, const uint32_t *numbers);
int table_settle(table *t);
/* Makes room for about *rows* rows in all, at least for those there are; then merging also makes them findable, as long as it
 * is enough. */
int table_expect(table *t, size_t rows);

/* An empty table with room for exactly *rows* rows and *slots* slots, and for *copies* with it, to be filled from outside; then
 * table_adopt. */
int table_allocate(table *t, size_t rows, size_t slots, int copies);
/* Takes *rows* rows and the slots as they were put there, if they can be those of a table of *packs* packs; otherwise -1. */
int table_adopt(table *t, size_t rows, size_t packs);

/* All rows in the order of their packs, and within a pack of their offsets: *order* has room for count of them; the rows of
 * pack n are those from starts[n] up to starts[n + 1], which has room for packs + 1. 0, or -1 where a pack is above *packs*. */
int table_order(const table *t, size_t packs, uint32_t *order, uint32_t *starts);

/* What the rows order[0 … count - 1], those of a pack, say of its file: its size with the header, and TABLE_… bits. */
enum { TABLE_HAS_DATA = 1, TABLE_HAS_TREES = 2, TABLE_GAPS = 4 };
uint64_t table_layout(const table *t, const uint32_t *order, size_t count, int *bits);
/* The header such a pack must have; *header* has room for TABLE_ENTRY bytes a row. Gives its length. */
enum { TABLE_ENTRY = 41 };
size_t table_header(const table *t, const uint32_t *order, size_t count, uint8_t *header);

/* Decodes an index as restic writes it into an empty table without slots; pack numbers count from 0 in its pack_ids.
 * 0, -1 without memory, or -2 where the text is anything but restic's usual form: then somebody else must look at it. */
int table_decode(table *t, const char *json, size_t size);

#endif
