#define _GNU_SOURCE
#include "places.h"

#include <unistd.h>

static int write_at(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
    while (size) {
        ssize_t count = pwrite(fd, data, size, (off_t)offset);
        if (count <= 0)
            return -1;
        data += count;
        size -= (size_t)count;
        offset += (uint64_t)count;
    }
    return 0;
}

int places_write(blobs_context *context, const uint8_t *data, size_t size, blobs_opening *blobs, size_t blob_count, place *places,
                 size_t count, const files_owner *self)
{
    size_t room = 0;
    for (size_t i = 0; i < blob_count; i++) {
        blobs[i].offset = room;
        room += blobs[i].size;
    }
    uint8_t *plain = blobs_room(context, room + 1);
    if (!plain)
        return -1;
    blobs_open_many(context, data, size, blobs, blob_count, plain, NULL);
    for (place *p = places; p < places + count; p++) {
        const blobs_opening *blob = blobs + p->blob;
        if (!blob->opened)
            continue;
        if (p->descriptor >= 0)
            p->done = !write_at(p->descriptor, plain + blob->offset, blob->size, p->offset);
        else
            p->done = !files_create(p->directory, p->name, p->name_length, plain + blob->offset, blob->size, &p->meta, p->traits,
                                    self);
    }
    return 0;
}
