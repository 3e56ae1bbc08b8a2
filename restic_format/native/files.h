/* Creating many small files. System calls only, nothing of the interpreter. */
#ifndef RESTIC_FORMAT_FILES_H
#define RESTIC_FORMAT_FILES_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t uid, gid, mode;
    int64_t atime, mtime; /* nanoseconds */
} files_meta;

/* Who creates files; a refused change of owner counts as failure only for root. */
typedef struct {
    uint32_t uid, gid;
} files_owner;

/* What the first file created in a directory shows of those that follow; 0 while nothing is known. */
enum { FILES_KNOWN = 1, FILES_OWN = 2 };

/* Creates a regular file that must not exist yet, with everything that belongs to it: 0, or -1 where anything is out of
 * the ordinary (it exists, a step fails, it has inherited attributes); the caller then starts over step by step.
 *
 * What a new file inherits is a matter of its directory: attributes by a default ACL or the system's labels, the group by the
 * set-group-ID bit or a mount option. So it is looked at for the first file, and remembered in *traits*. */
int files_create(int directory, const char *name, size_t name_length, const uint8_t *data, size_t size, const files_meta *meta,
                 uint8_t *traits, const files_owner *self);

#endif
