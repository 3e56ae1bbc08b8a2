/* What files are: stat and extended attributes of many, in few calls. System calls only, nothing of the interpreter. */
#ifndef RESTIC_FORMAT_LOOK_H
#define RESTIC_FORMAT_LOOK_H

#include "growing.h"

#include <sys/stat.h>
#include <sys/types.h>

typedef struct {
    int64_t size, mtime, ctime, atime; /* seconds */
    uint32_t mtime_ns, ctime_ns, atime_ns;
    uint32_t mode, uid, gid;
    uint64_t ino, dev, rdev, nlink;
} look_stat;

void look_take(look_stat *info, const struct stat *s);

/* A text among others behind each other; the length is LOOK_UNKNOWN where somebody else must ask. */
typedef struct {
    size_t start;
    int64_t length;
} look_text;
enum { LOOK_UNKNOWN = -1 };

/* The longest list of attribute names, value of an attribute, and symlink target that are taken; longer ones are unknown. */
enum { LOOK_LONGEST = 1024 };

/* The extended attributes of an open file: a list as restic writes it in JSON, in the system's order, or nothing. */
look_text look_attributes(growing *texts, int fd);

/* Whether *name* stands in JSON as it is, even where Go quotes it before. */
int look_is_plain(const char *name, size_t length);

typedef struct {
    look_stat info;
    look_text attributes;
    look_text target; /* of a symlink */
} look_found;

/* Opens the directory that the first *length* bytes of *path* lead to, the current one where there are none; entries are found
 * by their names in it. Symlinks are followed in the first *followed* bytes and nowhere else, so that nothing that takes the
 * place of a directory during a backup leads out of it. Gives a descriptor for paths only (O_PATH), or -1 with errno. */
int look_open(const char *path, size_t length, size_t followed);
/* Whether look_open may use openat2; otherwise it opens one directory after the other, as it does on systems without it. */
void look_may_use_openat2(int may);

/* Looks at an entry of the open *directory* without following it: 0, or errno. *ask* is when to find out more than its stat. */
enum { LOOK_ASK_NEVER, LOOK_ASK_UNLESS_REGULAR, LOOK_ASK_ALWAYS };
int look_at(int directory, const char *name, int ask, growing *texts, look_found *found);
/* Opens an entry for reading: without following it, without waiting, and without touching its access time where the system allows
 * that. Gives a descriptor, or -1 with errno. */
int look_open_entry(int directory, const char *name, int flags);

/* A directory's names, sorted by their bytes. */
typedef struct {
    growing text; /* each with a zero byte behind it, as they were read */
    const char **names;
    size_t count;
    void *stream;
} look_names;
/* Opens the entry *name* of the open directory *parent* and lists it: 0, or -1 where anything is out of the ordinary; somebody
 * else then finds out what. *found* is the directory itself. */
int look_list(int parent, const char *name, look_names *names, growing *texts, look_found *found);
/* The descriptor of a directory that is listed; it must not be closed. */
int look_listed(const look_names *names);
void look_forget(look_names *names);

#endif
