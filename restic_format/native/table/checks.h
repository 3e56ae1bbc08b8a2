/* What a check of a repository wants to know of a tree: whether all is well in it, and what is below. */
#ifndef RESTIC_FORMAT_CHECKS_H
#define RESTIC_FORMAT_CHECKS_H

#include "growing.h"
#include "table.h"
#include "trees.h"

/* Looks through the JSON of a tree: is every entry as it must be, is every blob of its files in the table, and do their
 * lengths add up to the files' sizes? Then 0, and *subtrees (to be freed) has the ids of its *count directories in order.
 * -1 without memory, -2 where anything is wrong or only unusual: then somebody else must look at it. */
int tree_check(const table *t, const char *json, size_t size, uint8_t **subtrees, size_t *count);

#endif
