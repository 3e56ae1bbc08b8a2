/* Blobs in bulk: SHA-256, AES-256-CTR, Poly1305-AES and zstd by the machine's own libcrypto and libzstd.
 *
 * The libraries are found at run time, so neither their headers nor linking are needed; where one is missing
 * blobs_load_libraries says so and the Python path is used. Nothing here touches the interpreter. */
#ifndef RESTIC_FORMAT_BLOBS_H
#define RESTIC_FORMAT_BLOBS_H

#include <stddef.h>
#include <stdint.h>

#include "format.h"
#include "sha.h"

enum {
    BLOBS_OVERHEAD = FORMAT_OVERHEAD, /* IV and MAC of a sealed message */
    BLOBS_ID = FORMAT_ID_SIZE,
};

/* What went wrong; negative, so that it shares a return value with lengths. */
enum {
    BLOBS_NO_MEMORY = -1,
    BLOBS_LIBRARY = -2,   /* a library call failed that cannot fail */
    BLOBS_SHORT = -3,     /* shorter than IV and MAC */
    BLOBS_ZERO_IV = -4,
    BLOBS_MAC = -5,       /* the MAC does not fit */
    BLOBS_COMPRESSED = -6,/* no zstd frame, or a broken one, or bytes after it */
    BLOBS_LENGTH = -7,    /* expands to another length than stated */
    BLOBS_HASH = -8,      /* the plaintext's hash is not the id */
};

typedef struct {
    int level, strategy, window_log, hash_log, chain_log, min_match; /* 0: what the level implies */
} blobs_zstd;

typedef struct blobs_context blobs_context;

/* 0, or -1 with a reason in *why*. *zstd* is a file with libzstd's functions that is preferred to the machine's own, or NULL. */
int blobs_load_libraries(const char *zstd, char *why, size_t size);
const char *blobs_zstd_version(void);

/* One thread's contexts and scratch memory; NULL without memory. */
blobs_context *blobs_new(const uint8_t encrypt[FORMAT_ENCRYPT_KEY_SIZE], const uint8_t mac_k[FORMAT_MAC_K_SIZE],
                         const uint8_t mac_r[FORMAT_MAC_R_SIZE]);
void blobs_free(blobs_context *context);

/* Seals a message that is not a blob into size + BLOBS_OVERHEAD bytes; 0 or what went wrong. */
int blobs_seal(blobs_context *context, const uint8_t iv[FORMAT_IV_SIZE], const uint8_t *plain, size_t size, uint8_t *sealed);

/* Seals blobs one after the other into *sealed*, which has room for the sum of their bounds; gives the bytes in all.
 *
 * With *zstd* a blob is compressed first, with *large* from *threshold* bytes on; where that does not make it smaller it is
 * stored as it is, unless *always*. With *verify* everything is opened again and must have the hashes *id*. What was sealed is
 * appended to *pack*, two hashes at a time; when something went wrong, *pack* is as it was. */
typedef struct {
    const uint8_t *plain, *id, *iv;
    size_t size;
    size_t length;         /* out: sealed */
    uint32_t uncompressed; /* out: size of a blob that is compressed, else 0 */
} blobs_sealing;
int64_t blobs_seal_many(blobs_context *context, const blobs_zstd *small, const blobs_zstd *large, size_t threshold, int always,
                        int verify, blobs_sealing *work, size_t count, uint8_t *sealed, sha_stream *pack);
size_t blobs_bound(size_t size);

/* Opens *sealed* into *plain*, which has room for *room* bytes: the stated length of a compressed blob, otherwise
 * size - BLOBS_OVERHEAD. The MAC is checked before anything is decrypted, the hash (where *id* is given) last. */
int64_t blobs_open(blobs_context *context, const uint8_t *sealed, size_t size, int compressed, const uint8_t *id,
                   uint8_t *plain, size_t room);

/* The same for blobs in *data*, hashed two at a time: *opened* says which are intact. Plaintexts are put at their *offset* in
 * *plain*; where that is NULL none is kept. With *pack* all of *data* is appended to that hash on the way. */
typedef struct {
    const uint8_t *id;
    size_t start, length, size, offset; /* where it is sealed in data, how long; the plaintext's length and place */
    int compressed, opened;
    sha_stream hash;
} blobs_opening;
void blobs_open_many(blobs_context *context, const uint8_t *data, size_t size, blobs_opening *work, size_t count, uint8_t *plain,
                     sha_stream *pack);

/* Seals messages from *data*, which *from* opens, anew, one after the other into *sealed*; each has an IV in *ivs* and stays as
 * long as it is. What is inside is not looked at. With *verify* each is opened again. 0, or what went wrong. */
typedef struct {
    size_t start, length; /* where it is in data, how long */
} blobs_message;
int blobs_seal_again(blobs_context *context, blobs_context *from, const uint8_t *data, size_t size, const blobs_message *messages,
                     size_t count, const uint8_t *ivs, int verify, uint8_t *sealed);

#endif
