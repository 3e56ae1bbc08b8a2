#include "solving.h"

#include <string.h>

typedef unsigned __int128 wide;

enum { BLOCK = SOLVING_BLOCK, BITS = 8 * BLOCK, PROBES = 256 };

static const solving_number PRIME = {{0xFFFFFFFFFFFFFFFB, 0xFFFFFFFFFFFFFFFF, 3}};

static uint64_t little_endian(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static void to_bytes(wide value, uint8_t *bytes, unsigned length)
{
    for (unsigned i = 0; i < length; i++, value >>= 8)
        bytes[i] = (uint8_t)value;
}

/* Up to 16 bytes as a number. */
static wide piece(const uint8_t *bytes, size_t length)
{
    uint8_t padded[BLOCK] = {0};
    memcpy(padded, bytes, length);
    return (wide)little_endian(padded + 8) << 64 | little_endian(padded);
}

static size_t length_at(size_t size, size_t block)
{
    const size_t left = size - block * BLOCK;
    return left < BLOCK ? left : BLOCK;
}

/* The difference of two numbers, and whether it is negative; then it is wrong by 2^192. */
static uint64_t subtract(solving_number *result, const solving_number *a, const solving_number *b)
{
    uint64_t borrow = 0;
    for (int i = 0; i < 3; i++) {
        const wide difference = (wide)a->limb[i] - b->limb[i] - borrow;
        result->limb[i] = (uint64_t)difference;
        borrow = (uint64_t)(difference >> 64) & 1;
    }
    return borrow;
}

/* a below 2p, made smaller than p. */
static void reduce(solving_number *a)
{
    solving_number less;
    const uint64_t keep = 0 - subtract(&less, a, &PRIME);
    for (int i = 0; i < 3; i++)
        a->limb[i] = (a->limb[i] & keep) | (less.limb[i] & ~keep);
}

static void add(solving_number *a, const solving_number *b)
{
    wide sum = 0;
    for (int i = 0; i < 3; i++) {
        sum += (wide)a->limb[i] + b->limb[i];
        a->limb[i] = (uint64_t)sum;
        sum >>= 64;
    }
    reduce(a);
}

static void subtract_modulo(solving_number *result, const solving_number *a, const solving_number *b)
{
    solving_number more;
    const uint64_t negative = 0 - subtract(&more, a, b);
    wide sum = 0;
    for (int i = 0; i < 3; i++) {
        sum += (wide)more.limb[i] + (PRIME.limb[i] & negative);
        result->limb[i] = (uint64_t)sum;
        sum >>= 64;
    }
}

/* What is 2^256 or less and some limbs, modulo p: 2^130 is 5. */
static void fold(solving_number *a, const uint64_t limb[5])
{
    const uint64_t low = limb[2] & 3;
    const uint64_t high[3] = {limb[2] >> 2 | limb[3] << 62, limb[3] >> 2 | limb[4] << 62, limb[4] >> 2};
    wide sum = (wide)high[0] * 5 + limb[0];
    a->limb[0] = (uint64_t)sum;
    sum = (sum >> 64) + (wide)high[1] * 5 + limb[1];
    a->limb[1] = (uint64_t)sum;
    a->limb[2] = (uint64_t)(sum >> 64) + high[2] * 5 + low;
    /* Up to 2^133 or so: once more. */
    const uint64_t again = (a->limb[2] >> 2) * 5;
    a->limb[2] &= 3;
    sum = (wide)a->limb[0] + again;
    a->limb[0] = (uint64_t)sum;
    sum = (sum >> 64) + a->limb[1];
    a->limb[1] = (uint64_t)sum;
    a->limb[2] += (uint64_t)(sum >> 64);
    reduce(a);
}

static void multiply(solving_number *a, const uint64_t *b, int limbs)
{
    uint64_t product[6] = {0};
    for (int i = 0; i < limbs; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < 3; j++) {
            const wide sum = (wide)a->limb[j] * b[i] + product[i + j] + carry;
            product[i + j] = (uint64_t)sum;
            carry = (uint64_t)(sum >> 64);
        }
        product[i + 3] = carry;
    }
    fold(a, product);
}

void solving_polynomial(const uint64_t r[2], const uint8_t *data, size_t size, solving_number *value)
{
    *value = (solving_number){{0}};
    for (size_t start = 0; start < size; start += BLOCK) {
        uint8_t padded[BLOCK + 8] = {0};
        const size_t length = size - start < BLOCK ? size - start : BLOCK;
        memcpy(padded, data + start, length);
        padded[length] = 1;
        add(value, &(solving_number){{little_endian(padded), little_endian(padded + 8), little_endian(padded + 16)}});
        multiply(value, r, 2);
    }
}

static unsigned highest_bit(wide value)
{
    const uint64_t high = (uint64_t)(value >> 64);
    return high ? 127 - (unsigned)__builtin_clzll(high) : 63 - (unsigned)__builtin_clzll((uint64_t)value);
}

/* Bytes from the first to the last that is not zero in *changed*, which is not zero. */
static unsigned span(wide changed)
{
    const uint64_t low = (uint64_t)changed;
    const unsigned lowest = low ? (unsigned)__builtin_ctzll(low) : 64 + (unsigned)__builtin_ctzll((uint64_t)(changed >> 64));
    return highest_bit(changed) / 8 - lowest / 8 + 1;
}

size_t solving_blocks(solving_search *search, solving_candidate *found, size_t room)
{
    size_t number = 0;
    for (; search->next < search->last && number + search->count <= room; search->next++) {
        const size_t start = search->next * BLOCK, length = length_at(search->size, search->next);
        const wide read = piece(search->data + start, length);
        const solving_number block = {{(uint64_t)read, (uint64_t)(read >> 64), 0}};
        for (size_t i = 0; i < search->count; i++) {
            solving_number value = search->wanted[i];
            add(&value, &block);
            multiply(&search->wanted[i], search->r, 2);
            const wide content = (wide)value.limb[1] << 64 | value.limb[0];
            if (value.limb[2] || (length < BLOCK && content >> 8 * length) || content == read)
                continue;
            const unsigned spanned = span(content ^ read);
            if (spanned < search->least || spanned > search->most)
                continue;
            found[number].start = start;
            found[number].length = (unsigned)length;
            to_bytes(content, found[number++].content, BLOCK);
        }
    }
    return number;
}

/* a times |b| divided by 2^130, to the nearest; with the sign of b. */
static wide rounded(const solving_number *a, wide b)
{
    const int negative = (int)(b >> 127);
    if (negative)
        b = 0 - b;
    uint64_t product[5] = {0};
    const uint64_t factor[2] = {(uint64_t)b, (uint64_t)(b >> 64)};
    for (int i = 0; i < 2; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < 3; j++) {
            const wide sum = (wide)a->limb[j] * factor[i] + product[i + j] + carry;
            product[i + j] = (uint64_t)sum;
            carry = (uint64_t)(sum >> 64);
        }
        product[i + 3] = carry;
    }
    wide sum = (wide)product[2] + 2;
    product[2] = (uint64_t)sum;
    for (int i = 3; i < 5; i++) {
        sum = (sum >> 64) + product[i];
        product[i] = (uint64_t)sum;
    }
    const wide quotient = (wide)(product[3] >> 2 | product[4] << 62) << 64 | (product[2] >> 2 | product[3] << 62);
    return negative ? 0 - quotient : quotient;
}

size_t solving_points(const solving_lattice *lattice)
{
    return (size_t)(2 * lattice->steps1 + 1) * (size_t)(2 * lattice->steps2 + 1);
}

/* The same bytes with a change added, where that is one and does not carry beyond them. */
static int moved(wide *value, wide change, unsigned length)
{
    if (!change)
        return 0;
    const wide sum = *value + change;
    if (sum >> 8 * length)
        return 0;
    *value = sum;
    return 1;
}

size_t solving_borders(solving_search *search, const solving_lattice *lattice, solving_candidate *found, size_t room)
{
    const size_t most = search->count * solving_points(lattice);
    const unsigned before = lattice->before;
    size_t number = 0;
    for (; search->next < search->last && number + most <= room; search->next++) {
        const size_t border = (search->next + 1) * BLOCK;
        size_t after = length_at(search->size, search->next + 1);
        after = after < BLOCK - before ? after : BLOCK - before;
        const wide upper = piece(search->data + border - before, before), lower = piece(search->data + border, after);
        for (size_t i = 0; i < search->count; i++) {
            const solving_number difference = search->wanted[i];
            multiply(&search->wanted[i], search->r, 2);
            const wide near1 = 0 - rounded(&difference, lattice->x2), near2 = rounded(&difference, lattice->x1);
            const wide low = (wide)difference.limb[1] << 64 | difference.limb[0];
            for (int step1 = -lattice->steps1; step1 <= lattice->steps1; step1++) {
                const wide times1 = near1 + (wide)(__int128)step1;
                for (int step2 = -lattice->steps2; step2 <= lattice->steps2; step2++) {
                    const wide times2 = near2 + (wide)(__int128)step2;
                    wide above = upper, below = lower;
                    if (!moved(&above, 0 - times1 * lattice->x1 - times2 * lattice->x2, before) ||
                        !moved(&below, low - times1 * lattice->y1 - times2 * lattice->y2, (unsigned)after))
                        continue;
                    const wide content = below << 8 * before | above;
                    const unsigned spanned = span(content ^ (lower << 8 * before | upper));
                    if (spanned < search->least || spanned > search->most)
                        continue;
                    found[number].start = border - before;
                    found[number].length = before + (unsigned)after;
                    to_bytes(content, found[number++].content, BLOCK);
                }
            }
        }
    }
    return number;
}

static uint64_t mixed(const solving_number *value)
{
    return (value->limb[0] ^ value->limb[1] << 7 ^ value->limb[2]) * 0x9E3779B97F4A7C15;
}

/* What the polynomial changes by when a bit is flipped; *power* is doubled. */
static solving_number flipped(solving_number *power, int set)
{
    solving_number value = *power;
    if (set)
        subtract_modulo(&value, &PRIME, power);
    add(power, power);
    reduce(&value); /* p itself, where power is 0 */
    return value;
}

void solving_fill(solving_table *table, const uint8_t *data, size_t size, const solving_number *power,
                  const solving_number *inverse, size_t last)
{
    const uint64_t mask = ((uint64_t)1 << table->bits) - 1;
    solving_number at = *power;
    uint64_t bit = 1;
    for (size_t block = table->first; block < last; block++, multiply(&at, inverse->limb, 3)) {
        solving_number doubled = at;
        const size_t length = length_at(size, block);
        for (size_t i = 0; i < 8 * length; i++) {
            const solving_number value = flipped(&doubled, data[block * BLOCK + i / 8] >> i % 8 & 1);
            const uint64_t hash = mixed(&value), top = hash >> 32 << 32;
            uint64_t slot = (hash & 0xFFFFFFFF) * 0x9E3779B97F4A7C15 >> (64 - table->bits);
            for (int probe = 0; probe < PROBES; probe++, slot = (slot + 1) & mask) {
                if (table->slots[slot] >> 32 << 32 == top && table->slots[slot])
                    break; /* the same change is made by an earlier bit */
                if (!table->slots[slot]) {
                    table->slots[slot] = top | (bit + i);
                    break;
                }
            }
        }
        bit += BITS;
    }
}

enum { AHEAD = 1024 };

size_t solving_pairs(const solving_table *table, const uint8_t *data, size_t size, const solving_number *power,
                     const solving_number *inverse, size_t first, size_t last, const solving_number *wanted, size_t count,
                     solving_pair *found, size_t room)
{
    const uint64_t mask = ((uint64_t)1 << table->bits) - 1;
    uint64_t hashes[AHEAD], slots[AHEAD];
    uint32_t whose[AHEAD];
    solving_number at = *power;
    size_t number = 0, waiting = 0;
    for (size_t block = first; block < last; block++, multiply(&at, inverse->limb, 3)) {
        solving_number doubled = at;
        const size_t bits = 8 * length_at(size, block);
        for (size_t i = 0; i < bits; i++) {
            const solving_number value = flipped(&doubled, data[block * BLOCK + i / 8] >> i % 8 & 1);
            for (size_t j = 0; j < count; j++) {
                solving_number rest;
                subtract_modulo(&rest, &wanted[j], &value);
                hashes[waiting] = mixed(&rest);
                slots[waiting] = (hashes[waiting] & 0xFFFFFFFF) * 0x9E3779B97F4A7C15 >> (64 - table->bits);
                __builtin_prefetch(&table->slots[slots[waiting]]);
                whose[waiting++] = (uint32_t)i;
                if (waiting < AHEAD && (i + 1 < bits || j + 1 < count))
                    continue;
                for (size_t w = 0; w < waiting; w++) {
                    uint64_t slot = slots[w];
                    for (int probe = 0; probe < PROBES && table->slots[slot]; probe++, slot = (slot + 1) & mask) {
                        if (table->slots[slot] >> 32 != hashes[w] >> 32)
                            continue;
                        if (number < room)
                            found[number++] = (solving_pair){block * BITS + whose[w],
                                                             table->first * BITS + (table->slots[slot] & 0xFFFFFFFF) - 1};
                        break;
                    }
                }
                waiting = 0;
            }
        }
    }
    return number;
}
