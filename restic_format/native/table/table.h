/* The blobs of a repository in columns, with a hash table of row numbers over them, and the packs they are in. About 60 bytes a
 * blob, all in. Copies of a blob share one slot, so that a search takes a few steps whatever is in an index. */
#ifndef RESTIC_FORMAT_TABLE_H
#define RESTIC_FORMAT_TABLE_H

#include "idset.h"

enum { TABLE_REPEATED = 1 };

typedef struct {
    uint8_t *ids;        /* 32 bytes a row */
    uint8_t *types;      /* 0 data, 1 tree */
    uint32_t *packs, *offsets, *lengths, *plain;
    size_t count, room;
    size_t placed;       /* rows that the slots know */
    id_slots slots;      /* of a blob the row of its last copy */
    uint32_t *following; /* of a copy the next one, of the last one the first: NULL as long as no blob has two */
    id_set pack_ids;
    uint8_t *pack_flags; /* TABLE_REPEATED where more than one record of an index lists it */
    size_t pack_room;
} table;

/* What an index file lists: its packs, and rows whose packs are numbered as they stand there. */
typedef struct {
    table rows;          /* columns only, nothing is found in them */
    id_set packs;        /* not searched */
    size_t *marked;      /* where each record of a pack that is marked for deletion begins in the JSON, and where it ends */
    size_t marked_count, marked_room;
} index_file;

void table_init(table *t, const uint64_t seed[ID_SEED]);
void table_free(table *t);
/* 0, or -1 without memory. */
int table_add(table *t, uint8_t type, const uint8_t *id, uint32_t pack, uint32_t offset, uint32_t length, uint32_t plain);
/* The number of a pack that one more record lists, or -1 without memory. */
int64_t table_add_pack(table *t, const uint8_t *id);
/* The row that was added last for that blob, or -1. */
int64_t table_last(const table *t, uint8_t type, const uint8_t *id);
/* The row that was added next after *row* for the same blob; after the last one the first. */
uint32_t table_following(const table *t, uint32_t row);
/* The row that was added first for that blob, or -1. */
int64_t table_first(const table *t, uint8_t type, const uint8_t *id);
/* Adds what *from* lists; rows are found after table_settle. */
int table_merge(table *t, const index_file *from);
int table_settle(table *t);
/* Makes room for about *rows* rows in all, at least for those there are; then merging also makes them findable, as long as it
 * is enough. */
int table_expect(table *t, size_t rows);

/* An empty table with room for exactly *rows* rows, *slots* slots and *packs* packs, and for *copies* with it, to be filled from
 * outside; then table_adopt. */
int table_allocate(table *t, size_t rows, size_t slots, int copies, size_t packs);
/* Takes the rows, slots and packs as they were put there, if they can be those of a table; otherwise -1. */
int table_adopt(table *t, size_t rows, size_t packs);

/* All rows in the order of their packs, and within a pack of their offsets: *order* has room for count of them; the rows of
 * pack n are those from starts[n] up to starts[n + 1], which has room for packs + 1. 0, or -1 where a pack is above *packs*. */
int table_order(const table *t, size_t packs, uint32_t *order, uint32_t *starts);
/* The end of it, once each start of *starts has been moved on to the next one's place: puts them back, and sorts. */
int table_sort_starts(const table *t, size_t packs, uint32_t *order, uint32_t *starts);

/* What the rows order[0 … count - 1], those of a pack, say of its file: its size with the header, and TABLE_… bits. */
enum { TABLE_HAS_DATA = 1, TABLE_HAS_TREES = 2, TABLE_GAPS = 4 };
uint64_t table_layout(const table *t, const uint32_t *order, size_t count, int *bits);
/* The header such a pack must have; *header* has room for TABLE_ENTRY bytes a row. Gives its length. */
enum { TABLE_ENTRY = FORMAT_COMPRESSED_ENTRY_SIZE };
size_t table_header(const table *t, const uint32_t *order, size_t count, uint8_t *header);

void index_file_free(index_file *file);
int index_file_add_pack(index_file *file, const uint8_t *id);
/* A blob of the pack that was added last. */
int index_file_add(index_file *file, uint8_t type, const uint8_t *id, uint32_t offset, uint32_t length, uint32_t plain);
/* Decodes an index into an empty one: 0, -1 without memory, or -2 where anything is wrong or only unusual, as a name with
 * escapes or a member twice: then somebody else must look at it. */
int index_file_decode(index_file *file, const char *json, size_t size);

#endif
