#define _GNU_SOURCE
#include "table.h"

#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <sys/mman.h>
#endif

#include "cursor.h"

enum { ID = 32, OVERHEAD = 32 };

void table_init(table *t, const uint64_t seed[TABLE_SEED])
{
    memset(t, 0, sizeof *t);
    memcpy(t->seed, seed, sizeof t->seed);
}

void table_free(table *t)
{
    free(t->ids);
    free(t->types);
    free(t->packs);
    free(t->offsets);
    free(t->lengths);
    free(t->plain);
    free(t->slots);
    free(t->tags);
    free(t->following);
    free(t->pack_ids);
    memset(t, 0, sizeof *t);
}

static int grow(void **memory, size_t count, size_t size)
{
    if (count > SIZE_MAX / size)
        return -1;
    void *grown = realloc(*memory, count * size);
    if (!grown)
        return -1;
    *memory = grown;
    return 0;
}

static int grow_columns(table *t, size_t room)
{
    if (grow((void **)&t->ids, room, ID) || grow((void **)&t->types, room, 1) ||
        grow((void **)&t->packs, room, sizeof(uint32_t)) || grow((void **)&t->offsets, room, sizeof(uint32_t)) ||
        grow((void **)&t->lengths, room, sizeof(uint32_t)) || grow((void **)&t->plain, room, sizeof(uint32_t)) ||
        (t->following && grow((void **)&t->following, room, sizeof(uint32_t))))
        return -1;
    t->room = room;
    return 0;
}

/* The halves of the product of two numbers, one upon the other. */
static uint64_t fold(uint64_t a, uint64_t b)
{
#ifdef __SIZEOF_INT128__
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
    uint64_t low = (a & UINT32_MAX) * (b & UINT32_MAX), cross = (a >> 32) * (b & UINT32_MAX);
    uint64_t other = (a & UINT32_MAX) * (b >> 32), middle = (low >> 32) + (cross & UINT32_MAX) + (other & UINT32_MAX);
    uint64_t high = (a >> 32) * (b >> 32) + (cross >> 32) + (other >> 32) + (middle >> 32);
    return a * b ^ high;
#endif
}

/* All of the id and all of the seed go into it. */
static uint64_t hash_of(const table *t, const uint8_t *id)
{
    uint64_t word[4];
    memcpy(word, id, sizeof word);
    return fold(fold(word[0] ^ t->seed[0], word[1] ^ t->seed[1]) ^ fold(word[2] ^ t->seed[2], word[3] ^ t->seed[3]), t->seed[4] | 1);
}

static size_t home(const table *t, uint64_t hash)
{
    return (size_t)hash & (t->slot_count - 1);
}

static uint8_t tag_of(uint64_t hash)
{
    uint8_t tag = (uint8_t)(hash >> 56);
    return tag ? tag : 1;
}

static int is_blob(const table *t, size_t row, uint8_t type, const uint8_t *id)
{
    return t->types[row] == type && !memcmp(t->ids + row * ID, id, ID);
}

/* The slot of that blob, or the empty one where it would be; there always is an empty one. */
static size_t slot_of(const table *t, uint8_t type, const uint8_t *id, uint64_t hash)
{
    size_t slot = home(t, hash);
    uint8_t tag = tag_of(hash);
    while (t->tags[slot] && !(t->tags[slot] == tag && is_blob(t, t->slots[slot], type, id)))
        slot = (slot + 1) & (t->slot_count - 1);
    return slot;
}

/* From now on blobs have copies; those so far have none. */
static int begin_copies(table *t)
{
    t->following = malloc((t->room ? t->room : 1) * sizeof *t->following);
    if (!t->following)
        return -1;
    for (size_t row = 0; row < t->count; row++)
        t->following[row] = (uint32_t)row;
    return 0;
}

static int place(table *t, size_t row, uint64_t hash)
{
    size_t slot = slot_of(t, t->types[row], t->ids + row * ID, hash);
    if (t->tags[slot]) {
        uint32_t last = t->slots[slot];
        if (!t->following && begin_copies(t))
            return -1;
        t->following[row] = t->following[last];
        t->following[last] = (uint32_t)row;
    } else {
        t->tags[slot] = tag_of(hash);
        if (t->following)
            t->following[row] = (uint32_t)row;
    }
    t->slots[slot] = (uint32_t)row;
    return 0;
}

/* Rows that so many slots are for: three quarters of them stay the most. */
static size_t most_rows(size_t slots)
{
    return slots / 4 * 3;
}

/* Rows that are not placed yet; there must be slots for them, or a search would not end. Where rows go is all over the memory:
 * it is asked for some rows ahead. */
static int place_rest(table *t)
{
    enum { AHEAD = 16 };
    uint64_t hashes[AHEAD];
    size_t asked = t->placed;
    if (t->count > most_rows(t->slot_count))
        return -1;
    for (size_t row = t->placed; row < t->count; row++) {
        for (; asked < t->count && asked < row + AHEAD; asked++) {
            uint64_t hash = hashes[asked % AHEAD] = hash_of(t, t->ids + asked * ID);
#ifdef __GNUC__
            __builtin_prefetch(t->tags + home(t, hash), 1);
            __builtin_prefetch(t->slots + home(t, hash), 1);
#endif
        }
        if (place(t, row, hashes[row % AHEAD]))
            return -1;
        t->placed = row + 1;
    }
    return 0;
}

/* Slots for *rows* rows, and for all there are. */
static int grow_slots(table *t, size_t rows)
{
    size_t wanted = t->slot_count ? t->slot_count : 1024;
    if (rows < t->count)
        rows = t->count;
    while (rows > most_rows(wanted)) {
        if (wanted > SIZE_MAX / 2 / sizeof *t->slots)
            return -1;
        wanted *= 2;
    }
    if (wanted == t->slot_count)
        return 0;
    uint32_t *slots = malloc(wanted * sizeof *slots);
    uint8_t *tags = calloc(wanted, 1);
    if (!slots || !tags) {
        free(slots);
        free(tags);
        return -1;
    }
    free(t->slots);
    free(t->tags);
    t->slots = slots;
    t->tags = tags;
    t->slot_count = wanted;
    t->placed = 0;
    return place_rest(t);
}

int table_expect(table *t, size_t rows)
{
    if (rows > UINT32_MAX - 1)
        rows = UINT32_MAX - 1;
    return (rows > t->room && grow_columns(t, rows)) || grow_slots(t, rows) ? -1 : 0;
}

int table_settle(table *t)
{
    if (t->placed == t->count)
        return 0;
    return grow_slots(t, t->count) || place_rest(t) ? -1 : 0;
}

static int append(table *t, uint8_t type, const uint8_t *id, uint32_t pack, uint32_t offset, uint32_t length, uint32_t plain)
{
    if (t->count == t->room && grow_columns(t, t->room ? t->room + t->room / 4 + 16 : 64))
        return -1;
    size_t row = t->count;
    memcpy(t->ids + row * ID, id, ID);
    t->types[row] = type;
    t->packs[row] = pack;
    t->offsets[row] = offset;
    t->lengths[row] = length;
    t->plain[row] = plain;
    t->count++;
    return 0;
}

int table_add(table *t, uint8_t type, const uint8_t *id, uint32_t pack, uint32_t offset, uint32_t length, uint32_t plain)
{
    if (t->count >= UINT32_MAX - 1 || table_settle(t) || grow_slots(t, t->count + 1) ||
        append(t, type, id, pack, offset, length, plain))
        return -1;
    return place_rest(t);
}

int64_t table_last(const table *t, uint8_t type, const uint8_t *id)
{
    if (!t->slot_count)
        return -1;
    size_t slot = slot_of(t, type, id, hash_of(t, id));
    return t->tags[slot] ? (int64_t)t->slots[slot] : -1;
}

uint32_t table_following(const table *t, uint32_t row)
{
    return t->following ? t->following[row] : row;
}

int64_t table_first(const table *t, uint8_t type, const uint8_t *id)
{
    int64_t last = table_last(t, type, id);
    return last < 0 ? last : (int64_t)table_following(t, (uint32_t)last);
}

size_t table_longest_search(const table *t)
{
    size_t longest = 0, length = 0;
    for (size_t slot = 0; slot < 2 * t->slot_count && length <= t->slot_count; slot++) {
        length = t->tags[slot & (t->slot_count - 1)] ? length + 1 : 0;
        longest = length > longest ? length : longest;
    }
    return longest + 1;
}

int table_merge(table *t, const table *from, const uint32_t *numbers)
{
    size_t old = t->count, wanted = old + from->count;
    if (wanted > UINT32_MAX - 1)
        return -1;
    if (wanted > t->room && grow_columns(t, wanted + wanted / 8))
        return -1;
    memcpy(t->ids + old * ID, from->ids, from->count * ID);
    memcpy(t->types + old, from->types, from->count);
    memcpy(t->offsets + old, from->offsets, from->count * sizeof(uint32_t));
    memcpy(t->lengths + old, from->lengths, from->count * sizeof(uint32_t));
    memcpy(t->plain + old, from->plain, from->count * sizeof(uint32_t));
    for (size_t row = 0; row < from->count; row++)
        t->packs[old + row] = numbers[from->packs[row]];
    t->count = wanted;
    return t->slot_count && wanted <= most_rows(t->slot_count) ? place_rest(t) : 0;
}

int table_allocate(table *t, size_t rows, size_t slots, int copies)
{
    if (rows >= UINT32_MAX || slots & (slots - 1) || rows > most_rows(slots) || grow_columns(t, rows ? rows : 1))
        return -1;
    t->slots = calloc(slots, sizeof *t->slots);
    t->tags = calloc(slots, 1);
    t->slot_count = slots;
    return !t->slots || !t->tags || (copies && begin_copies(t)) ? -1 : 0;
}

int table_adopt(table *t, size_t rows, size_t packs)
{
    size_t used = 0;
    uint32_t last = 0, following = 0, pack = 0;
    uint8_t type = 0;
    for (size_t slot = 0; slot < t->slot_count; slot++)
        if (t->tags[slot]) {
            used++;
            last = t->slots[slot] > last ? t->slots[slot] : last;
        }
    for (size_t row = 0; row < rows; row++) {
        type |= t->types[row];
        pack = t->packs[row] > pack ? t->packs[row] : pack;
        if (t->following)
            following = t->following[row] > following ? t->following[row] : following;
    }
    if (rows > t->room || (t->following ? used > rows || following >= rows : used != rows) || type > 1 ||
        (rows && (pack >= packs || last >= rows)))
        return -1;
    t->count = t->placed = rows;
    return 0;
}

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
        size += (uint64_t)t->lengths[row] + (t->plain[row] ? TABLE_ENTRY : TABLE_ENTRY - 4);
    }
    return size + OVERHEAD + 4; /* the header is sealed, its length stands after it */
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
        *to++ = (uint8_t)(t->types[row] | (t->plain[row] ? 2 : 0));
        to = little_endian(to, t->lengths[row]);
        if (t->plain[row])
            to = little_endian(to, t->plain[row]);
        memcpy(to, t->ids + (size_t)row * ID, ID);
        to += ID;
    }
    return (size_t)(to - header);
}

/* Decoding. */

static int hex_id(json_cursor *c, uint8_t *id)
{
    if (c->end - c->at < JSON_HEX_ID || !json_hex_id(c->at, id))
        return 0;
    c->at += JSON_HEX_ID;
    return 1;
}

static int number(json_cursor *c, uint32_t *value)
{
    uint64_t found;
    if (!json_number(c, UINT32_MAX, &found))
        return 0;
    *value = (uint32_t)found;
    return 1;
}

enum { UNUSUAL = -2 };

static int blob(table *t, json_cursor *c, uint32_t pack)
{
    uint8_t id[ID], type;
    uint32_t offset, length, plain = 0;
    if (!JSON_LITERAL(c, "{\"id\":\"") || !hex_id(c, id) || !JSON_LITERAL(c, "\",\"type\":\""))
        return UNUSUAL;
    if (JSON_LITERAL(c, "data"))
        type = 0;
    else if (JSON_LITERAL(c, "tree"))
        type = 1;
    else
        return UNUSUAL;
    if (!JSON_LITERAL(c, "\",\"offset\":") || !number(c, &offset) || !JSON_LITERAL(c, ",\"length\":") || !number(c, &length))
        return UNUSUAL;
    if (JSON_LITERAL(c, ",\"uncompressed_length\":") && !JSON_LITERAL(c, "null") && !number(c, &plain))
        return UNUSUAL;
    if (!JSON_LITERAL(c, "}") || length < OVERHEAD)
        return UNUSUAL;
    return append(t, type, id, pack, offset, length, plain);
}

static int add_pack(table *t, json_cursor *c)
{
    if (t->pack_count == t->pack_room) {
        size_t room = t->pack_room * 2 + 64;
        if (grow((void **)&t->pack_ids, room, ID))
            return -1;
        t->pack_room = room;
    }
    if (!JSON_LITERAL(c, "{\"id\":\"") || !hex_id(c, t->pack_ids + t->pack_count * ID) || !JSON_LITERAL(c, "\",\"blobs\":["))
        return UNUSUAL;
    uint32_t pack = (uint32_t)t->pack_count++;
    do {
        int failed = blob(t, c, pack);
        if (failed)
            return failed;
    } while (JSON_LITERAL(c, ","));
    return JSON_LITERAL(c, "]}") ? 0 : UNUSUAL;
}

int table_decode(table *t, const char *json, size_t size)
{
    json_cursor c = {json, json + size};
    enum { SHORTEST = 112 }; /* bytes of JSON about the smallest blob */
    if (!JSON_LITERAL(&c, "{\"packs\":["))
        return UNUSUAL;
    if (grow_columns(t, size / SHORTEST + 1))
        return -1;
    do {
        int failed = add_pack(t, &c);
        if (failed)
            return failed;
    } while (JSON_LITERAL(&c, ","));
    if (!JSON_LITERAL(&c, "]}"))
        return UNUSUAL;
    JSON_LITERAL(&c, "\n");
    return c.at == c.end ? 0 : UNUSUAL;
}
