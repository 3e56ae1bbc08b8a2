#include "scrypt.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A block of 64 bytes is kept as the four diagonals of Salsa20's matrix, so that a quarter round works on four columns at
 * once; GCC and Clang turn the vectors into whatever the processor has. */
typedef uint32_t quad __attribute__((vector_size(16)));

#if defined(__x86_64__) && defined(__GNUC__)
#define VARIANTS __attribute__((target_clones("arch=skylake-avx512", "avx2", "default")))
#else
#define VARIANTS
#endif

#define ROTATE(x, n) (((x) << (n)) | ((x) >> (32 - (n))))
#define TURN(x, a, b, c, d) __builtin_shuffle(x, (quad){a, b, c, d})

static inline __attribute__((always_inline)) void salsa8(quad x[4])
{
    quad a = x[0], b = x[1], c = x[2], d = x[3];
    for (int round = 0; round < 4; round++) {
        b ^= ROTATE(a + d, 7);
        c ^= ROTATE(b + a, 9);
        d ^= ROTATE(c + b, 13);
        a ^= ROTATE(d + c, 18);
        b = TURN(b, 3, 0, 1, 2);
        c = TURN(c, 2, 3, 0, 1);
        d = TURN(d, 1, 2, 3, 0);
        d ^= ROTATE(a + b, 7);
        c ^= ROTATE(d + a, 9);
        b ^= ROTATE(c + d, 13);
        a ^= ROTATE(b + c, 18);
        b = TURN(b, 1, 2, 3, 0);
        c = TURN(c, 2, 3, 0, 1);
        d = TURN(d, 3, 0, 1, 2);
    }
    x[0] += a;
    x[1] += b;
    x[2] += c;
    x[3] += d;
}

/* scryptBlockMix of from (xor with, where given) into to: 2r blocks, the even ones to the front. */
static inline __attribute__((always_inline)) void block_mix(const quad *from, const quad *with, quad *to, uint32_t r)
{
    quad x[4];
    size_t last = (size_t)(2 * r - 1) * 4;
    for (int i = 0; i < 4; i++)
        x[i] = with ? from[last + i] ^ with[last + i] : from[last + i];
    for (uint32_t block = 0; block < 2 * r; block++) {
        for (int i = 0; i < 4; i++)
            x[i] ^= with ? from[block * 4 + i] ^ with[block * 4 + i] : from[block * 4 + i];
        salsa8(x);
        memcpy(to + ((block / 2) + (block & 1) * r) * 4, x, sizeof x);
    }
}

static uint32_t load32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Place i of the diagonals holds word i * 5 mod 16 of the matrix. */
static void to_diagonals(const uint8_t *lane, uint32_t *words, size_t blocks)
{
    for (size_t block = 0; block < blocks; block++)
        for (int i = 0; i < 16; i++)
            words[block * 16 + i] = load32(lane + block * 64 + (i * 5 % 16) * 4);
}

static void from_diagonals(const uint32_t *words, uint8_t *lane, size_t blocks)
{
    for (size_t block = 0; block < blocks; block++)
        for (int i = 0; i < 16; i++) {
            uint32_t word = words[block * 16 + i];
            uint8_t *p = lane + block * 64 + (i * 5 % 16) * 4;
            p[0] = (uint8_t)word;
            p[1] = (uint8_t)(word >> 8);
            p[2] = (uint8_t)(word >> 16);
            p[3] = (uint8_t)(word >> 24);
        }
}

/* Every second block of the table is kept: half the memory for a quarter more work, so that two lanes fit where one was. */
VARIANTS static void mix(quad *x, quad *y, quad *z, quad *v, uint64_t n, uint32_t r)
{
    size_t quads = (size_t)r * 8;
    for (uint64_t i = 0; i < n; i += 2) {
        memcpy(v + i / 2 * quads, x, quads * sizeof *x);
        block_mix(x, NULL, y, r);
        block_mix(y, NULL, x, r);
    }
    for (uint64_t i = 0; i < n; i++) {
        /* Integerify: the first words of the last block; the second one stands at place 13 of the diagonals. */
        const uint32_t *tail = (const uint32_t *)(x + (size_t)(2 * r - 1) * 4);
        uint64_t j = (tail[0] | (uint64_t)tail[13] << 32) & (n - 1);
        const quad *chosen = v + j / 2 * quads;
        if (j & 1) { /* was not kept: one step from its neighbour */
            block_mix(chosen, NULL, z, r);
            chosen = z;
        }
        block_mix(x, chosen, y, r);
        quad *other = x;
        x = y;
        y = other;
    }
}

int scrypt_mix(uint8_t *lane, uint64_t n, uint32_t r)
{
    size_t size = (size_t)r * 128;
    size_t wanted = size * (n / 2) + 3 * size;
    quad *memory = mmap(NULL, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -1;
#ifdef MADV_HUGEPAGE
    madvise(memory, wanted, MADV_HUGEPAGE);
#endif
    size_t quads = size / sizeof *memory;
    quad *x = memory, *y = x + quads, *z = y + quads;
    to_diagonals(lane, (uint32_t *)x, (size_t)r * 2);
    mix(x, y, z, z + quads, n, r); /* n is even: the result is back in x */
    from_diagonals((uint32_t *)x, lane, (size_t)r * 2);
    memset(memory, 0, 3 * size);
    munmap(memory, wanted);
    return 0;
}
