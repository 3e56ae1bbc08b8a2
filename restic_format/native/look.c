#define _GNU_SOURCE
#include "look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
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

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Reads the names behind each other into one piece of memory. */
static int read_names(look_names *names)
{
    size_t used = 0, room = 0;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(names->stream))) {
        const char *name = entry->d_name;
        if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
            continue;
        size_t length = strlen(name) + 1;
        if (length > room - used) {
            room = room * 2 + 4096;
            char *grown = realloc(names->text, room);
            if (!grown)
                return -1;
            names->text = grown;
        }
        memcpy(names->text + used, name, length);
        used += length;
        names->count++;
    }
    if (errno)
        return -1;
    names->names = malloc((names->count + 1) * sizeof *names->names);
    if (!names->names)
        return -1;
    const char *at = names->text;
    for (size_t i = 0; i < names->count; i++, at += strlen(at) + 1)
        names->names[i] = at;
    qsort(names->names, names->count, sizeof *names->names, by_bytes);
    return 0;
}

int look_list(const char *path, look_names *names, look_stat *info, int *attributes)
{
    enum { FLAGS = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_DIRECTORY };
    struct stat s;
    memset(names, 0, sizeof *names);
    int fd = open(path, FLAGS | O_NOATIME);
    if (fd < 0 && errno == EPERM) /* only the owner and root may leave the access time alone */
        fd = open(path, FLAGS);
    if (fd < 0)
        return -1;
    if (fstat(fd, &s)) {
        close(fd);
        return -1;
    }
    look_take(info, &s);
    *attributes = look_judge(flistxattr(fd, NULL, 0));
    names->stream = fdopendir(fd);
    if (!names->stream)
        close(fd);
    if (!names->stream || read_names(names)) {
        look_forget(names);
        return -1;
    }
    return 0;
}

int look_listed(look_directory *directory, const char *path, const look_names *names)
{
    size_t length = strlen(path), slash = length && path[length - 1] != '/';
    if (length + slash >= sizeof directory->path)
        return -1;
    memcpy(directory->path, path, length);
    directory->path[length] = '/';
    directory->length = length + slash;
    directory->fd = dirfd(names->stream);
    return 0;
}

void look_forget(look_names *names)
{
    if (names->stream)
        closedir(names->stream);
    free(names->text);
    free(names->names);
    memset(names, 0, sizeof *names);
}
