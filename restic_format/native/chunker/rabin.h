/* Rabin fingerprints over GF(2) of every 64-byte window of a buffer.
 *
 * The fingerprint of a window w[0..63] is  sum w[j] * x^(8*(63-j))  modulo the polynomial.
 * It depends on those 64 bytes only, so any position of a buffer can be the start of a scan, and many scans
 * (lanes) can run side by side. Every method below finds the same positions; they differ in speed.
 */
#ifndef RESTIC_FORMAT_RABIN_H
#define RESTIC_FORMAT_RABIN_H

#include <stddef.h>
#include <stdint.h>

#define RABIN_WINDOW 64
#define RABIN_DEGREE 53       /* of every polynomial that restic makes; the vector methods rely on it */
#define RABIN_PLANES 7        /* bytes of a fingerprint of that degree, moved up by RABIN_SHIFT bits */
#define RABIN_SHIFT 3         /* so that the byte about to overflow is a whole byte */
#define RABIN_VECTOR_LANES 32
#define RABIN_VECTOR_BITS 21  /* a split mask of at most this many bits lies in the three lowest planes */

typedef struct {
    uint64_t split_mask;
    int degree;
    int split_bits;
    uint64_t mod[256];  /* b * x^degree mod P, together with the bits that it cancels */
    uint64_t out[256];  /* b * x^504 mod P: what the oldest byte of a window adds */
    /* The same two maps cut into planes (bytes of the shifted fingerprint). Each plane is a linear map from 8 bits to 8 bits: two
     * tables of 16 bytes (low and high nibble) for PSHUFB. */
    uint8_t overflow_nibbles[RABIN_PLANES][2][16];
    uint8_t leave_nibbles[RABIN_PLANES][2][16];
    uint8_t split_planes[3];
} rabin_tables;

typedef enum {
    RABIN_PLAIN = 0,   /* one byte after the other */
    RABIN_LANES = 1,   /* eight interleaved scans in plain C */
    RABIN_AVX2 = 2     /* 32 lanes, nibble tables */
} rabin_method;

/* Fill the tables for a polynomial of degree 8 to 53 and a split mask of split_bits (1 to 52) one bits. */
void rabin_prepare(rabin_tables *tables, uint64_t polynomial, int split_bits);

/* 1 if the method works on this processor and with these tables. */
int rabin_supports(const rabin_tables *tables, rabin_method method);

/* The smallest position p, first <= p <= last, for which the fingerprint of data[p-64 .. p-1] has only zero bits
 * under the split mask; 0 if there is none. Requires first >= 64 and data of at least `last` bytes. */
size_t rabin_find(const rabin_tables *tables, rabin_method method, const uint8_t *data, size_t first, size_t last);

/* One byte after the other: the building block of the methods. Same contract as rabin_find. */
size_t rabin_find_plain(const rabin_tables *tables, const uint8_t *data, size_t first, size_t last);

/* 1 if the processor (and the build) can run the method. */
int rabin_x86_supports(rabin_method method);

/* Scan base + 1 .. base + 32 * length, where base >= 64 and length is a multiple of 64. Lane l takes positions
 * base + l * length + 1 .. base + (l + 1) * length. */
size_t rabin_scan_avx2(const rabin_tables *tables, const uint8_t *data, size_t base, size_t length);

#endif
