#include "plans.h"

#include <stdlib.h>
#include <string.h>

enum { ID = FORMAT_ID_SIZE, OVERHEAD = FORMAT_OVERHEAD, EARLIEST = 1700, LATEST = 2200 };
#define NS 1000000000LL
#define NOBODY UINT32_MAX /* no owner: "leave it as it is" to the system */

static int64_t days_before(int year, int month, int day)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int last = year - 1; /* leap days of the years up to this one */
    int64_t days = 365LL * year + last / 4 - last / 100 + last / 400 + before[month - 1] + day - 1;
    if (month > 2)
        days += trees_days_in(year, 2) - 28;
    return days - 719527; /* 1970-01-01 */
}

int plans_time(json_text text, int64_t *ns)
{
    trees_moment m;
    if (!trees_time(text, &m) || m.year < EARLIEST || m.year > LATEST)
        return 0;
    *ns = (days_before(m.year, m.month, m.day) * 86400 + m.hour * 3600 + m.minute * 60 + m.second - m.offset) * NS + m.fraction;
    return 1;
}

typedef struct {
    const table *table;
    json_text previous;
    const char *json;
    uint32_t file, largest;
    uint64_t names;
    growing *columns;
} reading;

static int put(reading *r, int column, const void *value, size_t size)
{
    uint8_t *at = growing_add(r->columns + column, size);
    if (!at)
        return -1;
    memcpy(at, value, size);
    return 0;
}
#define PUT(r, column, type, value) put(r, column, &(type){(type)(value)}, sizeof(type))

static int seen(const trees_node *n, int field)
{
    return n->seen >> field & 1;
}

/* Whether all about the node but its content is ordinary; its times. */
static int ordinary(const trees_node *n, int64_t *atime, int64_t *mtime)
{
    const json_text *changed = n->texts + TREES_MTIME, *accessed = n->texts + TREES_ATIME;
    if (!trees_is(n, FORMAT_TYPE_FILE) || !n->content || seen(n, TREES_EXTENDED_ATTRIBUTES) ||
        (n->numbers[TREES_LINKS] > 1 && n->numbers[TREES_INODE]))
        return 0;
    if (!seen(n, TREES_UID) || !seen(n, TREES_GID) || n->numbers[TREES_UID] == NOBODY || n->numbers[TREES_GID] == NOBODY)
        return 0;
    if (!changed->at || !plans_time(*changed, mtime))
        return 0;
    *atime = *mtime;
    /* Most backups are made without access times, which repeats the modification time. */
    return !accessed->at || json_same(*accessed, *changed) || plans_time(*accessed, atime);
}

/* Appends the file's blobs: 1, 0 where one of them is not as it should be, -1 without memory. */
static int add_blobs(reading *r, const trees_node *n)
{
    const table *t = r->table;
    uint64_t size = 0;
    for (size_t i = 0; i < n->content_count; i++) {
        uint8_t id[ID];
        if (!trees_blob(n, i, id))
            return 0;
        int64_t row = table_first(t, 0, id);
        if (row < 0 || t->lengths[row] < OVERHEAD || t->lengths[row] - OVERHEAD > r->largest || t->plain[row] > r->largest)
            return 0;
        if (put(r, PLANS_IDS, id, ID) || PUT(r, PLANS_PACK, uint32_t, t->packs[row]) ||
            PUT(r, PLANS_OFFSET, uint64_t, t->offsets[row]) || PUT(r, PLANS_LENGTH, uint32_t, t->lengths[row]) ||
            PUT(r, PLANS_UNCOMPRESSED, uint32_t, t->plain[row]) || PUT(r, PLANS_FILE, uint32_t, r->file) ||
            PUT(r, PLANS_FILE_OFFSET, uint64_t, size))
            return -1;
        size += t->plain[row] ? t->plain[row] : t->lengths[row] - OVERHEAD;
    }
    return size == n->numbers[TREES_SIZE];
}

static int add_file(reading *r, const trees_node *n, int64_t atime, int64_t mtime)
{
    static const int blob_columns[][2] = {{PLANS_IDS, ID},         {PLANS_PACK, 4}, {PLANS_OFFSET, 8},     {PLANS_LENGTH, 4},
                                          {PLANS_UNCOMPRESSED, 4}, {PLANS_FILE, 4}, {PLANS_FILE_OFFSET, 8}};
    size_t before = r->columns[PLANS_FILE].used / 4;
    int added = add_blobs(r, n);
    if (added < 0)
        return -1;
    if (!added) {
        for (size_t i = 0; i < sizeof blob_columns / sizeof *blob_columns; i++)
            r->columns[blob_columns[i][0]].used = before * (size_t)blob_columns[i][1];
        return 0;
    }
    const json_text *name = n->texts + TREES_NAME;
    uint64_t mode = n->numbers[TREES_MODE];
    unsigned permissions = (unsigned)(mode & FORMAT_MODE_PERM) | (mode & FORMAT_MODE_SETUID ? 04000 : 0) |
                           (mode & FORMAT_MODE_SETGID ? 02000 : 0) |
                           (mode & FORMAT_MODE_STICKY ? 01000 : 0);
    r->file++;
    r->names += name->length;
    if (PUT(r, PLANS_SIZE, uint64_t, n->numbers[TREES_SIZE]) || PUT(r, PLANS_BLOBS, uint32_t, n->content_count) ||
        PUT(r, PLANS_PERMISSIONS, uint16_t, permissions) || PUT(r, PLANS_UID, uint32_t, n->numbers[TREES_UID]) ||
        PUT(r, PLANS_GID, uint32_t, n->numbers[TREES_GID]) || PUT(r, PLANS_ATIME, int64_t, atime) ||
        PUT(r, PLANS_MTIME, int64_t, mtime) || put(r, PLANS_NAMES, name->at, name->length) ||
        PUT(r, PLANS_NAME_ENDS, uint64_t, r->names))
        return -1;
    return 1;
}

static int add_node(void *to, const trees_node *n)
{
    reading *r = to;
    int64_t atime, mtime;
    if (!trees_follows(n, &r->previous))
        return TREES_UNUSUAL;
    if (ordinary(n, &atime, &mtime)) {
        int added = add_file(r, n, atime, mtime);
        if (added)
            return added < 0 ? -1 : 0;
    }
    uint64_t start = (uint64_t)(n->whole.at - r->json);
    return PUT(r, PLANS_OTHERS, uint64_t, start) || PUT(r, PLANS_OTHERS, uint64_t, start + n->whole.length) ? -1 : 0;
}

int plans_read(const table *t, const char *json, size_t size, uint32_t file, uint64_t names, uint32_t largest,
               growing columns[PLANS_COLUMNS])
{
    reading r = {t, {NULL, 0}, json, file, largest, names, columns};
    return trees_walk(json, size, add_node, &r);
}
