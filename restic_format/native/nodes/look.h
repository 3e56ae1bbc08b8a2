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

/* Texts of any length, behind each other; free *at* at the end. */
typedef struct {
    char *at;
    size_t used, room;
} look_texts;

/* One of them; the length is LOOK_UNKNOWN where somebody else must ask. */
typedef struct {
    size_t start;
    int64_t length;
} look_text;
enum { LOOK_UNKNOWN = -1 };

/* The longest list of attribute names, value of an attribute, and symlink target that are taken; longer ones are unknown. */
enum { LOOK_LONGEST = 1024 };

/* The extended attributes of an open file, or with a negative *fd* those of *path*, which is not followed: a list as restic
 * writes it in JSON, in the system's order, or nothing. */
look_text look_attributes(look_texts *texts, int fd, const char *path);

/* Whether *name* stands in JSON as it is, even where Go quotes it before. */
int look_is_plain(const char *name, size_t length);

typedef struct {
    look_stat info;
    look_text attributes;
    look_text target; /* of a symlink */
} look_found;

/* Opens the directory of entries that look_at will be asked about; its path must end with a slash. Where that fails, or the
 * path is empty, entries are found by their whole path. */
typedef struct {
    int fd;
    size_t length;
    char path[4096];
} look_directory;
int look_open(look_directory *directory, const char *path, size_t length);
void look_close(look_directory *directory);

/* Looks at an entry without following it: 0, or errno. *ask* is when to find out more than its stat. */
enum { LOOK_ASK_NEVER, LOOK_ASK_UNLESS_REGULAR, LOOK_ASK_ALWAYS };
int look_at(look_directory *directory, const char *name, int ask, look_texts *texts, look_found *found);

/* A directory's names, sorted by their bytes. */
typedef struct {
    char *text; /* each with a zero byte behind it, as they were read */
    const char **names;
    size_t count;
    void *stream;
} look_names;
/* Opens a directory without following it or touching its access time, where the system allows that, and lists it: 0, or -1
 * where anything is out of the ordinary; somebody else then finds out what. *found* is the directory itself. */
int look_list(const char *path, look_names *names, look_texts *texts, look_found *found);
/* The same as look_open for a directory that is listed; it must not be closed. */
int look_listed(look_directory *directory, const char *path, const look_names *names);
void look_forget(look_names *names);

#endif
