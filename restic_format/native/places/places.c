#define _GNU_SOURCE
#include "places.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static struct timespec moment(int64_t ns)
{
    int64_t fraction = ns % 1000000000;
    if (fraction < 0)
        fraction += 1000000000;
    return (struct timespec){.tv_sec = (ns - fraction) / 1000000000, .tv_nsec = fraction};
}

static int learn(int fd, uint8_t *traits, const places_owner *self)
{
    struct stat s;
    ssize_t listed = flistxattr(fd, NULL, 0);
    if (listed > 0 || (listed < 0 && errno != ENOTSUP) || fstat(fd, &s))
        return -1;
    *traits = PLACES_KNOWN | (s.st_uid == self->uid && s.st_gid == self->gid ? PLACES_OWN : 0);
    return 0;
}

static int create(int directory, const char *name, size_t name_length, const uint8_t *data, size_t size, const places_meta *meta,
                  uint8_t *traits, const places_owner *self)
{
    int result = -1;
    char path[NAME_MAX + 1];
    if (name_length > NAME_MAX)
        return -1;
    memcpy(path, name, name_length);
    path[name_length] = 0;
    int fd = openat(directory, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0)
        return -1;
    if (!*traits && learn(fd, traits, self))
        goto done;
    while (size) {
        ssize_t count = write(fd, data, size);
        if (count <= 0)
            goto done;
        data += count;
        size -= (size_t)count;
    }
    /* The owner first, for changing it clears bits of the mode; the times after everything that writes. */
    int ours = (*traits & PLACES_OWN) && meta->uid == self->uid && meta->gid == self->gid;
    if (!ours && fchown(fd, meta->uid, meta->gid) && (!self->uid || errno != EPERM))
        goto done;
    const struct timespec times[2] = {moment(meta->atime), moment(meta->mtime)};
    if (futimens(fd, times) || fchmod(fd, meta->mode))
        goto done;
    result = 0;
done:
    if (close(fd))
        result = -1;
    return result;
}

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

void places_write(place *places, size_t count, const places_owner *self)
{
    for (place *p = places; p < places + count; p++) {
        if (p->descriptor >= 0)
            p->done = !write_at(p->descriptor, p->data, p->size, p->offset);
        else
            p->done = !create(p->directory, p->name, p->name_length, p->data, p->size, &p->meta, p->traits, self);
    }
}
