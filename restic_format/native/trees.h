/* Trees looked through without making objects of them: for a check, which wants to know whether all is well and what is below. */
#ifndef RESTIC_FORMAT_TREES_H
#define RESTIC_FORMAT_TREES_H

#include "table.h"

enum {
    TREES_NAME, TREES_TYPE, TREES_MODE, TREES_MTIME, TREES_ATIME, TREES_CTIME, TREES_UID, TREES_GID, TREES_USER, TREES_GROUP,
    TREES_INODE, TREES_DEVICE_ID, TREES_SIZE, TREES_LINKS, TREES_LINKTARGET, TREES_LINKTARGET_RAW, TREES_EXTENDED_ATTRIBUTES,
    TREES_GENERIC_ATTRIBUTES, TREES_DEVICE, TREES_CONTENT, TREES_SUBTREE, TREES_ERROR, TREES_FIELDS
};

typedef struct {
    const uint8_t *start;
    size_t length;
} trees_text;

/* An entry of a tree, as its JSON says. */
typedef struct {
    uint32_t seen; /* bit n: field n */
    trees_text whole;
    trees_text texts[TREES_FIELDS]; /* as they are written, escapes included; those of fields that are plain texts */
    uint64_t numbers[TREES_FIELDS];
    const uint8_t *content; /* NULL where it is null or absent */
    size_t content_count;
} trees_node;

/* Shows a tree's entries to *visit* until that gives something else than 0, which is the result. -2 (TREES_UNUSUAL) where the
 * JSON is not of restic's form or a name needs a closer look: it has escapes, is none of a directory's entry, or is out of order. */
enum { TREES_UNUSUAL = -2 };
typedef int trees_visitor(void *to, const trees_node *node);
int trees_walk(const uint8_t *json, size_t size, trees_visitor *visit, void *to);
int trees_is(const trees_node *node, const char *type);
/* The id of one of the node's blobs; 0 where it is none. */
int trees_blob(const trees_node *node, size_t number, uint8_t id[32]);

/* Looks through the JSON of a tree: is every entry as it must be, is every blob of its files in the table, and do their
 * lengths add up to the files' sizes? Then 0, and *subtrees (to be freed) has the ids of its *count directories in order.
 * -1 without memory, -2 where anything is wrong or only unusual: then somebody else must look at it. */
int tree_check(const table *t, const uint8_t *json, size_t size, uint8_t **subtrees, size_t *count);

#endif
