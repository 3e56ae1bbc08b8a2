#define _GNU_SOURCE
#include "read.h"

#include <unistd.h>

int64_t read_small(int directory, const char *name, uint8_t *buffer, size_t room, size_t limit, growing *texts,
                   look_found *found, int *changed)
{
    struct stat before, after;
    size_t filled = 0;
    int64_t result = -1;
    int fd = look_open_entry(directory, name, 0);
    if (fd < 0)
        return -1;
    if (fstat(fd, &before) || !S_ISREG(before.st_mode) || (uint64_t)before.st_size > limit || (uint64_t)before.st_size >= room)
        goto done;
    look_take(&found->info, &before);
    found->attributes = look_attributes(texts, fd);
    found->target.length = LOOK_UNKNOWN;
    for (;;) {
        /* One byte more than it should have shows whether it has grown. */
        size_t wanted = (filled <= (size_t)before.st_size ? (size_t)before.st_size - filled : 0) + 1;
        if (wanted > room - filled)
            goto done;
        ssize_t count = read(fd, buffer + filled, wanted);
        if (count < 0)
            goto done;
        filled += (size_t)count;
        /* More than it should have: it grows, or its size is not a size, as in /proc, where only reads from the start on give
         * anything. That wants another buffer, and a look of its own. */
        if (filled > (size_t)before.st_size)
            goto done;
        /* Of a regular file less than what was asked for is what there is. */
        if (count == 0 || ((size_t)count < wanted && filled == (size_t)before.st_size))
            break;
    }
    if (fstat(fd, &after))
        goto done;
    *changed = after.st_size != before.st_size || after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
               after.st_mtim.tv_nsec != before.st_mtim.tv_nsec;
    result = (int64_t)filled;
done:
    close(fd);
    return result;
}
