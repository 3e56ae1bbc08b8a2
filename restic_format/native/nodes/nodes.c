#define _GNU_SOURCE
#include "nodes.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ID = JSON_ID };

nodes_text nodes_whole(const nodes_tree *tree, const nodes_place *place)
{
    return (nodes_text){tree->json + place->start, place->length};
}

nodes_text nodes_name(const nodes_tree *tree, const nodes_place *place)
{
    return (nodes_text){tree->json + place->name, place->name_length};
}

const nodes_place *nodes_find(const nodes_tree *tree, nodes_text name, size_t *next)
{
    const nodes_place *places = tree->plain.places;
    size_t low = 0, high = tree->plain.count;
    if (*next < high && json_same(nodes_name(tree, places + *next), name))
        return places + (*next)++;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = json_compare(nodes_name(tree, places + middle), name);
        if (!order) {
            *next = middle + 1;
            return places + middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *next = low;
    return NULL;
}

/* Reading. */

static int append(nodes_list *list, nodes_place place, size_t guess)
{
    if (list->count == list->room) {
        size_t room = list->room ? list->room + list->room / 2 + 4 : guess;
        nodes_place *grown = room > SIZE_MAX / sizeof *grown ? NULL : realloc(list->places, room * sizeof *grown);
        if (!grown)
            return -1;
        list->places = grown;
        list->room = room;
    }
    list->places[list->count++] = place;
    return 0;
}

typedef struct {
    nodes_tree *tree;
    size_t size;
} reading;

static int add_entry(void *to, const trees_node *n)
{
    enum { OTHERS = 1u << TREES_GENERIC_ATTRIBUTES | 1u << TREES_ERROR }; /* not for regular files of a system like this */
    reading *r = to;
    json_text name = n->texts[TREES_NAME];
    nodes_place place = {(uint32_t)(n->whole.at - r->tree->json), (uint32_t)n->whole.length, (uint32_t)(name.at - r->tree->json),
                         (uint32_t)name.length};
    nodes_list *list = &r->tree->plain;
    uint8_t id[ID];
    if (n->seen & OTHERS)
        return TREES_UNUSUAL;
    for (size_t i = 0; i < n->content_count; i++)
        if (!trees_blob(n, i, id))
            return TREES_UNUSUAL;
    if (memchr(name.at, '\\', name.length)) {
        if (r->tree->escaped.count == NODES_MOST_ESCAPED)
            return TREES_UNUSUAL;
        return append(&r->tree->escaped, place, 4);
    }
    if (list->count && json_compare(nodes_name(r->tree, list->places + list->count - 1), name) >= 0)
        return TREES_UNUSUAL;
    return append(list, place, 4 + r->size / 400);
}

void nodes_read(const nodes_tree *tree, const nodes_place *place, nodes_entry *entry)
{
    trees_node n;
    memset(entry, 0, sizeof *entry);
    if (!trees_one(nodes_whole(tree, place), &n)) /* it has been read before */
        return;
    *entry = (nodes_entry){
        .whole = n.whole, .name = n.texts[TREES_NAME], .mtime = n.texts[TREES_MTIME], .ctime = n.texts[TREES_CTIME],
        .content = trees_content(&n), .blobs = n.content_count, .size = n.numbers[TREES_SIZE],
        .inode = n.numbers[TREES_INODE], .is_file = trees_is(&n, FORMAT_TYPE_FILE),
    };
}

int nodes_parse(nodes_tree *tree, const char *json, size_t size)
{
    reading r = {tree, size};
    memset(tree, 0, sizeof *tree);
    tree->json = json;
    return size > UINT32_MAX ? TREES_UNUSUAL : trees_walk(json, size, add_entry, &r);
}

void nodes_free(nodes_tree *tree)
{
    free(tree->plain.places);
    free(tree->escaped.places);
    memset(tree, 0, sizeof *tree);
}

/* Writing. */

static char *put(char *out, const char *text, size_t length)
{
    memcpy(out, text, length);
    return out + length;
}
#define PUT(out, text) put(out, text, sizeof text - 1)

static char *put_text(char *out, nodes_text text)
{
    return text.length ? put(out, text.at, text.length) : out; /* what is empty may be nowhere */
}

static char *put_number(char *out, uint64_t value)
{
    char digits[20];
    int at = sizeof digits;
    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    return put(out, digits + at, sizeof digits - (size_t)at);
}

static char *put_digits(char *out, unsigned value, int count)
{
    for (int i = count - 1; i >= 0; i--, value /= 10)
        out[i] = (char)('0' + value % 10);
    return out + count;
}

/* Z or +hh:mm; Go drops the seconds of an offset, and then less than a minute has no sign. */
static char *put_zone(char *out, long offset)
{
    unsigned minutes = (unsigned)(offset < 0 ? -offset : offset) / 60;
    if (!offset)
        return PUT(out, "Z");
    *out++ = offset <= -60 ? '-' : '+';
    out = put_digits(out, minutes / 60, 2);
    *out++ = ':';
    return put_digits(out, minutes % 60, 2);
}

static int learn(nodes_clock *clock, int slot, int64_t second)
{
    struct tm tm;
    time_t moment = (time_t)second;
    if (!localtime_r(&moment, &tm) || tm.tm_year < 1 - 1900 || tm.tm_year > 9999 - 1900)
        return 0;
    char *out = put_digits(clock->texts[slot], (unsigned)(tm.tm_year + 1900), 4);
    *out++ = '-';
    out = put_digits(out, (unsigned)tm.tm_mon + 1, 2);
    *out++ = '-';
    out = put_digits(out, (unsigned)tm.tm_mday, 2);
    *out++ = 'T';
    out = put_digits(out, (unsigned)tm.tm_hour, 2);
    *out++ = ':';
    out = put_digits(out, (unsigned)tm.tm_min, 2);
    *out++ = ':';
    put_digits(out, (unsigned)tm.tm_sec, 2);
    *put_zone(clock->zones[slot], tm.tm_gmtoff) = 0;
    clock->seconds[slot] = second;
    clock->known[slot] = 1;
    return 1;
}

int nodes_time(nodes_clock *clock, int64_t second, uint32_t ns, char text[NODES_TIME])
{
    int slot = (int)((uint64_t)second % NODES_SECONDS);
    if (!(clock->known[slot] && clock->seconds[slot] == second) && !learn(clock, slot, second))
        return -1;
    char *out = put(text, clock->texts[slot], 19);
    if (ns) {
        *out++ = '.';
        out = put_digits(out, ns, 9);
        while (out[-1] == '0')
            out--;
    }
    return (int)(put(out, clock->zones[slot], strlen(clock->zones[slot])) - text);
}

size_t nodes_room(const nodes_file *file)
{
    /* Keys and punctuation take 170 characters, three times 36 each, eight numbers 20 each. */
    return 512 + file->name.length + file->user.length + file->group.length + file->target.length + file->attributes.length;
}

static size_t key_number(char **out, const char *key, size_t length, uint64_t value)
{
    if (value)
        *out = put_number(put(*out, key, length), value);
    return value != 0;
}
#define KEY_NUMBER(out, name, value) key_number(&out, ",\"" name "\":", sizeof name + 3, value)

static uint32_t go_mode(uint32_t mode)
{
    return (mode & FORMAT_MODE_PERM) | (S_ISLNK(mode) ? FORMAT_MODE_SYMLINK : 0) | (mode & S_ISUID ? FORMAT_MODE_SETUID : 0) |
           (mode & S_ISGID ? FORMAT_MODE_SETGID : 0) | (mode & S_ISVTX ? FORMAT_MODE_STICKY : 0);
}

size_t nodes_write(const nodes_file *file, nodes_text content, const nodes_entry *before, int flags, nodes_clock *clock,
                   char *out)
{
    char mtime[NODES_TIME], atime[NODES_TIME], ctime[NODES_TIME];
    const look_stat *info = file->info;
    const char *start = out;
    if (before) {
        if (!before->is_file || !before->content.length || before->size != file->size ||
            (!(flags & NODES_IGNORE_INODE) && before->inode != info->ino))
            return 0;
        content = before->content;
    }
    int mtime_length = nodes_time(clock, info->mtime, info->mtime_ns, mtime);
    int ctime_length = nodes_time(clock, info->ctime, info->ctime_ns, ctime);
    if (mtime_length < 0 || ctime_length < 0)
        return 0;
    if (before && (!json_same(before->mtime, (nodes_text){mtime, (size_t)mtime_length}) ||
                   (!(flags & NODES_IGNORE_CTIME) && !json_same(before->ctime, (nodes_text){ctime, (size_t)ctime_length}))))
        return 0;
    const char *accessed = mtime;
    int atime_length = mtime_length;
    if (flags & NODES_WITH_ATIME) {
        accessed = atime;
        atime_length = nodes_time(clock, info->atime, info->atime_ns, atime);
        if (atime_length < 0)
            return 0;
    }
    out = put_text(PUT(out, "{\"name\":\""), file->name);
    out = S_ISLNK(info->mode) ? PUT(out, "\",\"type\":\"symlink\"") : PUT(out, "\",\"type\":\"file\"");
    KEY_NUMBER(out, "mode", go_mode(info->mode));
    out = put(PUT(out, ",\"mtime\":\""), mtime, (size_t)mtime_length);
    out = put(PUT(out, "\",\"atime\":\""), accessed, (size_t)atime_length);
    out = put(PUT(out, "\",\"ctime\":\""), ctime, (size_t)ctime_length);
    out = put_number(PUT(out, "\",\"uid\":"), info->uid);
    out = put_number(PUT(out, ",\"gid\":"), info->gid);
    out = put_text(put_text(out, file->user), file->group);
    KEY_NUMBER(out, "inode", info->ino);
    if (!(flags & NODES_DEVICE_FOR_LINKS && info->nlink == 1))
        KEY_NUMBER(out, "device_id", info->dev);
    KEY_NUMBER(out, "size", file->size);
    KEY_NUMBER(out, "links", info->nlink);
    out = put_text(out, file->target);
    if (file->attributes.length)
        out = put_text(PUT(out, ",\"extended_attributes\":"), file->attributes);
    out = put_text(PUT(out, ",\"content\":"), content);
    return (size_t)(PUT(out, "}") - start);
}

size_t nodes_write_ids(const uint8_t *ids, size_t count, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const char *start = out;
    *out++ = '[';
    for (size_t number = 0; number < count; number++) {
        if (number)
            *out++ = ',';
        *out++ = '"';
        for (int i = 0; i < ID; i++, ids++) {
            *out++ = digits[*ids >> 4];
            *out++ = digits[*ids & 15];
        }
        *out++ = '"';
    }
    *out++ = ']';
    return (size_t)(out - start);
}

void nodes_read_ids(nodes_text content, size_t count, uint8_t *ids)
{
    const char *at = content.at + 2;
    for (size_t number = 0; number < count; number++, at += JSON_HEX_ID + 3, ids += ID)
        json_hex_id(at, ids);
}
