/* scrypt's memory-hard step for one lane (RFC 7914, section 5: scryptROMix). */
#ifndef RESTIC_FORMAT_SCRYPT_H
#define RESTIC_FORMAT_SCRYPT_H

#include <stddef.h>
#include <stdint.h>

/* Mixes *lane*, 128 * r bytes, in place; n is a power of two. 0, or -1 without the 64 * r * n bytes of memory it takes. */
int scrypt_mix(uint8_t *lane, uint64_t n, uint32_t r);

#endif
