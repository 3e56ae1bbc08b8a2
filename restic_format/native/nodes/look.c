#define _GNU_SOURCE
#include "look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#if __has_include(<linux/openat2.h>)
#include <linux/openat2.h>
#endif

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

int look_is_plain(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        if (c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&')
            return 0;
    }
    return 1;
}

static char *put(char *out, const char *text, size_t length)
{
    memcpy(out, text, length);
    return out + length;
}
#define PUT(out, text) put(out, text, sizeof text - 1)

static char *put_base64(char *out, const uint8_t *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (; size; data += 3, out += 4) {
        size_t count = size < 3 ? size : 3;
        uint32_t bits = (uint32_t)data[0] << 16 | (count > 1 ? (uint32_t)data[1] << 8 : 0) | (count > 2 ? data[2] : 0);
        out[0] = digits[bits >> 18];
        out[1] = digits[bits >> 12 & 63];
        out[2] = count > 1 ? digits[bits >> 6 & 63] : '=';
        out[3] = count > 2 ? digits[bits & 63] : '=';
        size -= count;
    }
    return out;
}

/* One attribute in the list that begins at *start*. */
static int add_attribute(growing *texts, size_t start, const char *name, const uint8_t *value, size_t size)
{
    size_t length = strlen(name);
    char *out = look_is_plain(name, length) ? (char *)growing_room(texts, length + size / 3 * 4 + 40) : NULL;
    if (!out)
        return -1;
    *out++ = texts->used == start ? '[' : ',';
    out = put(PUT(out, "{\"name\":\""), name, length);
    out = put_base64(PUT(out, "\",\"value\":\""), value, size);
    texts->used = (size_t)(PUT(out, "\"}") - (char *)texts->data);
    return 0;
}

#if !defined(SYS_listxattrat) && !defined(__alpha__)
#define SYS_listxattrat 465 /* of all systems but one, since Linux 6.13 */
#endif

/* The names of the attributes of an open file, or where *name* is given of that entry of the open directory *fd*. */
static ssize_t list_attributes(int fd, const char *name, const char *path, char *names)
{
    if (!name)
        return flistxattr(fd, names, LOOK_LONGEST);
#ifdef SYS_listxattrat
    long listed = syscall(SYS_listxattrat, fd, name, AT_SYMLINK_NOFOLLOW, names, (size_t)LOOK_LONGEST);
    if (listed >= 0 || (errno != ENOSYS && errno != EPERM))
        return listed;
#endif
    return llistxattr(path, names, LOOK_LONGEST);
}

static look_text attributes_of(growing *texts, int fd, const char *entry)
{
    char names[LOOK_LONGEST + 1], path[64 + 256];
    uint8_t value[LOOK_LONGEST];
    look_text made = {texts->used, LOOK_UNKNOWN};
    /* There is no older call that finds an entry by its directory's descriptor, but the descriptor has a path. */
    if (entry && snprintf(path, sizeof path, "/proc/self/fd/%d/%s", fd, entry) >= (int)sizeof path)
        return made;
    ssize_t listed = list_attributes(fd, entry, path, names);
    if (listed <= 0) {
        made.length = !listed || errno == ENOTSUP ? 0 : LOOK_UNKNOWN;
        return made;
    }
    names[listed] = 0;
    for (const char *name = names; name < names + listed; name += strlen(name) + 1) {
        ssize_t size = entry ? lgetxattr(path, name, value, sizeof value) : fgetxattr(fd, name, value, sizeof value);
        if (size < 0 || add_attribute(texts, made.start, name, value, (size_t)size))
            goto unknown;
    }
    uint8_t *end = growing_add(texts, 1);
    if (!end)
        goto unknown;
    *end = ']';
    made.length = (int64_t)(texts->used - made.start);
    return made;
unknown:
    texts->used = made.start;
    return made;
}

look_text look_attributes(growing *texts, int fd)
{
    return attributes_of(texts, fd, NULL);
}

static look_text read_target(growing *texts, int directory, const char *path)
{
    look_text made = {texts->used, LOOK_UNKNOWN};
    char *out = (char *)growing_room(texts, LOOK_LONGEST);
    ssize_t length = out ? readlinkat(directory, path, out, LOOK_LONGEST) : -1;
    if (length > 0 && length < LOOK_LONGEST) {
        made.length = length;
        texts->used += (size_t)length;
    }
    return made;
}

static _Atomic int openat2_is_missing;

void look_may_use_openat2(int may)
{
    openat2_is_missing = !may;
}

enum { FOR_PATHS = O_PATH | O_DIRECTORY | O_CLOEXEC };

/* One directory after the other, none of them a symlink. Closes *fd*. */
static int open_each(int fd, const char *path, const char *end)
{
    while (fd >= 0 && path < end) {
        char name[256];
        const char *slash = memchr(path, '/', (size_t)(end - path));
        size_t length = (size_t)((slash ? slash : end) - path);
        int next = fd;
        if (length >= sizeof name) {
            errno = ENAMETOOLONG;
            next = -1;
        } else if (length) {
            memcpy(name, path, length);
            name[length] = 0;
            next = openat(fd, name, FOR_PATHS | O_NOFOLLOW);
        }
        if (next != fd) {
            int error = errno;
            close(fd);
            errno = error;
        }
        fd = next;
        path += length + 1;
    }
    return fd;
}

int look_open(const char *path, size_t length, size_t followed)
{
    char text[4096];
    if (length >= sizeof text || followed > length) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(text, path, followed);
    text[followed] = 0;
    int fd = open(followed ? text : ".", FOR_PATHS);
    if (fd < 0 || followed == length)
        return fd;
#if defined SYS_openat2 && defined RESOLVE_NO_SYMLINKS
    if (!openat2_is_missing) {
        struct open_how how = {.flags = FOR_PATHS | O_NOFOLLOW, .resolve = RESOLVE_NO_SYMLINKS};
        memcpy(text, path + followed, length - followed);
        text[length - followed] = 0;
        long below = syscall(SYS_openat2, fd, text, &how, sizeof how);
        if (below >= 0 || (errno != ENOSYS && errno != EPERM)) {
            int error = errno;
            close(fd);
            errno = error;
            return (int)below;
        }
        openat2_is_missing = 1;
    }
#endif
    return open_each(fd, path + followed, path + length);
}

int look_open_entry(int directory, const char *name, int flags)
{
    flags |= O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    int fd = openat(directory, name, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM) /* only the owner and root may leave the access time alone */
        fd = openat(directory, name, flags);
    return fd;
}

int look_at(int directory, const char *name, int ask, growing *texts, look_found *found)
{
    struct stat s;
    found->attributes.length = found->target.length = LOOK_UNKNOWN;
    if (fstatat(directory, name, &s, AT_SYMLINK_NOFOLLOW))
        return errno;
    look_take(&found->info, &s);
    if (ask == LOOK_ASK_ALWAYS || (ask == LOOK_ASK_UNLESS_REGULAR && !S_ISREG(s.st_mode)))
        found->attributes = attributes_of(texts, directory, name);
    if (ask != LOOK_ASK_NEVER && S_ISLNK(s.st_mode))
        found->target = read_target(texts, directory, name);
    return 0;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Reads the names behind each other into one piece of memory. */
static int read_names(look_names *names)
{
    struct dirent *entry;
    while (errno = 0, (entry = readdir(names->stream))) {
        const char *name = entry->d_name;
        if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
            continue;
        size_t length = strlen(name) + 1;
        uint8_t *at = growing_add(&names->text, length);
        if (!at)
            return -1;
        memcpy(at, name, length);
        names->count++;
    }
    if (errno)
        return -1;
    names->names = malloc((names->count + 1) * sizeof *names->names);
    if (!names->names)
        return -1;
    const char *at = (const char *)names->text.data;
    for (size_t i = 0; i < names->count; i++, at += strlen(at) + 1)
        names->names[i] = at;
    qsort(names->names, names->count, sizeof *names->names, by_bytes);
    return 0;
}

int look_list(int parent, const char *name, look_names *names, growing *texts, look_found *found)
{
    struct stat s;
    memset(names, 0, sizeof *names);
    int fd = look_open_entry(parent, name, O_DIRECTORY);
    if (fd < 0)
        return -1;
    if (fstat(fd, &s)) {
        close(fd);
        return -1;
    }
    look_take(&found->info, &s);
    found->attributes = look_attributes(texts, fd);
    found->target.length = LOOK_UNKNOWN;
    names->stream = fdopendir(fd);
    if (!names->stream)
        close(fd);
    if (!names->stream || read_names(names)) {
        look_forget(names);
        return -1;
    }
    return 0;
}

int look_listed(const look_names *names)
{
    return dirfd(names->stream);
}

void look_forget(look_names *names)
{
    if (names->stream)
        closedir(names->stream);
    free(names->text.data);
    free(names->names);
    memset(names, 0, sizeof *names);
}
