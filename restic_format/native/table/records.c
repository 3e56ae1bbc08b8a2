/* The records of packs in an index, written as Go writes JSON. */
#include "records.h"

#include <stdlib.h>
#include <string.h>

enum {
    DIGITS = 10, /* of the largest number */
    FRAME = sizeof "{\"id\":\"\",\"blobs\":[]}" + FORMAT_HEX_SIZE,
    ENTRY = sizeof "{\"id\":\"\",\"type\":\"data\",\"offset\":,\"length\":,\"uncompressed_length\":}," + FORMAT_HEX_SIZE + 3 * DIGITS,
};

static char *put(char *at, const char *text, size_t length)
{
    memcpy(at, text, length);
    return at + length;
}
#define PUT(at, text) put(at, text, sizeof text - 1)

static char *put_id(char *at, const uint8_t *id)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < FORMAT_ID_SIZE; i++) {
        *at++ = digits[id[i] >> 4];
        *at++ = digits[id[i] & 15];
    }
    return at;
}

static char *put_number(char *at, uint32_t value)
{
    char digits[DIGITS];
    int count = 0;
    do
        digits[count++] = (char)('0' + value % 10);
    while (value /= 10);
    while (count)
        *at++ = digits[--count];
    return at;
}

static uint32_t number_at(const uint8_t *field)
{
    return field[0] | (uint32_t)field[1] << 8 | (uint32_t)field[2] << 16 | (uint32_t)field[3] << 24;
}

/* All blobs of the header, one after the other; NULL where anything is wrong or unusual. */
static char *put_blobs(char *at, const uint8_t *header, const uint8_t *end, int compressed, size_t *blobs, uint64_t *sealed)
{
    uint64_t offset = 0;
    *blobs = 0;
    while (header < end) {
        uint8_t kind = *header;
        int expands = kind >= FORMAT_COMPRESSED_KINDS;
        size_t entry = expands ? FORMAT_COMPRESSED_ENTRY_SIZE : FORMAT_PLAIN_ENTRY_SIZE;
        if (kind > FORMAT_KIND_COMPRESSED_TREE || (expands && !compressed) || (size_t)(end - header) < entry)
            return NULL;
        uint32_t length = number_at(header + FORMAT_ENTRY_LENGTH);
        uint32_t plain = expands ? number_at(header + FORMAT_ENTRY_UNCOMPRESSED_LENGTH) : 0;
        if (length < FORMAT_OVERHEAD || (expands && !plain) || offset > UINT32_MAX)
            return NULL;
        int tree = kind == FORMAT_KIND_TREE || kind == FORMAT_KIND_COMPRESSED_TREE;
        at = put_id(*blobs ? PUT(at, ",{\"id\":\"") : PUT(at, "{\"id\":\""), header + entry - FORMAT_ID_SIZE);
        at = tree ? PUT(at, "\",\"type\":\"tree\",\"offset\":") : PUT(at, "\",\"type\":\"data\",\"offset\":");
        at = put_number(at, (uint32_t)offset);
        at = put_number(PUT(at, ",\"length\":"), length);
        if (plain)
            at = put_number(PUT(at, ",\"uncompressed_length\":"), plain);
        at = PUT(at, "}");
        header += entry;
        offset += length;
        ++*blobs;
    }
    *sealed = offset;
    return *blobs ? at : NULL;
}

int record_write(const uint8_t *header, size_t size, const uint8_t *id, int compressed, char **json, size_t *length,
                 size_t *blobs, uint64_t *sealed)
{
    if (size > FORMAT_MAX_HEADER_SIZE)
        return -2;
    char *start = malloc(FRAME + (size / FORMAT_PLAIN_ENTRY_SIZE + 1) * ENTRY);
    if (!start)
        return -1;
    char *at = PUT(put_id(PUT(start, "{\"id\":\""), id), "\",\"blobs\":[");
    at = put_blobs(at, header, header + size, compressed, blobs, sealed);
    if (!at) {
        free(start);
        return -2;
    }
    at = PUT(at, "]}");
    *json = start;
    *length = (size_t)(at - start);
    return 0;
}
