/* From a tree to the columns of a restore's plan: ordinary files are taken apart, everything else is only pointed at. */
#ifndef RESTIC_FORMAT_PLANS_H
#define RESTIC_FORMAT_PLANS_H

#include "growing.h"
#include "table.h"
#include "trees.h"

/* Each column as many items of 1, 2, 4 or 8 bytes as there are files, blobs of files, or other entries. */
enum {
    /* files */
    PLANS_SIZE,         /* 8 bytes */
    PLANS_BLOBS,        /* 4: how many the content has */
    PLANS_PERMISSIONS,  /* 2: for chmod */
    PLANS_UID,          /* 4 */
    PLANS_GID,          /* 4 */
    PLANS_ATIME,        /* 8: nanoseconds since the epoch */
    PLANS_MTIME,        /* 8 */
    PLANS_NAMES,        /* bytes: all names, nothing between them */
    PLANS_NAME_ENDS,    /* 8: where each ends */
    /* their blobs */
    PLANS_IDS,          /* 32 */
    PLANS_PACK,         /* 4: number in the table */
    PLANS_OFFSET,       /* 8 */
    PLANS_LENGTH,       /* 4 */
    PLANS_UNCOMPRESSED, /* 4: 0 for none */
    PLANS_FILE,         /* 4: number of the file */
    PLANS_FILE_OFFSET,  /* 8: where in it */
    /* the other entries */
    PLANS_OTHERS,       /* 8 and 8: where the JSON of the entry begins in that of the tree, and where it ends */
    PLANS_COLUMNS
};

/* Files are numbered from *file* on, ends of names counted from *names* on. 0, -1 without memory, -2 where the tree is not of
 * restic's usual form. The columns are to be freed in any case.
 *
 * Ordinary is a file with one name, whose size is that of its blobs, all of which the table knows with lengths up to *largest*;
 * without extended attributes; with an owner, and times from the years 1700 to 2200. */
int plans_read(const table *t, const char *json, size_t size, uint32_t file, uint64_t names, uint32_t largest,
               growing columns[PLANS_COLUMNS]);

/* Nanoseconds since the epoch of a time as Go writes it; 0 for any other text, and for years far away. */
int plans_time(json_text text, int64_t *ns);

#endif
