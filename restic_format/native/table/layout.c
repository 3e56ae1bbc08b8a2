/* The rows of a table by packs. */
#include "table.h"

#include <stdlib.h>
#include <string.h>

static int by_key(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Sorts the rows of one pack by their offsets, equal ones by their numbers. */
static int sort_rows(const table *t, uint32_t *rows, size_t count)
{
    size_t sorted = 1;
    while (sorted < count && t->offsets[rows[sorted - 1]] <= t->offsets[rows[sorted]])
        sorted++;
    if (sorted >= count)
        return 0; /* as nearly every index has them */
    uint64_t *keys = malloc(count * sizeof *keys);
    if (!keys)
        return -1;
    for (size_t i = 0; i < count; i++)
        keys[i] = (uint64_t)t->offsets[rows[i]] << 32 | rows[i];
    qsort(keys, count, sizeof *keys, by_key);
    for (size_t i = 0; i < count; i++)
        rows[i] = (uint32_t)keys[i];
    free(keys);
    return 0;
}

int table_order(const table *t, size_t packs, uint32_t *order, uint32_t *starts)
{
    memset(starts, 0, (packs + 1) * sizeof *starts);
    for (size_t row = 0; row < t->count; row++) {
        if (t->packs[row] >= packs)
            return -1;
        starts[t->packs[row] + 1]++;
    }
    for (size_t pack = 0; pack < packs; pack++)
        starts[pack + 1] += starts[pack];
    for (size_t row = 0; row < t->count; row++)
        order[starts[t->packs[row]]++] = (uint32_t)row;
    return table_sort_starts(t, packs, order, starts);
}

int table_sort_starts(const table *t, size_t packs, uint32_t *order, uint32_t *starts)
{
    memmove(starts + 1, starts, packs * sizeof *starts); /* each start was moved to the next one's place */
    starts[0] = 0;
    for (size_t pack = 0; pack < packs; pack++)
        if (sort_rows(t, order + starts[pack], starts[pack + 1] - starts[pack]))
            return -1;
    return 0;
}

uint64_t table_layout(const table *t, const uint32_t *order, size_t count, int *bits)
{
    uint64_t size = 0, end = 0;
    *bits = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t row = order[i];
        if (t->offsets[row] != end)
            *bits |= TABLE_GAPS;
        end = (uint64_t)t->offsets[row] + t->lengths[row];
        *bits |= t->types[row] ? TABLE_HAS_TREES : TABLE_HAS_DATA;
        size += (uint64_t)t->lengths[row] + (t->plain[row] ? FORMAT_COMPRESSED_ENTRY_SIZE : FORMAT_PLAIN_ENTRY_SIZE);
    }
    return size + FORMAT_OVERHEAD + FORMAT_LENGTH_SIZE; /* the header is sealed, its length stands after it */
}

static uint8_t *little_endian(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        *to++ = (uint8_t)(value >> 8 * i);
    return to;
}

size_t table_header(const table *t, const uint32_t *order, size_t count, uint8_t *header)
{
    uint8_t *to = header;
    for (size_t i = 0; i < count; i++) {
        uint32_t row = order[i];
        *to++ = (uint8_t)(t->types[row] + (t->plain[row] ? FORMAT_COMPRESSED_KINDS : 0));
        to = little_endian(to, t->lengths[row]);
        if (t->plain[row])
            to = little_endian(to, t->plain[row]);
        memcpy(to, t->ids + (size_t)row * ID_SIZE, ID_SIZE);
        to += ID_SIZE;
    }
    return (size_t)(to - header);
}
