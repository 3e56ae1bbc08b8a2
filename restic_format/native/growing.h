/* Bytes behind each other, in memory that grows. */
#ifndef RESTIC_FORMAT_GROWING_H
#define RESTIC_FORMAT_GROWING_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Set to zero to begin; free *data* at the end. */
typedef struct {
    uint8_t *data;
    size_t used, room;
} growing;

/* Where *size* bytes more have room behind those that are *used*; NULL without memory. */
static inline uint8_t *growing_room(growing *bytes, size_t size)
{
    if (size > bytes->room - bytes->used) {
        size_t room = bytes->room * 2 + size + 1024;
        uint8_t *grown = room < size ? NULL : realloc(bytes->data, room);
        if (!grown)
            return NULL;
        bytes->data = grown;
        bytes->room = room;
    }
    return bytes->data + bytes->used;
}

/* The same, and these bytes are used from now on. */
static inline uint8_t *growing_add(growing *bytes, size_t size)
{
    uint8_t *at = growing_room(bytes, size);
    bytes->used += at ? size : 0;
    return at;
}

#endif
