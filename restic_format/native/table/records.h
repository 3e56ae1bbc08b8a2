/* From the header of a pack to its record in an index, as JSON. */
#ifndef RESTIC_FORMAT_RECORDS_H
#define RESTIC_FORMAT_RECORDS_H

#include "format.h"

#include <stddef.h>
#include <stdint.h>

/* The plaintext of a header, *size* bytes, as the record of the pack *id*: *json is to be freed, *length bytes long. *blobs is how
 * many there are, *sealed the bytes of all of them. Blobs may be *compressed* or must not be. 0, -1 without memory, or -2 where
 * anything is wrong or only unusual, such as a blob that begins above 4 GiB: then nothing is to be freed. */
int record_write(const uint8_t *header, size_t size, const uint8_t *id, int compressed, char **json, size_t *length,
                 size_t *blobs, uint64_t *sealed);

#endif
