/* scrypt's memory-hard step for several lanes at once (RFC 7914, section 5: scryptROMix). */
#ifndef RESTIC_FORMAT_SCRYPT_H
#define RESTIC_FORMAT_SCRYPT_H

#include <stddef.h>
#include <stdint.h>

typedef enum { SCRYPT_PLAIN, SCRYPT_AVX2, SCRYPT_AVX512 } scrypt_method;

int scrypt_supports(scrypt_method method);

/* Most lanes that are mixed at once. */
unsigned scrypt_slots(scrypt_method method);

/* Mixes *count* lanes of 128 * r bytes in place; they lie one behind the other. n is a power of two.
 *
 * *slots* of them, 1 to scrypt_slots(method), are mixed at once. Of each table the rows 0, every, 2 * every ... are kept; what
 * lies between is worked out again where it is asked for: (3 + every) / 2 * n steps for 128 * r * n / every bytes a slot.
 *
 * 0, or -1 without that memory. */
int scrypt_mix(scrypt_method method, uint8_t *lanes, size_t count, uint64_t n, uint32_t r, unsigned slots, uint64_t every);

#endif
