/* From sealed blobs to files: what a restore does to a piece of a pack, without the interpreter. */
#ifndef RESTIC_FORMAT_PLACES_H
#define RESTIC_FORMAT_PLACES_H

#include "blobs.h"
#include "files.h"

/* One place a blob goes to: the whole of a file that must not exist yet, or a part of one that is open. */
typedef struct {
    size_t blob;         /* number of the opening */
    int descriptor;      /* an open file, or -1 for a new one */
    uint64_t offset;     /* in the open file */
    int directory;       /* descriptor of the new file's directory */
    const char *name;
    size_t name_length;
    files_meta meta;
    uint8_t *traits;     /* of that directory */
    int done;
} place;

/* Opens the *blobs* in *data* and writes each intact one to its places, which stand in the order of their blobs; *done* says
 * which places are dealt with. -1 without memory. */
int places_write(blobs_context *context, const uint8_t *data, size_t size, blobs_opening *blobs, size_t blob_count, place *places,
                 size_t count, const files_owner *self);

#endif
