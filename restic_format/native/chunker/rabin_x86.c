/* The vector method for x86-64. See rabin.h for what they find.
 *
 * A fingerprint, moved up by RABIN_SHIFT bits, is 7 bytes; plane k holds byte k of it for every lane. Sliding all
 * windows by one byte then is, with maps that are linear over GF(2),
 *     plane[k] = plane[k-1] + overflow_k(plane[6]) + leave_k(leaving byte) + enter_k(entering byte)
 * where overflow is b * x^53, leave is b * x^512 and enter is b itself, each modulo the polynomial.
 * Bytes are read 64 a lane and transposed, so that one load gives the next byte of every lane; the block that
 * entered leaves again 64 steps later.
 * A scan only learns in which block of 64 positions a lane has its first hit; the position itself is then found
 * by the plain method.
 */
#include "rabin.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#include <immintrin.h>

#define STEPS RABIN_WINDOW

int rabin_x86_supports(rabin_method method)
{
    __builtin_cpu_init();
    return method == RABIN_AVX2 && __builtin_cpu_supports("avx2");
}

#define AVX2_TARGET __attribute__((target("avx2")))

/* The four rounds of a 16 x 16 byte transposition within every 128-bit part of 16 registers. */
AVX2_TARGET static inline void transpose_parts(__m256i row[16])
{
    for (int round = 0; round < 4; round++) {
        __m256i other[16];
        for (int i = 0; i < 8; i++) {
            other[2 * i] = _mm256_unpacklo_epi8(row[i], row[i + 8]);
            other[2 * i + 1] = _mm256_unpackhi_epi8(row[i], row[i + 8]);
        }
        for (int i = 0; i < 16; i++)
            row[i] = other[i];
    }
}

/* column[s] = byte s of each of 32 lanes, lane 0 first. */
AVX2_TARGET static void transpose_32(const uint8_t *data, size_t length, __m256i column[STEPS])
{
    for (int half = 0; half < 2; half++) {
        __m256i part[2][16];
        for (int group = 0; group < 2; group++) {
            __m256i row[16];
            for (int i = 0; i < 16; i++)
                row[i] = _mm256_loadu_si256(
                    (const __m256i *)(const void *)(data + (size_t)(16 * group + i) * length + 32 * half));
            transpose_parts(row);
            for (int i = 0; i < 16; i++)
                part[group][i] = row[i];
        }
        for (int i = 0; i < 16; i++) {
            column[32 * half + i] = _mm256_permute2x128_si256(part[0][i], part[1][i], 0x20);
            column[32 * half + 16 + i] = _mm256_permute2x128_si256(part[0][i], part[1][i], 0x31);
        }
    }
}

AVX2_TARGET static inline __m256i nibble_table(const uint8_t table[16])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
}

AVX2_TARGET size_t rabin_scan_avx2(const rabin_tables *tables, const uint8_t *data, size_t base, size_t length)
{
    enum { LANES = 32 };
    __m256i block[2][STEPS];
    __m256i overflow[RABIN_PLANES][2], leave[RABIN_PLANES][2], plane[RABIN_PLANES];
    const __m256i nibble = _mm256_set1_epi8(0x0f);
    const __m256i up = _mm256_set1_epi8((char)(0xff << RABIN_SHIFT & 0xff));
    const __m256i down = _mm256_set1_epi8((1 << RABIN_SHIFT) - 1);
    const __m256i split0 = _mm256_set1_epi8((char)tables->split_planes[0]);
    const __m256i split1 = _mm256_set1_epi8((char)tables->split_planes[1]);
    const __m256i split2 = _mm256_set1_epi8((char)tables->split_planes[2]);
    const size_t blocks = length / STEPS;
    size_t best_lane = LANES, best = 0;

    for (int k = 0; k < RABIN_PLANES; k++) {
        for (int part = 0; part < 2; part++) {
            overflow[k][part] = nibble_table(tables->overflow_nibbles[k][part]);
            leave[k][part] = nibble_table(tables->leave_nibbles[k][part]);
        }
        plane[k] = _mm256_setzero_si256();
    }

#define LOW(value) _mm256_and_si256(value, nibble)
#define HIGH(value) _mm256_and_si256(_mm256_srli_epi16(value, 4), nibble)
#define MAP(table, low, high) _mm256_xor_si256(_mm256_shuffle_epi8((table)[0], low), _mm256_shuffle_epi8((table)[1], high))
#define ENTER0(value) _mm256_and_si256(_mm256_slli_epi16(value, RABIN_SHIFT), up)
#define ENTER1(value) _mm256_and_si256(_mm256_srli_epi16(value, 8 - RABIN_SHIFT), down)
    transpose_32(data + base - RABIN_WINDOW, length, block[0]);
    for (int step = 0; step < STEPS; step++) {
        const __m256i in = block[0][step];
        const __m256i top_low = LOW(plane[6]), top_high = HIGH(plane[6]);
        for (int k = 6; k > 0; k--)
            plane[k] = _mm256_xor_si256(plane[k - 1], MAP(overflow[k], top_low, top_high));
        plane[0] = _mm256_xor_si256(MAP(overflow[0], top_low, top_high), ENTER0(in));
        plane[1] = _mm256_xor_si256(plane[1], ENTER1(in));
    }
    for (size_t j = 0; j < blocks; j++) {
        const __m256i *leaving = block[j & 1];
        __m256i *entering = block[~j & 1];
        __m256i least = _mm256_set1_epi8(-1);

        transpose_32(data + base + j * STEPS, length, entering);
        for (int step = 0; step < STEPS; step++) {
            const __m256i in = entering[step], out = leaving[step];
            const __m256i top_low = LOW(plane[6]), top_high = HIGH(plane[6]);
            const __m256i out_low = LOW(out), out_high = HIGH(out);
            for (int k = 6; k > 0; k--)
                plane[k] = _mm256_xor_si256(
                    plane[k - 1],
                    _mm256_xor_si256(MAP(overflow[k], top_low, top_high), MAP(leave[k], out_low, out_high)));
            plane[0] = _mm256_xor_si256(
                ENTER0(in), _mm256_xor_si256(MAP(overflow[0], top_low, top_high), MAP(leave[0], out_low, out_high)));
            plane[1] = _mm256_xor_si256(plane[1], ENTER1(in));
            const __m256i bits = _mm256_or_si256(
                _mm256_and_si256(plane[0], split0),
                _mm256_or_si256(_mm256_and_si256(plane[1], split1), _mm256_and_si256(plane[2], split2)));
            least = _mm256_min_epu8(least, bits);
        }
        uint32_t hits = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(least, _mm256_setzero_si256()));
        if (__builtin_expect(hits != 0, 0)) {
            size_t lane = (size_t)__builtin_ctz(hits);
            if (lane < best_lane) {
                best_lane = lane;
                best = base + lane * length + j * STEPS + 1;
                if (!lane)
                    break;
            }
        }
    }
#undef LOW
#undef HIGH
#undef MAP
#undef ENTER0
#undef ENTER1
    return best ? rabin_find_plain(tables, data, best, best + STEPS - 1) : 0;
}

#else /* not x86-64 */

int rabin_x86_supports(rabin_method method)
{
    (void)method;
    return 0;
}

size_t rabin_scan_avx2(const rabin_tables *tables, const uint8_t *data, size_t base, size_t length)
{
    (void)tables, (void)data, (void)base, (void)length;
    return 0;
}

#endif
