#include "trees.h"

#include <stdlib.h>
#include <string.h>

enum { ID = 32, OVERHEAD = 32, QUOTED_ID = 2 * ID + 2 };

typedef struct {
    const uint8_t *at, *end;
} cursor;

typedef trees_text text;
typedef trees_node node;

static int byte(cursor *c, uint8_t wanted)
{
    if (c->at == c->end || *c->at != wanted)
        return 0;
    c->at++;
    return 1;
}

static int literal(cursor *c, const char *wanted, size_t length)
{
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, wanted, length))
        return 0;
    c->at += length;
    return 1;
}
#define LITERAL(c, wanted) literal(c, wanted, sizeof wanted - 1)

/* The length of the UTF-8 sequence of more than one byte at *at*, 0 where there is none. */
static size_t sequence(const uint8_t *at, const uint8_t *end)
{
    static const struct { uint8_t first, last, low, high, length; } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (*at < forms[i].first || *at > forms[i].last)
            continue;
        if (end - at < forms[i].length || at[1] < forms[i].low || at[1] > forms[i].high)
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if (at[k] < 0x80 || at[k] > 0xbf)
                return 0;
        return forms[i].length;
    }
    return 0;
}

static int digit(uint8_t c)
{
    return table_digits[c] - 1;
}

/* Whether a character stands for itself in a string. */
static int is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* The length of the escape at *at*, 0 where there is none of a character by itself. */
static size_t escape(const uint8_t *at, const uint8_t *end)
{
    unsigned code = 0;
    if (end - at >= 2 && at[1] && strchr("\"\\/bfnrt", at[1]))
        return 2;
    if (end - at < 6 || at[1] != 'u')
        return 0;
    for (int i = 2; i < 6; i++) {
        int value = digit(at[i]);
        if (value < 0)
            return 0;
        code = code << 4 | (unsigned)value;
    }
    return code >= 0xd800 && code <= 0xdfff ? 0 : 6;
}

/* A string, as it is written: escapes stay what they are. */
static int string(cursor *c, text *found)
{
    if (!byte(c, '"'))
        return 0;
    found->start = c->at;
    for (;;) {
        while (c->at < c->end && is_plain(*c->at))
            c->at++;
        if (c->at == c->end || *c->at == '"')
            break;
        if (*c->at < 0x20)
            return 0;
        size_t length = *c->at == '\\' ? escape(c->at, c->end) : sequence(c->at, c->end);
        if (!length)
            return 0;
        c->at += length;
    }
    found->length = (size_t)(c->at - found->start);
    return byte(c, '"');
}

static int same(const text *found, const char *wanted)
{
    return found->length == strlen(wanted) && !memcmp(found->start, wanted, found->length);
}

static int base64(cursor *c)
{
    text found;
    if (!string(c, &found) || found.length % 4)
        return 0;
    size_t padding = 0;
    while (padding < 2 && padding < found.length && found.start[found.length - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < found.length - padding; i++) {
        uint8_t b = found.start[i];
        if (!((b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '+' || b == '/'))
            return 0;
    }
    return 1;
}

static int number(cursor *c, uint64_t most, uint64_t *value)
{
    uint64_t sum = 0;
    const uint8_t *start = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9' && c->at - start < 19)
        sum = sum * 10 + (uint64_t)(*c->at++ - '0');
    if (c->at == start || (*start == '0' && c->at - start > 1) || sum > most)
        return 0;
    *value = sum;
    return 1;
}

/* An id at *at*, which is inside quotes; not the one of zeros only. */
static int hex_id(const uint8_t *at, uint8_t *id)
{
    static const uint8_t zeros[ID];
    return table_hex(at, id) && memcmp(id, zeros, ID);
}

/* A list of strings as long as ids; what is in them is looked at later. */
static int ids(cursor *c, const uint8_t **first, size_t *count)
{
    text found;
    *count = 0;
    if (!byte(c, '['))
        return 0;
    *first = c->at;
    if (byte(c, ']'))
        return 1;
    do {
        if (!string(c, &found) || found.length != 2 * ID)
            return 0;
        ++*count;
    } while (byte(c, ','));
    return byte(c, ']');
}

static int extended_attributes(cursor *c)
{
    text name;
    if (!byte(c, '['))
        return 0;
    do {
        if (!LITERAL(c, "{\"name\":") || !string(c, &name) || !LITERAL(c, ",\"value\":") ||
            !(LITERAL(c, "null") || base64(c)) || !byte(c, '}'))
            return 0;
    } while (byte(c, ','));
    return byte(c, ']');
}

static int generic_attributes(cursor *c)
{
    text word;
    uint64_t value;
    if (!byte(c, '{'))
        return 0;
    do {
        if (!string(c, &word) || !byte(c, ':'))
            return 0;
        if (c->at == c->end || !(*c->at == '"' ? string(c, &word) : number(c, INT64_MAX, &value)))
            return 0;
    } while (byte(c, ','));
    return byte(c, '}');
}

static const char *const field_names[TREES_FIELDS] = {
    "name", "type", "mode", "mtime", "atime", "ctime", "uid", "gid", "user", "group", "inode", "device_id", "size", "links",
    "linktarget", "linktarget_raw", "extended_attributes", "generic_attributes", "device", "content", "subtree", "error",
};

static int field_value(cursor *c, unsigned field, node *n)
{
    uint64_t *value = n->numbers + field;
    switch (field) {
    case TREES_SUBTREE:
        return string(c, n->texts + field) && n->texts[field].length == 2 * ID;
    case TREES_MODE:
    case TREES_UID:
    case TREES_GID:
        return number(c, UINT32_MAX, value);
    case TREES_SIZE:
    case TREES_INODE:
    case TREES_DEVICE_ID:
    case TREES_LINKS:
    case TREES_DEVICE:
        return number(c, INT64_MAX, value);
    case TREES_LINKTARGET_RAW:
        return base64(c);
    case TREES_EXTENDED_ATTRIBUTES:
        return extended_attributes(c);
    case TREES_GENERIC_ATTRIBUTES:
        return generic_attributes(c);
    case TREES_CONTENT:
        return LITERAL(c, "null") || ids(c, &n->content, &n->content_count);
    default:
        return string(c, n->texts + field);
    }
}

static int read_node(cursor *c, node *n)
{
    memset(n, 0, sizeof *n);
    n->whole.start = c->at;
    if (!byte(c, '{'))
        return 0;
    unsigned next = 0; /* fields mostly come in this order, some left out */
    do {
        text name;
        if (!string(c, &name) || !byte(c, ':'))
            return 0;
        unsigned tried = 0;
        while (tried < TREES_FIELDS && !same(&name, field_names[(next + tried) % TREES_FIELDS]))
            tried++;
        if (tried == TREES_FIELDS)
            return 0;
        unsigned field = (next + tried) % TREES_FIELDS;
        if (n->seen & 1u << field)
            return 0;
        n->seen |= 1u << field;
        next = field + 1;
        if (!field_value(c, field, n))
            return 0;
    } while (byte(c, ','));
    if (!byte(c, '}'))
        return 0;
    n->whole.length = (size_t)(c->at - n->whole.start);
    return n->seen & 1u << TREES_NAME && n->seen & 1u << TREES_TYPE;
}

static int good_name(const text *name, const text *previous)
{
    if (!name->length || same(name, ".") || same(name, "..") || memchr(name->start, '/', name->length) ||
        memchr(name->start, '\\', name->length)) /* whatever that stands for */
        return 0;
    if (!previous->start)
        return 1;
    size_t shorter = name->length < previous->length ? name->length : previous->length;
    int order = memcmp(name->start, previous->start, shorter);
    return order > 0 || (!order && name->length > previous->length);
}

int trees_walk(const uint8_t *json, size_t size, trees_visitor *visit, void *to)
{
    cursor c = {json, json + size};
    text previous = {NULL, 0};
    if (!LITERAL(&c, "{\"nodes\":["))
        return TREES_UNUSUAL;
    if (c.at == c.end || *c.at != ']') {
        do {
            node n;
            if (!read_node(&c, &n) || !good_name(n.texts + TREES_NAME, &previous))
                return TREES_UNUSUAL;
            previous = n.texts[TREES_NAME];
            int failed = visit(to, &n);
            if (failed)
                return failed;
        } while (byte(&c, ','));
    }
    if (!LITERAL(&c, "]}"))
        return TREES_UNUSUAL;
    LITERAL(&c, "\n");
    return c.at == c.end ? 0 : TREES_UNUSUAL;
}

int trees_is(const node *n, const char *type)
{
    return same(n->texts + TREES_TYPE, type);
}

int trees_blob(const node *n, size_t number, uint8_t id[ID])
{
    return hex_id(n->content + number * (QUOTED_ID + 1) + 1, id);
}

typedef struct {
    const table *table;
    uint8_t *ids;
    size_t count, room;
} checking;

static int good_content(const table *t, const node *n)
{
    uint8_t id[ID];
    uint64_t size = 0;
    if (!n->content)
        return 0;
    for (size_t i = 0; i < n->content_count; i++) {
        if (!trees_blob(n, i, id))
            return 0;
        int64_t row = table_find(t, 0, id, -1);
        if (row < 0)
            return 0;
        size += t->plain[row] ? t->plain[row] : t->lengths[row] - OVERHEAD;
    }
    return size == n->numbers[TREES_SIZE];
}

static int without_content(const node *n)
{
    static const char *const types[] = {"symlink", "socket", "chardev", "dev", "fifo", "irregular"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (trees_is(n, types[i]))
            return 1;
    return 0;
}

static int add_subtree(checking *found, const node *n)
{
    if (found->count == found->room) {
        size_t room = found->room * 2 + 16;
        uint8_t *grown = realloc(found->ids, room * ID);
        if (!grown)
            return -1;
        found->ids = grown;
        found->room = room;
    }
    const text *subtree = n->texts + TREES_SUBTREE;
    if (!subtree->start || !hex_id(subtree->start, found->ids + found->count * ID))
        return TREES_UNUSUAL;
    found->count++;
    return 0;
}

static int check_node(void *to, const node *n)
{
    checking *found = to;
    if (trees_is(n, "dir"))
        return add_subtree(found, n);
    return (trees_is(n, "file") ? good_content(found->table, n) : without_content(n)) ? 0 : TREES_UNUSUAL;
}

int tree_check(const table *t, const uint8_t *json, size_t size, uint8_t **subtrees, size_t *count)
{
    checking found = {t, NULL, 0, 0};
    int failed = trees_walk(json, size, check_node, &found);
    if (failed) {
        free(found.ids);
        return failed;
    }
    *subtrees = found.ids;
    *count = found.count;
    return 0;
}
