/* What files are: stat and extended attributes of many, in few calls. System calls only, nothing of the interpreter. */
#ifndef RESTIC_FORMAT_LOOK_H
#define RESTIC_FORMAT_LOOK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

typedef struct {
    int64_t size, mtime, ctime, atime; /* seconds */
    uint32_t mtime_ns, ctime_ns, atime_ns;
    uint32_t mode, uid, gid;
    uint64_t ino, dev, rdev, nlink;
} look_stat;

void look_take(look_stat *info, const struct stat *s);

enum { LOOK_NO_ATTRIBUTES, LOOK_ATTRIBUTES, LOOK_ATTRIBUTES_UNKNOWN };

/* One of these for what listing the attributes without a buffer gave. */
int look_judge(ssize_t listed);

/* Opens the directory of entries that look_at will be asked about; its path must end with a slash. Where that fails, or the
 * path is empty, entries are found by their whole path. */
typedef struct {
    int fd;
    size_t length;
    char path[4096];
} look_directory;
int look_open(look_directory *directory, const char *path, size_t length);
void look_close(look_directory *directory);

/* Looks at an entry without following it: 0, or errno.
 * *attributes* says whether it has extended attributes; *ask* is when to find out. */
enum { LOOK_ASK_NEVER, LOOK_ASK_UNLESS_REGULAR, LOOK_ASK_ALWAYS };
int look_at(look_directory *directory, const char *name, int ask, look_stat *info, int *attributes);

/* A directory's names, sorted by their bytes. */
typedef struct {
    char *text; /* each with a zero byte behind it, as they were read */
    const char **names;
    size_t count;
    void *stream;
} look_names;
/* Opens a directory without following it or touching its access time, where the system allows that, and lists it: 0, or -1
 * where anything is out of the ordinary; somebody else then finds out what. *info* and *attributes* are the directory's own. */
int look_list(const char *path, look_names *names, look_stat *info, int *attributes);
/* The same as look_open for a directory that is listed; it must not be closed. */
int look_listed(look_directory *directory, const char *path, const look_names *names);
void look_forget(look_names *names);

#endif
