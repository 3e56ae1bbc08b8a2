/* Damage solved through the MAC: arithmetic modulo 2^130 - 5 over all blocks of a ciphertext.
 *
 * restic_spec.solving says what is worked out and why; nothing here touches the interpreter. Numbers are given modulo p in three
 * limbs, lowest first, and below p; r is clamped. Blocks are counted from 0. */
#ifndef RESTIC_FORMAT_SOLVING_H
#define RESTIC_FORMAT_SOLVING_H

#include <stddef.h>
#include <stdint.h>

enum { SOLVING_BLOCK = 16 };

typedef struct {
    uint64_t limb[3];
} solving_number;

/* A ciphertext and what is looked for in it. *wanted* are the differences, divided by the power of r that belongs to the block
 * looked at first; they are multiplied on from block to block. */
typedef struct {
    const uint8_t *data;
    size_t size;
    uint64_t r[2];
    solving_number *wanted;
    size_t count;
    size_t next, last;           /* blocks still to be looked at */
    unsigned least, most;        /* bytes a change may span */
} solving_search;

typedef struct {
    size_t start;
    uint8_t content[SOLVING_BLOCK];
    unsigned length;
} solving_candidate;

/* A reduced lattice: see restic_spec.solving.Lattice. *before* bytes of the window are before the border. */
typedef struct {
    unsigned __int128 x1, y1, x2, y2; /* two's complement, absolute values up to 2^124 */
    int steps1, steps2;
    unsigned before;
} solving_lattice;

void solving_polynomial(const uint64_t r[2], const uint8_t *data, size_t size, solving_number *value);

/* Both find at most *room* candidates, and go on behind the last block that was looked at when called again. *room* must hold what
 * one block can have: a candidate for each wanted difference, or for each point of the lattice near it. */
size_t solving_blocks(solving_search *search, solving_candidate *found, size_t room);
size_t solving_borders(solving_search *search, const solving_lattice *lattice, solving_candidate *found, size_t room);
size_t solving_points(const solving_lattice *lattice);

/* Every bit of some blocks by what the polynomial changes by when it is flipped. A slot has 32 bits of that in its upper half, and
 * in its lower one the bit's number, counted from 1 and from the first block's. */
typedef struct {
    uint64_t *slots;
    unsigned bits;               /* there are 2 to the power of this many slots */
    size_t first;
} solving_table;

typedef struct {
    uint64_t one, other;         /* numbers of two bits */
} solving_pair;

/* Fills slots that are zero; *power* is r to what belongs to the first block, *inverse* that of r. */
void solving_fill(solving_table *table, const uint8_t *data, size_t size, const solving_number *power,
                  const solving_number *inverse, size_t last);

/* Pairs of a bit of the blocks *first* to before *last* and one in the table that may make one of the wanted differences, which here
 * are as they are; *power* belongs to *first*. 32 bits agree: whoever asks looks at the pair itself. */
size_t solving_pairs(const solving_table *table, const uint8_t *data, size_t size, const solving_number *power,
                     const solving_number *inverse, size_t first, size_t last, const solving_number *wanted, size_t count,
                     solving_pair *found, size_t room);

#endif
