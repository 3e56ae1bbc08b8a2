#define _GNU_SOURCE
#include "nodes.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ID = 32, UNUSUAL = -2 };

/* Reading. The cursor only ever advances over what is exactly as expected. */

typedef struct {
    const char *at, *end;
} cursor;

static int literal(cursor *c, const char *text, size_t length)
{
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, text, length))
        return 0;
    c->at += length;
    return 1;
}
#define LITERAL(c, text) literal(c, text, sizeof text - 1)

static int is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* A string and the quotes around it. Of escapes only those that Go writes, and no surrogates. */
static int string(cursor *c, nodes_text *text, int *escaped)
{
    if (!LITERAL(c, "\""))
        return 0;
    text->at = c->at;
    while (c->at < c->end && *c->at != '"') {
        if ((uint8_t)*c->at < 0x20)
            return 0;
        if (*c->at++ != '\\')
            continue;
        *escaped = 1;
        if (LITERAL(c, "\"") || LITERAL(c, "\\"))
            continue;
        if (c->end - c->at < 5 || c->at[0] != 'u' || c->at[1] == 'd')
            return 0;
        for (int i = 1; i < 5; i++)
            if (!is_hex(c->at[i]))
                return 0;
        c->at += 5;
    }
    text->length = (size_t)(c->at - text->at);
    return LITERAL(c, "\"");
}

static int number(cursor *c, uint64_t limit, uint64_t *value)
{
    const char *start = c->at;
    uint64_t sum = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        uint64_t digit = (uint64_t)(*c->at++ - '0');
        if (sum > (limit - digit) / 10)
            return 0;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return c->at > start && (*start != '0' || c->at - start == 1);
}

static int ids(cursor *c, nodes_entry *e)
{
    e->content.at = c->at;
    if (!LITERAL(c, "["))
        return 0;
    if (!LITERAL(c, "]")) {
        do {
            if (c->end - c->at < 2 * ID + 2 || c->at[0] != '"' || c->at[2 * ID + 1] != '"')
                return 0;
            for (int i = 1; i <= 2 * ID; i++)
                if (!is_hex(c->at[i]))
                    return 0;
            c->at += 2 * ID + 2;
            e->blobs++;
        } while (LITERAL(c, ","));
        if (!LITERAL(c, "]"))
            return 0;
    }
    e->content.length = (size_t)(c->at - e->content.at);
    return 1;
}

static int is_base64(nodes_text text)
{
    size_t padding = 0;
    for (size_t i = 0; i < text.length; i++) {
        char c = text.at[i];
        if (c == '=')
            padding++;
        else if (padding || !((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'))
            return 0;
    }
    return text.length % 4 == 0 && padding <= 2;
}

static int attributes(cursor *c)
{
    nodes_text text;
    int escaped = 0;
    do {
        if (!LITERAL(c, "{\"name\":") || !string(c, &text, &escaped) || !LITERAL(c, ",\"value\":"))
            return 0;
        if (!LITERAL(c, "null") && !(string(c, &text, &escaped) && is_base64(text)))
            return 0;
        if (!LITERAL(c, "}"))
            return 0;
    } while (LITERAL(c, ","));
    return LITERAL(c, "]");
}

#define KEY(c, name) LITERAL(c, ",\"" name "\":")
#define OPTIONAL(c, name, value) (!KEY(c, name) || (value))

static int entry(cursor *c, nodes_entry *e)
{
    nodes_text type, other;
    uint64_t value;
    int escaped = 0;
    memset(e, 0, sizeof *e);
    e->whole.at = c->at;
    if (!LITERAL(c, "{\"name\":") || !string(c, &e->name, &e->escaped) || !KEY(c, "type") || !string(c, &type, &escaped))
        return 0;
    e->is_file = type.length == 4 && !memcmp(type.at, "file", 4);
    if (!(OPTIONAL(c, "mode", number(c, UINT32_MAX, &value)) && KEY(c, "mtime") && string(c, &e->mtime, &escaped) &&
          KEY(c, "atime") && string(c, &other, &escaped) && KEY(c, "ctime") && string(c, &e->ctime, &escaped) &&
          KEY(c, "uid") && number(c, UINT32_MAX, &value) && KEY(c, "gid") && number(c, UINT32_MAX, &value) &&
          OPTIONAL(c, "user", string(c, &other, &escaped)) && OPTIONAL(c, "group", string(c, &other, &escaped)) &&
          OPTIONAL(c, "inode", number(c, UINT64_MAX, &e->inode)) &&
          OPTIONAL(c, "device_id", number(c, UINT64_MAX, &value)) && OPTIONAL(c, "size", number(c, INT64_MAX, &e->size)) &&
          OPTIONAL(c, "links", number(c, INT64_MAX, &value)) && OPTIONAL(c, "linktarget", string(c, &other, &escaped)) &&
          OPTIONAL(c, "linktarget_raw", string(c, &other, &escaped) && is_base64(other)) &&
          (!LITERAL(c, ",\"extended_attributes\":[") || attributes(c)) &&
          OPTIONAL(c, "device", number(c, UINT64_MAX, &value)) && OPTIONAL(c, "content", LITERAL(c, "null") || ids(c, e)) &&
          OPTIONAL(c, "subtree", string(c, &other, &escaped)) && LITERAL(c, "}")))
        return 0;
    e->whole.length = (size_t)(c->at - e->whole.at);
    return 1;
}

static int same(nodes_text a, nodes_text b)
{
    return a.length == b.length && !memcmp(a.at, b.at, a.length);
}

static int compare(nodes_text a, nodes_text b)
{
    int order = memcmp(a.at, b.at, a.length < b.length ? a.length : b.length);
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

const nodes_entry *nodes_find(const nodes_list *list, nodes_text name, size_t *next)
{
    size_t low = 0, high = list->count;
    if (*next < high && same(list->entries[*next].name, name))
        return &list->entries[(*next)++];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(list->entries[middle].name, name);
        if (!order) {
            *next = middle + 1;
            return &list->entries[middle];
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *next = low;
    return NULL;
}

static int append(nodes_list *list, const nodes_entry *e, size_t guess)
{
    if (list->count == list->room) {
        size_t room = list->room ? list->room + list->room / 2 + 4 : guess;
        nodes_entry *grown = realloc(list->entries, room * sizeof *grown);
        if (!grown)
            return -1;
        list->entries = grown;
        list->room = room;
    }
    list->entries[list->count++] = *e;
    return 0;
}

int nodes_parse(nodes_tree *tree, const char *json, size_t size)
{
    cursor c = {json, json + size};
    nodes_entry e;
    memset(tree, 0, sizeof *tree);
    if (!LITERAL(&c, "{\"nodes\":["))
        return UNUSUAL;
    if (!LITERAL(&c, "]")) {
        do {
            if (!entry(&c, &e))
                return UNUSUAL;
            nodes_list *list = e.escaped ? &tree->escaped : &tree->plain;
            if (!e.escaped && list->count && compare(list->entries[list->count - 1].name, e.name) >= 0)
                return UNUSUAL;
            if (append(list, &e, e.escaped ? 4 : 4 + size / 400))
                return -1;
        } while (LITERAL(&c, ","));
        if (!LITERAL(&c, "]"))
            return UNUSUAL;
    }
    if (!LITERAL(&c, "}"))
        return UNUSUAL;
    LITERAL(&c, "\n");
    return c.at == c.end ? 0 : UNUSUAL;
}

void nodes_free(nodes_tree *tree)
{
    free(tree->plain.entries);
    free(tree->escaped.entries);
    memset(tree, 0, sizeof *tree);
}

/* Writing. */

int nodes_is_plain(const char *name, size_t length)
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

static char *put_text(char *out, nodes_text text)
{
    return put(out, text.at, text.length);
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
    /* Keys and punctuation take 130 characters, three times 36 each, eight numbers 20 each. */
    return 512 + file->name.length + file->user.length + file->group.length;
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
    return (mode & 0777) | (mode & S_ISUID ? 1u << 23 : 0) | (mode & S_ISGID ? 1u << 22 : 0) | (mode & S_ISVTX ? 1u << 20 : 0);
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
    if (before && (!same(before->mtime, (nodes_text){mtime, (size_t)mtime_length}) ||
                   (!(flags & NODES_IGNORE_CTIME) && !same(before->ctime, (nodes_text){ctime, (size_t)ctime_length}))))
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
    out = PUT(out, "\",\"type\":\"file\"");
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

static unsigned digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

void nodes_read_ids(nodes_text content, size_t count, uint8_t *ids)
{
    const char *at = content.at + 2;
    for (size_t number = 0; number < count; number++, at += 2 * ID + 3)
        for (int i = 0; i < ID; i++)
            *ids++ = (uint8_t)(digit(at[2 * i]) << 4 | digit(at[2 * i + 1]));
}
