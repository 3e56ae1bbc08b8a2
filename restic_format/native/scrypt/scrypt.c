#include "scrypt.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A block of 64 bytes is kept as the four diagonals of Salsa20's matrix, so that a quarter round works on four columns at
 * once. Salsa20 is one long chain of dependent instructions, during which a processor could do much more: the same diagonals
 * of several lanes side by side in one vector, and two such vectors by turns, cost little more time than one lane. */
typedef uint32_t quad __attribute__((vector_size(16)));

/* One place in the vectors, and the lane that is being mixed in it. Every step is to = scryptBlockMix(a ^ b). */
struct slot {
    const quad *a, *b;
    quad *to;
    const quad *x; /* X once the table is filled, else NULL */
    uint64_t behind; /* steps from the row that was kept to the row that X is to be mixed with */
    uint64_t done; /* steps of RFC 7914: n fill the table, n more mix */
    uint8_t *lane; /* NULL: none is left */
    quad *table, *spare; /* three spare rows: X, what a step reads, what it makes */
};

enum { MOST_SLOTS = 4 };

typedef void (*step_function)(struct slot *slots, uint32_t r);

#define INLINE static inline __attribute__((always_inline))
#define QUAD(base, at) (*(quad *)((base) + (at)))
#define PIECE(base, at) (*(const quad *)((base) + (at)))

#define TARGET
#define NAME(name) name##_plain
#define WIDTH 1
#define VECTOR quad
#define LOAD(from, i, at) PIECE(from[i], at)
#define STORE(i, at, v) (QUAD(to[i], at) = (v))
#define TURNED_IN(x, t, n) ((x) ^ ((t) << (n) | (t) >> (32 - (n))))
#if defined(__clang__)
#define SHUFFLE(x, a, b, c, d) __builtin_shufflevector(x, x, a, b, c, d)
#else
#define SHUFFLE(x, a, b, c, d) __builtin_shuffle(x, (quad){a, b, c, d})
#endif
#include "scrypt_step.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define X86

#undef WIDTH
#undef VECTOR
#undef LOAD
#undef STORE
#undef SHUFFLE
#define WIDTH 2
#define VECTOR __v8su
#define LOAD(from, i, at)                                                                                                      \
    ((VECTOR)_mm256_inserti128_si256(                                                                                          \
        _mm256_castsi128_si256((__m128i)PIECE(from[i], at)), (__m128i)PIECE(from[(i) + 1], at), 1))
#define STORE(i, at, v)                                                                                                        \
    (QUAD(to[i], at) = (quad)_mm256_castsi256_si128((__m256i)(v)),                                                             \
     QUAD(to[(i) + 1], at) = (quad)_mm256_extracti128_si256((__m256i)(v), 1))
#define SHUFFLE(x, a, b, c, d) ((VECTOR)_mm256_shuffle_epi32((__m256i)(x), _MM_SHUFFLE(d, c, b, a)))

#define TARGET __attribute__((target("avx2")))
#define NAME(name) name##_avx2
#define TURNED_IN(x, t, n) ((x) ^ ((t) << (n) | (t) >> (32 - (n))))
#include "scrypt_step.h"

/* Both shifts and an exclusive or of three are one step shorter than the rotation that AVX-512 has as well. */
#define TARGET __attribute__((target("avx2,avx512f,avx512vl")))
#define NAME(name) name##_avx512
#define TURNED_IN(x, t, n)                                                                                                     \
    ((VECTOR)_mm256_ternarylogic_epi32(                                                                                        \
        (__m256i)(x), _mm256_slli_epi32((__m256i)(t), n), _mm256_srli_epi32((__m256i)(t), 32 - (n)), 0x96))
#include "scrypt_step.h"
#endif

int scrypt_supports(scrypt_method method)
{
#ifdef X86
    __builtin_cpu_init();
    if (method == SCRYPT_AVX2)
        return __builtin_cpu_supports("avx2") != 0;
    if (method == SCRYPT_AVX512)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
#endif
    return method == SCRYPT_PLAIN;
}

unsigned scrypt_slots(scrypt_method method)
{
    return method == SCRYPT_PLAIN ? 2 : MOST_SLOTS;
}

static step_function step_for(scrypt_method method, unsigned slots)
{
#ifdef X86
    if (method == SCRYPT_AVX512)
        return slots > 2 ? two_avx512 : one_avx512;
    if (method == SCRYPT_AVX2)
        return slots > 2 ? two_avx2 : one_avx2;
#endif
    (void)method;
    return slots > 1 ? two_plain : one_plain;
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

/* What all slots share. */
struct shape {
    const quad *zero;
    uint64_t n, every;
    uint32_t r;
    size_t quads; /* in a row */
};

static void plan(struct slot *slot, const struct shape *shape, const quad *a, const quad *b)
{
    slot->a = a;
    slot->b = b;
    slot->to = slot->spare;
    while (slot->to == a || slot->to == slot->x)
        slot->to += shape->quads;
}

static void plan_filling(struct slot *slot, const struct shape *shape, const quad *row)
{
    uint64_t next = slot->done + 1;
    plan(slot, shape, row, shape->zero);
    if (next < shape->n && next % shape->every == 0)
        slot->to = slot->table + next / shape->every * shape->quads;
}

static void plan_mixing(struct slot *slot, const struct shape *shape, const quad *row)
{
    plan(slot, shape, row, slot->behind ? shape->zero : slot->x);
}

static void begin(struct slot *slot, const struct shape *shape, uint8_t *lane)
{
    slot->lane = lane;
    slot->done = 0;
    slot->x = NULL;
    to_diagonals(lane, (uint32_t *)slot->table, (size_t)shape->r * 2);
    plan_filling(slot, shape, slot->table);
}

/* Takes note of the step that was made and plans the next one; 0 when the lane is finished. */
static int advance(struct slot *slot, const struct shape *shape)
{
    const quad *made = slot->to;
    if (slot->behind) {
        slot->behind--;
        plan_mixing(slot, shape, made);
        return 1;
    }
    slot->done++;
    if (slot->done < shape->n) {
        plan_filling(slot, shape, made);
        return 1;
    }
    if (slot->done == 2 * shape->n) {
        from_diagonals((const uint32_t *)made, slot->lane, (size_t)shape->r * 2);
        return 0;
    }
    /* Integerify: the first words of the last block; the second one stands at place 13 of the diagonals. */
    const quad *last = made + shape->quads - 4;
    uint64_t j = (last[0][0] | (uint64_t)last[3][1] << 32) & (shape->n - 1);
    const quad *row = slot->table + j / shape->every * shape->quads;
    __builtin_prefetch(row + shape->quads - 4);
    for (size_t i = 0; i < shape->quads; i += 4)
        __builtin_prefetch(row + i);
    slot->x = made;
    slot->behind = j % shape->every;
    plan_mixing(slot, shape, row);
    return 1;
}

/* The lanes go their own pace: one that finds its row in the table does not wait for one that works it out again. */
static void mix_all(
    struct slot *slots, unsigned used, step_function step, const struct shape *shape, uint8_t *lanes, size_t count)
{
    size_t begun = 0, finished = 0, size = (size_t)shape->r * 128;
    while (begun < used && begun < count) {
        begin(slots + begun, shape, lanes + begun * size);
        begun++;
    }
    while (finished < count) {
        step(slots, shape->r);
        for (struct slot *slot = slots; slot < slots + used; slot++) {
            if (!slot->lane || advance(slot, shape))
                continue;
            finished++;
            if (begun < count)
                begin(slot, shape, lanes + begun++ * size);
            else
                slot->lane = NULL; /* its last step is made again, to no end */
        }
    }
}

int scrypt_mix(scrypt_method method, uint8_t *lanes, size_t count, uint64_t n, uint32_t r, unsigned used, uint64_t every)
{
    size_t row = (size_t)r * 128, table = (n + every - 1) / every * row;
    size_t rows = 2 * row + used * 3 * row, wanted = rows + used * table;
    uint8_t *memory = mmap(NULL, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -1;
#ifdef MADV_HUGEPAGE
    madvise(memory, wanted, MADV_HUGEPAGE);
#endif
    struct shape shape = {(quad *)memory, n, every, r, (size_t)r * 8};
    struct slot slots[MOST_SLOTS];
    for (unsigned i = 0; i < MOST_SLOTS; i++) {
        /* What a vector has too many reads zeros and writes behind them. */
        slots[i] = (struct slot){.a = shape.zero, .b = shape.zero, .to = (quad *)(memory + row)};
        if (i < used) {
            slots[i].spare = (quad *)(memory + 2 * row + i * 3 * row);
            slots[i].table = (quad *)(memory + rows + i * table);
        }
    }
    mix_all(slots, used, step_for(method, used), &shape, lanes, count);
    memset(memory, 0, rows);
    munmap(memory, wanted);
    return 0;
}
