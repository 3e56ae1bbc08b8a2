/* Blobs written to where a restore wants them, without the interpreter. */
#ifndef RESTIC_FORMAT_PLACES_H
#define RESTIC_FORMAT_PLACES_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t uid, gid, mode;
    int64_t atime, mtime; /* nanoseconds */
} places_meta;

/* Who creates files; a refused change of owner counts as failure only for root. */
typedef struct {
    uint32_t uid, gid;
} places_owner;

/* What the first file created in a directory shows of those that follow; 0 while nothing is known. */
enum { PLACES_KNOWN = 1, PLACES_OWN = 2 };

/* One place a blob goes to: the whole of a file that must not exist yet, or a part of one that is open. */
typedef struct {
    const uint8_t *data;
    size_t size;
    int descriptor;      /* an open file, or -1 for a new one */
    uint64_t offset;     /* in the open file */
    int directory;       /* descriptor of the new file's directory */
    const char *name;
    size_t name_length;
    places_meta meta;
    uint8_t *traits;     /* of that directory */
    int done;
} place;

/* Fills the places; *done* says which are dealt with. The others are not where anything is out of the ordinary (a new file exists,
 * a step fails, it has inherited attributes); the caller then starts over step by step.
 *
 * What a new file inherits is a matter of its directory: attributes by a default ACL or the system's labels, the group by the
 * set-group-ID bit or a mount option. So it is looked at for the first file, and remembered in *traits*. */
void places_write(place *places, size_t count, const places_owner *self);

#endif
