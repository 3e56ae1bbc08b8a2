/* SHA-256 of many pieces of memory, two at a time.
 *
 * A processor with the SHA extensions waits for each round's result; two independent streams at once take hardly longer than
 * one. Only that interleaving of two streams is here; everything else, and everything where it cannot be used, is libcrypto's. */
#ifndef RESTIC_FORMAT_SHA_H
#define RESTIC_FORMAT_SHA_H

#include <stddef.h>
#include <stdint.h>

enum { SHA_SIZE = 32 };

/* A message being hashed: libcrypto's SHA256_CTX, whose layout is public. */
typedef struct {
    uint32_t h[8];
    uint32_t low, high; /* bits so far */
    uint32_t data[16];
    unsigned num, md_len;
} sha_stream;

/* Work that waits for other work to be paired with; at most one piece. Set to zero to begin. */
typedef struct {
    sha_stream *stream;
    const uint8_t *data;
    size_t blocks;
} sha_queue;

/* What sha.c needs of libcrypto. */
typedef struct {
    int (*init)(sha_stream *);
    int (*update)(sha_stream *, const void *, size_t);
    int (*final)(uint8_t *, sha_stream *);
} sha_library;
void sha_use(const sha_library *library);

/* Whether this processor hashes two streams at once; with *allowed* 0 that is left alone from now on (for tests). */
int sha_pairs(int allowed);

void sha_begin(sha_stream *stream);

/* Appends *data* to *stream*. It must stay as it is for as long as it waits for another piece to be paired with. */
void sha_push(sha_queue *queue, sha_stream *stream, const uint8_t *data, size_t size);

/* Where the memory begins that is still needed, NULL for none. */
const uint8_t *sha_waiting(const sha_queue *queue);

/* Does what waits; sha_end is for streams with nothing waiting. */
void sha_drain(sha_queue *queue);
void sha_end(sha_stream *stream, uint8_t digest[SHA_SIZE]);

#endif
