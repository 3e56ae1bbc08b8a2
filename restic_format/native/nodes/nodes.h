/* Nodes of regular files and symlinks in restic's JSON: written from what a file is, and read just far enough to see whether a file is as
 * it was. Nothing here touches the interpreter. */
#ifndef RESTIC_FORMAT_NODES_H
#define RESTIC_FORMAT_NODES_H

#include "look.h"
#include "trees.h"

typedef json_text nodes_text;

/* What a tree says of one entry; texts are slices of the tree. */
typedef struct {
    nodes_text whole, name, mtime, ctime;
    nodes_text content; /* a list of ids, brackets included; empty where there is none */
    size_t blobs;       /* ids in it */
    uint64_t size, inode;
    int is_file;
} nodes_entry;

/* Where an entry and its name stand in the tree: what is kept of it, so that a tree of any number of tiny entries costs less than
 * its text. The entry is read again when it is found. */
typedef struct {
    uint32_t start, length, name, name_length;
} nodes_place;

typedef struct {
    nodes_place *places;
    size_t count, room;
} nodes_list;

typedef struct {
    const char *json;
    nodes_list plain;   /* ascending by name */
    nodes_list escaped; /* whose names have escapes, in the tree's order; others might write them in another way */
} nodes_tree;

/* Takes apart a tree of the form restic writes, which stays in use: 0, -1 without memory, or -2 where there is anything else
 * in it, or very many names with escapes; then somebody else must look at it. */
enum { NODES_MOST_ESCAPED = 1 << 16 };
int nodes_parse(nodes_tree *tree, const char *json, size_t size);
void nodes_free(nodes_tree *tree);
/* The text of an entry, and its name as it stands in JSON between its quotes. */
nodes_text nodes_whole(const nodes_tree *tree, const nodes_place *place);
nodes_text nodes_name(const nodes_tree *tree, const nodes_place *place);
/* The plain entry of that name; NULL where there is none. Going through names in order is fastest: *next* is where to look first,
 * 0 in the beginning. */
const nodes_place *nodes_find(const nodes_tree *tree, nodes_text name, size_t *next);
/* What the tree says of the entry there. */
void nodes_read(const nodes_tree *tree, const nodes_place *place, nodes_entry *entry);

/* Local time as restic writes it; parts of times seen before are kept. */
enum { NODES_SECONDS = 64, NODES_TIME = 40 };
typedef struct {
    int64_t seconds[NODES_SECONDS];
    char texts[NODES_SECONDS][20];
    char zones[NODES_SECONDS][8];
    uint8_t known[NODES_SECONDS];
} nodes_clock;
/* Its length, or -1 where the year is out of the ordinary. */
int nodes_time(nodes_clock *clock, int64_t second, uint32_t ns, char text[NODES_TIME]);

/* A regular file or symlink on its way into a tree. */
typedef struct {
    const look_stat *info;
    nodes_text name; /* as it stands in JSON between its quotes */
    nodes_text user, group, target; /* as they stand in a node, comma and key included; empty where there is none */
    nodes_text attributes; /* the list of extended attributes, brackets included; empty where there are none */
    uint64_t size; /* 0 for a symlink */
} nodes_file;

enum { NODES_WITH_ATIME = 1, NODES_DEVICE_FOR_LINKS = 2, NODES_IGNORE_CTIME = 4, NODES_IGNORE_INODE = 8 };

/* Room that the node of *file* takes at most, beside its content. */
size_t nodes_room(const nodes_file *file);
/* Writes the node; gives its length, or 0 where somebody else must do it. *content* is the list of ids, or ``null``; with
 * *before* the node is written only if the file is as *before* says, and has the content of that. */
size_t nodes_write(const nodes_file *file, nodes_text content, const nodes_entry *before, int flags, nodes_clock *clock,
                   char *out);
/* A list of ids: *count* of 32 bytes each. 67 characters each and 2 more are needed. */
size_t nodes_write_ids(const uint8_t *ids, size_t count, char *out);
/* The ids of such a list, 32 bytes each. */
void nodes_read_ids(nodes_text content, size_t count, uint8_t *ids);

#endif
