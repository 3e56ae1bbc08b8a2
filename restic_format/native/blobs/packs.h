/* A whole pack looked through piece by piece: its hash, each blob and the header, against the header it must have. */
#ifndef RESTIC_FORMAT_PACKS_H
#define RESTIC_FORMAT_PACKS_H

#include "blobs.h"

typedef struct {
    const uint8_t *header; /* the plaintext; it says which blobs follow each other, and how long they are */
    size_t header_size;
    size_t at;             /* what of the header has been dealt with */
    size_t largest;        /* bytes a blob may have at most */
    int done;              /* the pack's own header has been seen, too */
    sha_stream hash;
} packs_check;

void packs_begin(packs_check *check, const uint8_t *header, size_t header_size, size_t largest);

/* Whether no blob that the header lists is too large to be read at once; packs_ahead and packs_take are for such packs only. */
int packs_fits(const packs_check *check);

/* How many bytes of the pack come next: whole blobs of about *most* bytes together, at the end with the header; 0 after that. */
size_t packs_ahead(const packs_check *check, size_t most);

/* Takes the next *size* bytes of the pack, as many as packs_ahead said, and adds them to the hash: 1 if all in them is as it
 * must be, 0 if anything is not, BLOBS_NO_MEMORY. */
int packs_take(packs_check *check, blobs_context *context, const uint8_t *data, size_t size);

#endif
