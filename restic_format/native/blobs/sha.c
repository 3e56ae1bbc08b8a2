#include "sha.h"

#include <string.h>

#define BLOCK 64

static sha_update library;

void sha_use(sha_update update)
{
    library = update;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>

static const uint32_t ROUND[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static int paired = -1; /* not yet known */

static int has_sha(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29)) && __builtin_cpu_supports("sse4.1");
}

/* The working variables in the order the instructions want: A B E F and C D G H, highest first. */
#define LOAD_STATE(h, abef, cdgh) \
    do { \
        __m128i dcba = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h)), 0xB1); \
        __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h) + 1), 0x1B); \
        abef = _mm_alignr_epi8(dcba, hgfe, 8); \
        cdgh = _mm_blend_epi16(hgfe, dcba, 0xF0); \
    } while (0)
#define STORE_STATE(h, abef, cdgh) \
    do { \
        __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1); \
        _mm_storeu_si128((__m128i *)(h), _mm_blend_epi16(feba, dchg, 0xF0)); \
        _mm_storeu_si128((__m128i *)(h) + 1, _mm_alignr_epi8(dchg, feba, 8)); \
    } while (0)

/* Four rounds, and the message words of four later ones; *g* is a constant once the loop is unrolled. */
#define FOUR_ROUNDS(abef, cdgh, words, g) \
    do { \
        __m128i sum = _mm_add_epi32(words[(g) % 4], _mm_load_si128((const __m128i *)ROUND + (g))); \
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum); \
        if ((g) >= 3 && (g) < 15) { \
            __m128i middle = _mm_alignr_epi8(words[(g) % 4], words[((g) + 3) % 4], 4); \
            words[((g) + 1) % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(words[((g) + 1) % 4], middle), words[(g) % 4]); \
        } \
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E)); \
        if ((g) >= 1 && (g) < 13) \
            words[((g) + 3) % 4] = _mm_sha256msg1_epu32(words[((g) + 3) % 4], words[(g) % 4]); \
    } while (0)

__attribute__((target("sha,sse4.1,ssse3"))) static void two_streams(uint32_t *one, const uint8_t *first, uint32_t *two,
                                                                    const uint8_t *second, size_t blocks)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i abef1, cdgh1, abef2, cdgh2;
    LOAD_STATE(one, abef1, cdgh1);
    LOAD_STATE(two, abef2, cdgh2);
    for (; blocks; blocks--, first += BLOCK, second += BLOCK) {
        __m128i words1[4], words2[4];
        const __m128i abef1_before = abef1, cdgh1_before = cdgh1, abef2_before = abef2, cdgh2_before = cdgh2;
        for (int i = 0; i < 4; i++) {
            words1[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)first + i), big_endian);
            words2[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)second + i), big_endian);
        }
#pragma GCC unroll 16
        for (int g = 0; g < 16; g++) {
            FOUR_ROUNDS(abef1, cdgh1, words1, g);
            FOUR_ROUNDS(abef2, cdgh2, words2, g);
        }
        abef1 = _mm_add_epi32(abef1, abef1_before);
        cdgh1 = _mm_add_epi32(cdgh1, cdgh1_before);
        abef2 = _mm_add_epi32(abef2, abef2_before);
        cdgh2 = _mm_add_epi32(cdgh2, cdgh2_before);
    }
    STORE_STATE(one, abef1, cdgh1);
    STORE_STATE(two, abef2, cdgh2);
}

int sha_pairs(int allowed)
{
    paired = allowed && has_sha();
    return paired;
}

static int can_pair(void)
{
    if (paired < 0)
        paired = has_sha();
    return paired;
}
#else
static void two_streams(uint32_t *one, const uint8_t *first, uint32_t *two, const uint8_t *second, size_t blocks)
{
    (void)one, (void)first, (void)two, (void)second, (void)blocks;
}

int sha_pairs(int allowed)
{
    (void)allowed;
    return 0;
}

static int can_pair(void)
{
    return 0;
}
#endif

static void count(sha_stream *stream, size_t size)
{
    uint64_t bits = ((uint64_t)stream->high << 32 | stream->low) + (uint64_t)size * 8;
    stream->low = (uint32_t)bits;
    stream->high = (uint32_t)(bits >> 32);
}

/* Whole blocks of one stream: by the library, which takes two thirds of the time of *two_streams* on one and the same. */
static void hash_blocks(sha_stream *stream, const uint8_t *data, size_t blocks)
{
    sha_stream other = *stream;
    other.num = 0; /* *stream* may already hold the bytes that come after these */
    library(&other, data, blocks * BLOCK);
    memcpy(stream->h, other.h, sizeof stream->h);
}

/* At most what is missing of the block that is being filled. */
static void fill(sha_stream *stream, const uint8_t *data, size_t size)
{
    memcpy((uint8_t *)stream->data + stream->num, data, size);
    stream->num += size;
    if (stream->num == BLOCK) {
        stream->num = 0;
        hash_blocks(stream, (const uint8_t *)stream->data, 1);
    }
}

void sha_begin(sha_stream *stream)
{
    *stream = (sha_stream){.h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void sha_drain(sha_queue *queue)
{
    if (queue->blocks)
        hash_blocks(queue->stream, queue->data, queue->blocks);
    queue->blocks = 0;
}

void sha_push(sha_queue *queue, sha_stream *stream, const uint8_t *data, size_t size)
{
    if (queue->blocks && queue->stream == stream)
        sha_drain(queue);
    count(stream, size);
    if (stream->num) {
        size_t head = BLOCK - stream->num;
        head = size < head ? size : head;
        fill(stream, data, head);
        data += head;
        size -= head;
    }
    size_t blocks = size / BLOCK;
    fill(stream, data + blocks * BLOCK, size % BLOCK);
    if (!blocks)
        return;
    if (!can_pair()) {
        hash_blocks(stream, data, blocks);
        return;
    }
    if (queue->blocks) {
        size_t both = queue->blocks < blocks ? queue->blocks : blocks;
        two_streams(queue->stream->h, queue->data, stream->h, data, both);
        queue->data += both * BLOCK;
        queue->blocks -= both;
        data += both * BLOCK;
        blocks -= both;
    }
    if (blocks)
        *queue = (sha_queue){stream, data, blocks};
}

void sha_append(sha_stream *stream, const uint8_t *data, size_t size)
{
    sha_queue alone = {0};
    sha_push(&alone, stream, data, size);
    sha_drain(&alone);
}

const uint8_t *sha_waiting(const sha_queue *queue)
{
    return queue->blocks ? queue->data : NULL;
}

static void put_big_endian(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

void sha_end(sha_stream *stream, uint8_t digest[SHA_SIZE])
{
    uint8_t end[2 * BLOCK] = {0x80};
    const size_t zeros = (stream->num < BLOCK - 8 ? BLOCK - 8 : 2 * BLOCK - 8) - stream->num;
    put_big_endian(end + zeros, stream->high);
    put_big_endian(end + zeros + 4, stream->low);
    sha_append(stream, end, zeros + 8);
    for (int i = 0; i < 8; i++)
        put_big_endian(digest + 4 * i, stream->h[i]);
}
