/* SHA-256 of blobs and packs, two at a time.
 *
 * A processor with the SHA extensions waits for each round's result; two independent streams at once take three quarters of
 * the time that they take one after the other. Without these extensions, and where there is a single stream, whole blocks are
 * libcrypto's. */
#ifndef RESTIC_FORMAT_SHA_H
#define RESTIC_FORMAT_SHA_H

#include "format.h"

#include <stddef.h>
#include <stdint.h>

enum { SHA_SIZE = FORMAT_ID_SIZE };

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

/* What hashes a stream by itself: libcrypto's SHA256_Update. To be given before anything is hashed. */
typedef int (*sha_update)(sha_stream *, const void *, size_t);
void sha_use(sha_update update);

/* Whether this processor hashes two streams at once; with *allowed* 0 that is left alone from now on (for tests). */
int sha_pairs(int allowed);

void sha_begin(sha_stream *stream);

/* Appends *data* to *stream*. It must stay as it is for as long as it waits for another piece to be paired with. */
void sha_push(sha_queue *queue, sha_stream *stream, const uint8_t *data, size_t size);

/* The same for a stream that has to be hashed by itself. */
void sha_append(sha_stream *stream, const uint8_t *data, size_t size);

/* Where the memory begins that is still needed, NULL for none. */
const uint8_t *sha_waiting(const sha_queue *queue);

/* Does what waits; sha_end is for streams with nothing waiting. */
void sha_drain(sha_queue *queue);
void sha_end(sha_stream *stream, uint8_t digest[SHA_SIZE]);

#endif
