#define _GNU_SOURCE
#include "look.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

void look_take(look_stat *info, const struct stat *s)
{
    info->size = s->st_size;
    info->mtime = s->st_mtim.tv_sec;
    info->ctime = s->st_ctim.tv_sec;
    info->atime = s->st_atim.tv_sec;
    info->mtime_ns = (uint32_t)s->st_mtim.tv_nsec;
    info->ctime_ns = (uint32_t)s->st_ctim.tv_nsec;
    info->atime_ns = (uint32_t)s->st_atim.tv_nsec;
    info->mode = s->st_mode;
    info->uid = s->st_uid;
    info->gid = s->st_gid;
    info->ino = s->st_ino;
    info->dev = s->st_dev;
    info->rdev = s->st_rdev;
    info->nlink = s->st_nlink;
}

int look_judge(ssize_t listed)
{
    if (listed >= 0)
        return listed ? LOOK_ATTRIBUTES : LOOK_NO_ATTRIBUTES;
    return errno == ENOTSUP ? LOOK_NO_ATTRIBUTES : LOOK_ATTRIBUTES_UNKNOWN;
}

int look_open(look_directory *directory, const char *path, size_t length)
{
    if (length >= sizeof directory->path)
        return -1;
    memcpy(directory->path, path, length);
    directory->path[length] = 0;
    directory->length = length;
    directory->fd = length ? open(directory->path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    return 0;
}

void look_close(look_directory *directory)
{
    if (directory->fd >= 0)
        close(directory->fd);
}

int look_at(look_directory *directory, const char *name, int ask, look_stat *info, int *attributes)
{
    struct stat s;
    size_t length = strlen(name);
    *attributes = LOOK_ATTRIBUTES_UNKNOWN;
    if (length >= sizeof directory->path - directory->length)
        return ENAMETOOLONG;
    memcpy(directory->path + directory->length, name, length + 1);
    int failed = directory->fd >= 0 ? fstatat(directory->fd, name, &s, AT_SYMLINK_NOFOLLOW) : lstat(directory->path, &s);
    if (failed)
        return errno;
    look_take(info, &s);
    if (ask == LOOK_ASK_ALWAYS || (ask == LOOK_ASK_UNLESS_REGULAR && !S_ISREG(s.st_mode)))
        *attributes = look_judge(llistxattr(directory->path, NULL, 0));
    return 0;
}
