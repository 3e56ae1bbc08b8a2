#include "table.h"

#include <stdlib.h>

void table_init(table *t, const uint64_t seed[ID_SEED])
{
    memset(t, 0, sizeof *t);
    memcpy(t->slots.seed, seed, sizeof t->slots.seed);
    memcpy(t->pack_ids.slots.seed, seed, sizeof t->pack_ids.slots.seed);
}

void table_free(table *t)
{
    free(t->ids);
    free(t->types);
    free(t->packs);
    free(t->offsets);
    free(t->lengths);
    free(t->plain);
    free(t->following);
    free(t->pack_flags);
    slots_free(&t->slots);
    id_free(&t->pack_ids);
    memset(t, 0, sizeof *t);
}

static int grow_columns(table *t, size_t room)
{
    if (id_grow((void **)&t->ids, room, ID_SIZE) || id_grow((void **)&t->types, room, 1) ||
        id_grow((void **)&t->packs, room, sizeof(uint32_t)) || id_grow((void **)&t->offsets, room, sizeof(uint32_t)) ||
        id_grow((void **)&t->lengths, room, sizeof(uint32_t)) || id_grow((void **)&t->plain, room, sizeof(uint32_t)) ||
        (t->following && id_grow((void **)&t->following, room, sizeof(uint32_t))))
        return -1;
    t->room = room;
    return 0;
}

static int is_blob(const table *t, size_t row, uint8_t type, const uint8_t *id)
{
    return t->types[row] == type && !memcmp(t->ids + row * ID_SIZE, id, ID_SIZE);
}

/* The slot of that blob, or the empty one where it would be. */
static size_t slot_of(const table *t, uint8_t type, const uint8_t *id, uint64_t hash)
{
    const id_slots *slots = &t->slots;
    size_t slot = slots_home(slots, hash);
    uint8_t tag = slots_tag(hash);
    while (slots->tags[slot] && !(slots->tags[slot] == tag && is_blob(t, slots->numbers[slot], type, id)))
        slot = slots_next(slots, slot);
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
    size_t slot = slot_of(t, t->types[row], t->ids + row * ID_SIZE, hash);
    if (t->slots.tags[slot]) {
        uint32_t last = t->slots.numbers[slot];
        if (!t->following && begin_copies(t))
            return -1;
        t->following[row] = t->following[last];
        t->following[last] = (uint32_t)row;
    } else {
        t->slots.tags[slot] = slots_tag(hash);
        if (t->following)
            t->following[row] = (uint32_t)row;
    }
    t->slots.numbers[slot] = (uint32_t)row;
    return 0;
}

/* Rows that are not placed yet; there must be slots for them, or a search would not end. Where rows go is all over the memory:
 * it is asked for some rows ahead. */
static int place_rest(table *t)
{
    enum { AHEAD = 16 };
    uint64_t hashes[AHEAD];
    size_t asked = t->placed;
    if (t->count > slots_most(t->slots.count))
        return -1;
    for (size_t row = t->placed; row < t->count; row++) {
        for (; asked < t->count && asked < row + AHEAD; asked++) {
            uint64_t hash = hashes[asked % AHEAD] = slots_hash(&t->slots, t->ids + asked * ID_SIZE);
#ifdef __GNUC__
            __builtin_prefetch(t->slots.tags + slots_home(&t->slots, hash), 1);
            __builtin_prefetch(t->slots.numbers + slots_home(&t->slots, hash), 1);
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
    size_t wanted = slots_for(rows > t->count ? rows : t->count, t->slots.count ? t->slots.count : 1024);
    if (wanted == t->slots.count)
        return 0;
    if (!wanted || slots_renew(&t->slots, wanted))
        return -1;
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
    if (t->count >= UINT32_MAX - 1 || (t->count == t->room && grow_columns(t, t->room + t->room / 4 + 64)))
        return -1;
    size_t row = t->count;
    memcpy(t->ids + row * ID_SIZE, id, ID_SIZE);
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
    if (table_settle(t) || grow_slots(t, t->count + 1) || append(t, type, id, pack, offset, length, plain))
        return -1;
    return place_rest(t);
}

int64_t table_add_pack(table *t, const uint8_t *id)
{
    int added;
    if (t->pack_ids.count == t->pack_room) {
        size_t room = t->pack_room + t->pack_room / 2 + 64;
        if (id_grow((void **)&t->pack_flags, room, 1))
            return -1;
        t->pack_room = room;
    }
    int64_t number = id_put(&t->pack_ids, id, &added);
    if (number >= 0)
        t->pack_flags[number] = added ? 0 : TABLE_REPEATED;
    return number;
}

int64_t table_last(const table *t, uint8_t type, const uint8_t *id)
{
    if (!t->slots.count)
        return -1;
    size_t slot = slot_of(t, type, id, slots_hash(&t->slots, id));
    return t->slots.tags[slot] ? (int64_t)t->slots.numbers[slot] : -1;
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

int table_merge(table *t, const index_file *file)
{
    const table *from = &file->rows;
    size_t old = t->count, wanted = old + from->count;
    if (wanted > UINT32_MAX - 1 || file->packs.count > UINT32_MAX - 1)
        return -1;
    uint32_t *numbers = malloc((file->packs.count + 1) * sizeof *numbers);
    if (!numbers || (wanted > t->room && grow_columns(t, wanted + wanted / 8))) {
        free(numbers);
        return -1;
    }
    for (size_t pack = 0; pack < file->packs.count; pack++) {
        int64_t number = table_add_pack(t, file->packs.ids + pack * ID_SIZE);
        if (number < 0) {
            free(numbers);
            return -1;
        }
        numbers[pack] = (uint32_t)number;
    }
    if (from->count) {
        memcpy(t->ids + old * ID_SIZE, from->ids, from->count * ID_SIZE);
        memcpy(t->types + old, from->types, from->count);
        memcpy(t->offsets + old, from->offsets, from->count * sizeof(uint32_t));
        memcpy(t->lengths + old, from->lengths, from->count * sizeof(uint32_t));
        memcpy(t->plain + old, from->plain, from->count * sizeof(uint32_t));
    }
    for (size_t row = 0; row < from->count; row++)
        t->packs[old + row] = numbers[from->packs[row]];
    free(numbers);
    t->count = wanted;
    return t->slots.count && wanted <= slots_most(t->slots.count) ? place_rest(t) : 0;
}

int table_allocate(table *t, size_t rows, size_t slots, int copies, size_t packs)
{
    if (rows >= UINT32_MAX || slots & (slots - 1) || rows > slots_most(slots) || packs >= UINT32_MAX ||
        grow_columns(t, rows ? rows : 1) || slots_renew(&t->slots, slots) || (copies && begin_copies(t)) ||
        id_grow((void **)&t->pack_ids.ids, packs ? packs : 1, ID_SIZE) || id_grow((void **)&t->pack_flags, packs ? packs : 1, 1))
        return -1;
    t->pack_room = packs;
    return 0;
}

/* Takes *packs* ids that were put beside the set. */
static int adopt_packs(table *t, size_t packs)
{
    id_set read = t->pack_ids;
    int added = 1;
    t->pack_ids.ids = NULL;
    t->pack_ids.count = t->pack_ids.room = 0;
    for (size_t pack = 0; pack < packs && added; pack++)
        if (id_put(&t->pack_ids, read.ids + pack * ID_SIZE, &added) < 0)
            added = 0;
    free(read.ids);
    return added ? 0 : -1;
}

int table_adopt(table *t, size_t rows, size_t packs)
{
    size_t used = 0;
    uint32_t last = 0, following = 0, pack = 0;
    uint8_t type = 0, flags = 0;
    for (size_t slot = 0; slot < t->slots.count; slot++)
        if (t->slots.tags[slot]) {
            used++;
            last = t->slots.numbers[slot] > last ? t->slots.numbers[slot] : last;
        }
    for (size_t row = 0; row < rows; row++) {
        type |= t->types[row];
        pack = t->packs[row] > pack ? t->packs[row] : pack;
        if (t->following)
            following = t->following[row] > following ? t->following[row] : following;
    }
    for (size_t number = 0; number < packs; number++)
        flags |= t->pack_flags[number];
    if (rows > t->room || (t->following ? used > rows || following >= rows : used != rows) || type > 1 || flags > TABLE_REPEATED ||
        (rows && (pack >= packs || last >= rows)) || adopt_packs(t, packs))
        return -1;
    t->count = t->placed = rows;
    return 0;
}

void index_file_free(index_file *file)
{
    table_free(&file->rows);
    id_free(&file->packs);
    free(file->marked);
    memset(file, 0, sizeof *file);
}

int index_file_add_pack(index_file *file, const uint8_t *id)
{
    return file->packs.count >= UINT32_MAX - 1 ? -1 : id_append(&file->packs, id);
}

int index_file_add(index_file *file, uint8_t type, const uint8_t *id, uint32_t offset, uint32_t length, uint32_t plain)
{
    return append(&file->rows, type, id, (uint32_t)(file->packs.count - 1), offset, length, plain);
}
