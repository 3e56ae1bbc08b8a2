/* Ids, and where each is found again: the places of a hash table depend on a secret seed, for ids come from the repository, and
 * whoever can write there chooses them. Nobody can make them collide. */
#ifndef RESTIC_FORMAT_IDSET_H
#define RESTIC_FORMAT_IDSET_H

#include "format.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ID_SIZE = FORMAT_ID_SIZE, ID_SEED = 5 };

/* Linear probing over a power of two of slots. A slot has the number of what is found there and a byte of its hash, 0 for an empty
 * one; at most three quarters of them are used, so that a search always comes to an empty one. */
typedef struct {
    uint32_t *numbers;
    uint8_t *tags;
    size_t count;
    uint64_t seed[ID_SEED];
} id_slots;

/* What so many slots are for. */
static inline size_t slots_most(size_t slots)
{
    return slots / 4 * 3;
}

/* How many slots are for so many, at least *least*, which is a power of two; 0 where that is too much memory. */
size_t slots_for(size_t things, size_t least);
/* *count* empty slots in the place of those there were: 0, or -1 without memory; then nothing has changed. */
int slots_renew(id_slots *slots, size_t count);
void slots_free(id_slots *slots);
/* The most slots that any search goes through. */
size_t slots_longest_search(const id_slots *slots);

/* The halves of the product of two numbers, one upon the other. */
static inline uint64_t slots_fold(uint64_t a, uint64_t b)
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
static inline uint64_t slots_hash(const id_slots *slots, const uint8_t *id)
{
    const uint64_t *seed = slots->seed;
    uint64_t word[4];
    memcpy(word, id, sizeof word);
    return slots_fold(slots_fold(word[0] ^ seed[0], word[1] ^ seed[1]) ^ slots_fold(word[2] ^ seed[2], word[3] ^ seed[3]), seed[4] | 1);
}

static inline size_t slots_home(const id_slots *slots, uint64_t hash)
{
    return (size_t)hash & (slots->count - 1);
}

static inline uint8_t slots_tag(uint64_t hash)
{
    uint8_t tag = (uint8_t)(hash >> 56);
    return tag ? tag : 1;
}

static inline size_t slots_next(const id_slots *slots, size_t slot)
{
    return (slot + 1) & (slots->count - 1);
}

/* Ids in the order they came. */
typedef struct {
    uint8_t *ids;
    size_t count, room;
    id_slots slots;
} id_set;

/* *memory* with room for *count* things of *size* bytes: 0, or -1 without memory. */
int id_grow(void **memory, size_t count, size_t size);
/* Appends *id* without looking whether it is there; such a list cannot be searched. */
int id_append(id_set *set, const uint8_t *id);
/* The number of *id*, which is added where it is not there (*added* says so); -1 without memory. */
int64_t id_put(id_set *set, const uint8_t *id, int *added);
/* The number of *id*, or -1. */
int64_t id_find(const id_set *set, const uint8_t *id);
void id_free(id_set *set);

#endif
