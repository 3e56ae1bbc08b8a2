#include "blobs.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The stable functions this needs, with prototypes of our own. Opaque structures are void. */

#define CRYPTO_FUNCTIONS(F) \
    F(void *, EVP_CIPHER_CTX_new, (void)) \
    F(void, EVP_CIPHER_CTX_free, (void *)) \
    F(int, EVP_EncryptInit_ex, (void *, const void *, void *, const uint8_t *, const uint8_t *)) \
    F(int, EVP_EncryptUpdate, (void *, uint8_t *, int *, const uint8_t *, int)) \
    F(int, EVP_CIPHER_CTX_set_padding, (void *, int)) \
    F(const void *, EVP_aes_256_ctr, (void)) \
    F(const void *, EVP_aes_128_ecb, (void)) \
    F(void *, EVP_MAC_fetch, (void *, const char *, const char *)) \
    F(void, EVP_MAC_free, (void *)) \
    F(void *, EVP_MAC_CTX_new, (void *)) \
    F(void, EVP_MAC_CTX_free, (void *)) \
    F(int, EVP_MAC_init, (void *, const uint8_t *, size_t, const void *)) \
    F(int, EVP_MAC_update, (void *, const uint8_t *, size_t)) \
    F(int, EVP_MAC_final, (void *, uint8_t *, size_t *, size_t)) \
    F(int, SHA256_Update, (sha_stream *, const void *, size_t)) \
    F(int, CRYPTO_memcmp, (const void *, const void *, size_t))

#define ZSTD_FUNCTIONS(F) \
    F(void *, ZSTD_createCCtx, (void)) \
    F(size_t, ZSTD_freeCCtx, (void *)) \
    F(void *, ZSTD_createDCtx, (void)) \
    F(size_t, ZSTD_freeDCtx, (void *)) \
    F(size_t, ZSTD_CCtx_reset, (void *, int)) \
    F(size_t, ZSTD_CCtx_setParameter, (void *, int, int)) \
    F(size_t, ZSTD_compress2, (void *, void *, size_t, const void *, size_t)) \
    F(size_t, ZSTD_compressBound, (size_t)) \
    F(size_t, ZSTD_decompressDCtx, (void *, void *, size_t, const void *, size_t)) \
    F(size_t, ZSTD_findFrameCompressedSize, (const void *, size_t)) \
    F(unsigned long long, ZSTD_getFrameContentSize, (const void *, size_t)) \
    F(unsigned, ZSTD_isError, (size_t)) \
    F(const char *, ZSTD_versionString, (void))

#define DECLARE(type, name, arguments) static type(*name) arguments;
CRYPTO_FUNCTIONS(DECLARE)
ZSTD_FUNCTIONS(DECLARE)

/* ZSTD_cParameter and ZSTD_ResetDirective, as zstd.h numbers them. */
enum { LEVEL = 100, WINDOW_LOG = 101, HASH_LOG = 102, CHAIN_LOG = 103, MIN_MATCH = 105, STRATEGY = 107 };
enum { RESET_PARAMETERS = 2 };
#define SIZE_UNKNOWN (~0ULL)     /* ZSTD_CONTENTSIZE_UNKNOWN */

enum { IV = FORMAT_IV_SIZE, MAC = FORMAT_MAC_SIZE, R = FORMAT_MAC_R_SIZE };
#define PIECE (1 << 30)          /* EVP_EncryptUpdate counts in int */

static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;
static int library_state;        /* 0 unknown, 1 there, -1 not to be had */
static char library_reason[256];

#define RESOLVE(type, name, arguments) \
    if (!(*(void **)&name = dlsym(library, #name))) { \
        snprintf(library_reason, sizeof library_reason, "%s has no %s", file, #name); \
        return -1; \
    }

static void *open_library(const char *file)
{
    void *library = dlopen(file, RTLD_LAZY | RTLD_LOCAL);
    if (!library)
        snprintf(library_reason, sizeof library_reason, "%s is not on this machine", file);
    return library;
}

static int find_crypto(const char *file)
{
    void *library = open_library(file);
    if (!library)
        return -1;
    CRYPTO_FUNCTIONS(RESOLVE)
    void *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
    if (!mac) {
        snprintf(library_reason, sizeof library_reason, "%s has no Poly1305, as where only FIPS algorithms are allowed", file);
        return -1;
    }
    EVP_MAC_free(mac);
    sha_use(SHA256_Update);
    return 0;
}

static int find_zstd(const char *file)
{
    void *library = open_library(file);
    if (!library)
        return -1;
    ZSTD_FUNCTIONS(RESOLVE)
    return 0;
}

int blobs_load_libraries(const char *zstd, char *why, size_t size)
{
    pthread_mutex_lock(&library_lock);
    if (!library_state)
        library_state = find_crypto("libcrypto.so.3") || ((!zstd || find_zstd(zstd)) && find_zstd("libzstd.so.1")) ? -1 : 1;
    int state = library_state;
    snprintf(why, size, "%s", library_reason);
    pthread_mutex_unlock(&library_lock);
    return state > 0 ? 0 : -1;
}

const char *blobs_zstd_version(void)
{
    return ZSTD_versionString();
}

typedef struct {
    uint8_t *data;
    size_t size;
} scratch;

struct blobs_context {
    void *counter, *block, *mac_method, *mac, *compressor, *decompressor;
    uint8_t mac_r[R];
    blobs_zstd zstd;             /* what the compressor is set to */
    int zstd_set;
    scratch packed, verified, spare;
};

static int reserve(scratch *memory, size_t size)
{
    if (memory->size >= size)
        return 0;
    /* Grow in steps, so that a stream of slightly larger blobs does not reallocate each time. */
    size_t wanted = size + size / 4 + 4096;
    free(memory->data);
    memory->data = malloc(wanted);
    memory->size = memory->data ? wanted : 0;
    return memory->data ? 0 : BLOBS_NO_MEMORY;
}

blobs_context *blobs_new(const uint8_t encrypt[FORMAT_ENCRYPT_KEY_SIZE], const uint8_t mac_k[FORMAT_MAC_K_SIZE], const uint8_t mac_r[R])
{
    blobs_context *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    memcpy(c->mac_r, mac_r, R);
    c->counter = EVP_CIPHER_CTX_new();
    c->block = EVP_CIPHER_CTX_new();
    c->mac_method = EVP_MAC_fetch(NULL, "POLY1305", NULL);
    c->mac = c->mac_method ? EVP_MAC_CTX_new(c->mac_method) : NULL;
    c->compressor = ZSTD_createCCtx();
    c->decompressor = ZSTD_createDCtx();
    if (!c->counter || !c->block || !c->mac || !c->compressor || !c->decompressor ||
        !EVP_EncryptInit_ex(c->counter, EVP_aes_256_ctr(), NULL, encrypt, NULL) ||
        !EVP_EncryptInit_ex(c->block, EVP_aes_128_ecb(), NULL, mac_k, NULL) || !EVP_CIPHER_CTX_set_padding(c->block, 0)) {
        blobs_free(c);
        return NULL;
    }
    return c;
}

static void forget(scratch *memory)
{
    free(memory->data);
}

void blobs_free(blobs_context *c)
{
    if (!c)
        return;
    EVP_CIPHER_CTX_free(c->counter);
    EVP_CIPHER_CTX_free(c->block);
    EVP_MAC_CTX_free(c->mac);
    EVP_MAC_free(c->mac_method);
    ZSTD_freeCCtx(c->compressor);
    ZSTD_freeDCtx(c->decompressor);
    forget(&c->packed);
    forget(&c->verified);
    forget(&c->spare);
    free(c);
}

/* AES-CTR is its own inverse. */
static int apply_counter(blobs_context *c, const uint8_t iv[IV], const uint8_t *from, size_t size, uint8_t *to)
{
    if (!EVP_EncryptInit_ex(c->counter, NULL, NULL, NULL, iv))
        return BLOBS_LIBRARY;
    while (size) {
        int step = size > PIECE ? PIECE : (int)size, done = 0;
        if (!EVP_EncryptUpdate(c->counter, to, &done, from, step) || done != step)
            return BLOBS_LIBRARY;
        from += step;
        to += step;
        size -= step;
    }
    return 0;
}

static int authenticate(blobs_context *c, const uint8_t iv[IV], const uint8_t *ciphertext, size_t size, uint8_t tag[MAC])
{
    uint8_t key[R + IV];
    int done = 0;
    size_t length = MAC;
    memcpy(key, c->mac_r, R);
    if (!EVP_EncryptUpdate(c->block, key + R, &done, iv, IV) || done != IV || !EVP_MAC_init(c->mac, key, sizeof key, NULL) ||
        !EVP_MAC_update(c->mac, ciphertext, size) || !EVP_MAC_final(c->mac, tag, &length, MAC) || length != MAC)
        return BLOBS_LIBRARY;
    return 0;
}

int blobs_seal(blobs_context *c, const uint8_t iv[IV], const uint8_t *plain, size_t size, uint8_t *sealed)
{
    memcpy(sealed, iv, IV);
    if (apply_counter(c, iv, plain, size, sealed + IV))
        return BLOBS_LIBRARY;
    return authenticate(c, iv, sealed + IV, size, sealed + IV + size);
}

static int set_compressor(blobs_context *c, const blobs_zstd *z)
{
    if (c->zstd_set && !memcmp(&c->zstd, z, sizeof *z))
        return 0;
    const int parameters[][2] = {{LEVEL, z->level},         {STRATEGY, z->strategy},   {WINDOW_LOG, z->window_log},
                                 {HASH_LOG, z->hash_log},   {CHAIN_LOG, z->chain_log}, {MIN_MATCH, z->min_match}};
    if (ZSTD_isError(ZSTD_CCtx_reset(c->compressor, RESET_PARAMETERS)))
        return BLOBS_LIBRARY;
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        if (ZSTD_isError(ZSTD_CCtx_setParameter(c->compressor, parameters[i][0], parameters[i][1])))
            return BLOBS_LIBRARY;
    c->zstd = *z;
    c->zstd_set = 1;
    return 0;
}

static int64_t expand(blobs_context *c, const uint8_t *frame, size_t size, uint8_t *plain, size_t room)
{
    size_t whole = ZSTD_findFrameCompressedSize(frame, size);
    if (ZSTD_isError(whole) || whole != size)
        return BLOBS_COMPRESSED;
    unsigned long long announced = ZSTD_getFrameContentSize(frame, size);
    if (announced != SIZE_UNKNOWN && announced != room)
        return BLOBS_LENGTH;
    /* Too small a buffer and a broken frame look alike to the caller of zstd; both are refused. */
    size_t length = ZSTD_decompressDCtx(c->decompressor, plain, room, frame, size);
    if (ZSTD_isError(length))
        return BLOBS_COMPRESSED;
    return length == room ? (int64_t)length : BLOBS_LENGTH;
}

int64_t blobs_open(blobs_context *c, const uint8_t *sealed, size_t size, int compressed, const uint8_t *id, uint8_t *plain,
                   size_t room)
{
    static const uint8_t zeros[IV];
    uint8_t tag[MAC], hash[BLOBS_ID];
    sha_stream stream;
    if (size < BLOBS_OVERHEAD)
        return BLOBS_SHORT;
    if (!memcmp(sealed, zeros, IV))
        return BLOBS_ZERO_IV;
    size_t inner = size - BLOBS_OVERHEAD;
    if (!compressed && inner > room)
        return BLOBS_LENGTH;
    if (authenticate(c, sealed, sealed + IV, inner, tag))
        return BLOBS_LIBRARY;
    if (CRYPTO_memcmp(tag, sealed + IV + inner, MAC))
        return BLOBS_MAC;
    uint8_t *target = plain;
    if (compressed) {
        if (reserve(&c->packed, inner))
            return BLOBS_NO_MEMORY;
        target = c->packed.data;
    }
    if (apply_counter(c, sealed, sealed + IV, inner, target))
        return BLOBS_LIBRARY;
    int64_t length = compressed ? expand(c, target, inner, plain, room) : (int64_t)inner;
    if (length < 0 || !id)
        return length;
    sha_begin(&stream);
    sha_append(&stream, plain, length);
    sha_end(&stream, hash);
    return memcmp(hash, id, BLOBS_ID) ? BLOBS_HASH : length;
}

void blobs_open_many(blobs_context *c, const uint8_t *data, size_t size, blobs_opening *work, size_t count, uint8_t *plain,
                     sha_stream *pack)
{
    sha_queue queue = {0};
    if (pack)
        sha_push(&queue, pack, data, size);
    for (size_t i = 0; i < count; i++) {
        blobs_opening *w = work + i;
        uint8_t *target;
        w->opened = 0;
        if (w->start > size || w->length > size - w->start)
            continue;
        if (plain) {
            target = plain + w->offset;
        } else { /* whatever still waits to be hashed is in the other one */
            scratch *room = c->verified.data && sha_waiting(&queue) >= c->verified.data &&
                            sha_waiting(&queue) < c->verified.data + c->verified.size ? &c->spare : &c->verified;
            if (reserve(room, w->size + 1))
                continue;
            target = room->data;
        }
        if (blobs_open(c, data + w->start, w->length, w->compressed, NULL, target, w->size) != (int64_t)w->size)
            continue;
        w->opened = 1;
        sha_begin(&w->hash);
        sha_push(&queue, &w->hash, target, w->size);
    }
    sha_drain(&queue);
    for (size_t i = 0; i < count; i++) {
        uint8_t hash[BLOBS_ID];
        if (!work[i].opened)
            continue;
        sha_end(&work[i].hash, hash);
        work[i].opened = !memcmp(hash, work[i].id, BLOBS_ID);
    }
}

/* Compresses, encrypts and authenticates one blob; its sealed length, or what went wrong. */
static int64_t seal(blobs_context *c, const blobs_zstd *zstd, int always, blobs_sealing *w, uint8_t *sealed)
{
    uint8_t *inside = sealed + IV;
    const uint8_t *from = w->plain;
    size_t length = w->size;
    w->uncompressed = 0;
    if (zstd && w->size) { /* a compressed blob cannot say that it is empty (PACK-20) */
        if (set_compressor(c, zstd))
            return BLOBS_LIBRARY;
        size_t packed = ZSTD_compress2(c->compressor, inside, ZSTD_compressBound(w->size), w->plain, w->size);
        if (ZSTD_isError(packed))
            return BLOBS_LIBRARY;
        if (packed < w->size || always) {
            from = inside;
            length = packed;
            w->uncompressed = (uint32_t)w->size;
        }
    }
    memcpy(sealed, w->iv, IV);
    if (apply_counter(c, w->iv, from, length, inside) || authenticate(c, w->iv, inside, length, inside + length))
        return BLOBS_LIBRARY;
    return (int64_t)length + BLOBS_OVERHEAD;
}

size_t blobs_bound(size_t size)
{
    return ZSTD_compressBound(size) + BLOBS_OVERHEAD;
}

static int longest_first(const void *one, const void *two)
{
    const blobs_opening *a = one, *b = two;
    return (a->size < b->size) - (a->size > b->size);
}

/* Whether what was sealed opens to what it was made of; *pack* goes on with all of it. */
static int opens(blobs_context *c, const uint8_t *sealed, size_t size, const blobs_sealing *work, size_t count, sha_stream *pack)
{
    blobs_opening *openings = calloc(count + 1, sizeof *openings);
    size_t start = 0;
    int failed = openings ? 0 : BLOBS_NO_MEMORY;
    for (size_t i = 0; i < count && !failed; i++) {
        openings[i] = (blobs_opening){.id = work[i].id, .start = start, .length = work[i].length, .size = work[i].size,
                                      .compressed = work[i].uncompressed != 0};
        start += work[i].length;
    }
    if (!failed) {
        /* What is left of one hash when its partner ends is then paired with the next, and little is left at the end. */
        qsort(openings, count, sizeof *openings, longest_first);
        blobs_open_many(c, sealed, size, openings, count, NULL, pack);
    }
    for (size_t i = 0; i < count && !failed; i++)
        failed = openings[i].opened ? 0 : BLOBS_HASH;
    free(openings);
    return failed;
}

int64_t blobs_seal_many(blobs_context *c, const blobs_zstd *small, const blobs_zstd *large, size_t threshold, int always,
                        int verify, blobs_sealing *work, size_t count, uint8_t *sealed, sha_stream *pack)
{
    const sha_stream before = *pack;
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t length = seal(c, work[i].size < threshold ? small : large, always, work + i, sealed + used);
        if (length < 0)
            return length;
        work[i].length = length;
        used += length;
    }
    if (!verify) {
        sha_append(pack, sealed, used);
        return used;
    }
    int failed = opens(c, sealed, used, work, count, pack);
    if (failed)
        *pack = before;
    return failed ? failed : (int64_t)used;
}

int blobs_seal_again(blobs_context *c, blobs_context *from, const uint8_t *data, size_t size, const blobs_message *messages,
                     size_t count, const uint8_t *ivs, int verify, uint8_t *sealed)
{
    for (size_t i = 0; i < count; i++) {
        const blobs_message *m = messages + i;
        if (m->length < BLOBS_OVERHEAD || m->start > size || m->length > size - m->start)
            return BLOBS_SHORT;
        size_t inner = m->length - BLOBS_OVERHEAD;
        if (reserve(&c->packed, inner + 1) || (verify && reserve(&c->verified, inner + 1)))
            return BLOBS_NO_MEMORY;
        int64_t opened = blobs_open(from, data + m->start, m->length, 0, NULL, c->packed.data, inner);
        if (opened < 0)
            return (int)opened;
        int failed = blobs_seal(c, ivs + IV * i, c->packed.data, inner, sealed);
        if (failed)
            return failed;
        if (verify) {
            opened = blobs_open(c, sealed, m->length, 0, NULL, c->verified.data, inner);
            if (opened < 0)
                return (int)opened;
            if (memcmp(c->packed.data, c->verified.data, inner))
                return BLOBS_HASH;
        }
        sealed += m->length;
    }
    return 0;
}
