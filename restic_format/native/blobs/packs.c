#include "packs.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    size_t entry;           /* bytes in the header */
    size_t sealed, plain;
    int compressed;
    const uint8_t *id;
} listed;

static uint32_t little_endian(const uint8_t *at)
{
    return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
}

/* The blob whose entry begins at *at*, which is inside the header; 0 where it is invalid. */
static int read_entry(const packs_check *check, size_t at, listed *blob)
{
    const uint8_t *from = check->header + at;
    blob->compressed = from[0] >= FORMAT_COMPRESSED_KINDS;
    blob->entry = blob->compressed ? FORMAT_COMPRESSED_ENTRY_SIZE : FORMAT_PLAIN_ENTRY_SIZE;
    if (from[0] > FORMAT_KIND_COMPRESSED_TREE || check->header_size - at < blob->entry)
        return 0;
    blob->sealed = little_endian(from + FORMAT_ENTRY_LENGTH);
    if (blob->sealed < BLOBS_OVERHEAD)
        return 0;
    blob->plain = blob->compressed ? little_endian(from + FORMAT_ENTRY_UNCOMPRESSED_LENGTH) : blob->sealed - BLOBS_OVERHEAD;
    blob->id = from + blob->entry - BLOBS_ID;
    return 1;
}

void packs_begin(packs_check *check, const uint8_t *header, size_t header_size, size_t largest)
{
    *check = (packs_check){header, header_size, 0, largest, 0, {{0}}};
    sha_begin(&check->hash);
}

int packs_fits(const packs_check *check)
{
    listed blob;
    for (size_t at = 0; at < check->header_size && read_entry(check, at, &blob); at += blob.entry)
        if (blob.plain > check->largest || blob.sealed > check->largest + BLOBS_OVERHEAD)
            return 0;
    return 1;
}

static size_t tail(const packs_check *check)
{
    return check->header_size + BLOBS_OVERHEAD + FORMAT_LENGTH_SIZE;
}

size_t packs_ahead(const packs_check *check, size_t most)
{
    listed blob;
    size_t at = check->at, size = 0;
    if (check->done)
        return 0;
    while (at < check->header_size && read_entry(check, at, &blob)) {
        if (size && size + blob.sealed > most)
            return size;
        size += blob.sealed;
        at += blob.entry;
    }
    return size + tail(check);
}

static int good_tail(const packs_check *check, blobs_context *context, const uint8_t *data, size_t size)
{
    size_t sealed = check->header_size + BLOBS_OVERHEAD;
    if (size != sealed + FORMAT_LENGTH_SIZE || little_endian(data + sealed) != sealed)
        return 0;
    uint8_t *plain = malloc(check->header_size + 1);
    if (!plain)
        return BLOBS_NO_MEMORY;
    int good = blobs_open(context, data, sealed, 0, NULL, plain, check->header_size) == (int64_t)check->header_size &&
               !memcmp(plain, check->header, check->header_size);
    free(plain);
    return good;
}

int packs_take(packs_check *check, blobs_context *context, const uint8_t *data, size_t size)
{
    listed blob;
    size_t at = check->at, count = 0, room = 64, start = 0;
    int good = 1;
    blobs_opening *work = malloc(room * sizeof *work);
    if (!work)
        return BLOBS_NO_MEMORY;
    while (at < check->header_size) {
        if (!read_entry(check, at, &blob)) {
            good = 0;
            at = check->header_size;
            break;
        }
        if (blob.sealed > size - start)
            break;
        if (count == room) {
            room *= 2;
            blobs_opening *grown = realloc(work, room * sizeof *work);
            if (!grown) {
                free(work);
                return BLOBS_NO_MEMORY;
            }
            work = grown;
        }
        if (blob.plain > check->largest)
            good = 0;
        else
            work[count++] = (blobs_opening){blob.id, start, blob.sealed, blob.plain, 0, blob.compressed, 0, {{0}}};
        start += blob.sealed;
        at += blob.entry;
    }
    blobs_open_many(context, data, size, work, count, NULL, &check->hash);
    for (size_t i = 0; i < count; i++)
        good &= work[i].opened;
    free(work);
    check->at = at;
    if (start < size || at == check->header_size) {
        check->done = 1;
        int whole = at == check->header_size ? good_tail(check, context, data + start, size - start) : 0;
        return whole < 0 ? whole : good && whole;
    }
    return good;
}
