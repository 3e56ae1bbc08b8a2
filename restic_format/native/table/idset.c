#include "idset.h"

#include <stdlib.h>

size_t slots_for(size_t things, size_t least)
{
    size_t wanted = least;
    while (things > slots_most(wanted)) {
        if (wanted > SIZE_MAX / 2 / sizeof(uint32_t))
            return 0;
        wanted *= 2;
    }
    return wanted;
}

int slots_renew(id_slots *slots, size_t count)
{
    uint32_t *numbers = malloc((count ? count : 1) * sizeof *numbers);
    uint8_t *tags = calloc(count ? count : 1, 1);
    if (!numbers || !tags) {
        free(numbers);
        free(tags);
        return -1;
    }
    slots_free(slots);
    slots->numbers = numbers;
    slots->tags = tags;
    slots->count = count;
    return 0;
}

void slots_free(id_slots *slots)
{
    free(slots->numbers);
    free(slots->tags);
    slots->numbers = NULL;
    slots->tags = NULL;
    slots->count = 0;
}

size_t slots_longest_search(const id_slots *slots)
{
    size_t longest = 0, length = 0;
    for (size_t slot = 0; slot < 2 * slots->count && length <= slots->count; slot++) {
        length = slots->tags[slot & (slots->count - 1)] ? length + 1 : 0;
        longest = length > longest ? length : longest;
    }
    return longest + 1;
}

int id_grow(void **memory, size_t count, size_t size)
{
    if (count > SIZE_MAX / size)
        return -1;
    void *grown = realloc(*memory, count * size);
    if (!grown)
        return -1;
    *memory = grown;
    return 0;
}

int id_append(id_set *set, const uint8_t *id)
{
    if (set->count == set->room) {
        size_t room = set->room + set->room / 2 + 64;
        if (id_grow((void **)&set->ids, room, ID_SIZE))
            return -1;
        set->room = room;
    }
    memcpy(set->ids + set->count++ * ID_SIZE, id, ID_SIZE);
    return 0;
}

/* The slot of *id*, or the empty one where it would be. */
static size_t slot_of(const id_set *set, const uint8_t *id)
{
    const id_slots *slots = &set->slots;
    uint64_t hash = slots_hash(slots, id);
    uint8_t tag = slots_tag(hash);
    size_t slot = slots_home(slots, hash);
    while (slots->tags[slot] &&
           !(slots->tags[slot] == tag && !memcmp(set->ids + (size_t)slots->numbers[slot] * ID_SIZE, id, ID_SIZE)))
        slot = slots_next(slots, slot);
    return slot;
}

static void place(id_set *set, size_t number, size_t slot)
{
    set->slots.tags[slot] = slots_tag(slots_hash(&set->slots, set->ids + number * ID_SIZE));
    set->slots.numbers[slot] = (uint32_t)number;
}

int64_t id_put(id_set *set, const uint8_t *id, int *added)
{
    *added = 0;
    if (set->count + 1 > slots_most(set->slots.count)) {
        size_t wanted = slots_for(set->count + 1, 256);
        if (set->count >= UINT32_MAX - 1 || !wanted || slots_renew(&set->slots, wanted))
            return -1;
        for (size_t number = 0; number < set->count; number++)
            place(set, number, slot_of(set, set->ids + number * ID_SIZE));
    }
    size_t slot = slot_of(set, id);
    if (set->slots.tags[slot])
        return set->slots.numbers[slot];
    if (id_append(set, id))
        return -1;
    place(set, set->count - 1, slot);
    *added = 1;
    return (int64_t)set->count - 1;
}

int64_t id_find(const id_set *set, const uint8_t *id)
{
    if (!set->slots.count)
        return -1;
    size_t slot = slot_of(set, id);
    return set->slots.tags[slot] ? (int64_t)set->slots.numbers[slot] : -1;
}

void id_free(id_set *set)
{
    free(set->ids);
    slots_free(&set->slots);
    memset(set, 0, sizeof *set);
}
