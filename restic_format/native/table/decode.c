/* An index file's JSON straight into columns. */
#include "table.h"

#include <stdlib.h>

#include "cursor.h"

enum { OVERHEAD = FORMAT_OVERHEAD, UNUSUAL = -2 };

static int hex_id(json_cursor *c, uint8_t *id)
{
    if (c->end - c->at < JSON_HEX_ID || !json_hex_id(c->at, id))
        return 0;
    c->at += JSON_HEX_ID;
    return 1;
}

static int number(json_cursor *c, uint32_t *value)
{
    uint64_t found;
    if (!json_number(c, UINT32_MAX, &found))
        return 0;
    *value = (uint32_t)found;
    return 1;
}

typedef struct {
    uint8_t id[ID_SIZE], type;
    uint32_t offset, length, plain;
} listed;

/* A blob as restic writes it; 0 where anything is different. */
static int usual_blob(json_cursor *c, listed *b)
{
    b->plain = 0;
    if (!JSON_LITERAL(c, "{\"id\":\"") || !hex_id(c, b->id) || !JSON_LITERAL(c, "\",\"type\":\""))
        return 0;
    if (JSON_LITERAL(c, "data"))
        b->type = 0;
    else if (JSON_LITERAL(c, "tree"))
        b->type = 1;
    else
        return 0;
    if (!JSON_LITERAL(c, "\",\"offset\":") || !number(c, &b->offset) || !JSON_LITERAL(c, ",\"length\":") || !number(c, &b->length))
        return 0;
    if (JSON_LITERAL(c, ",\"uncompressed_length\":") && !number(c, &b->plain))
        return 0;
    return JSON_LITERAL(c, "}");
}

/* Goes through the members of an object, in any order and with any space between them. *seen* is which of *names* there were,
 * none may come twice. Members of other names are passed over. */
typedef int read_member(json_cursor *c, unsigned number, void *to);

static int members(json_cursor *c, const char *const *names, unsigned count, unsigned *seen, read_member *read, void *to)
{
    *seen = 0;
    json_space(c);
    if (!json_byte(c, '{'))
        return UNUSUAL;
    json_space(c);
    if (json_byte(c, '}'))
        return 0;
    do {
        json_text name;
        unsigned number = 0;
        json_space(c);
        if (!json_string(c, &name) || memchr(name.at, '\\', name.length)) /* what escapes spell may be one of the names */
            return UNUSUAL;
        json_space(c);
        if (!json_byte(c, ':'))
            return UNUSUAL;
        json_space(c);
        while (number < count && !json_same(name, (json_text){names[number], strlen(names[number])}))
            number++;
        if (number == count) {
            if (!json_skip(c))
                return UNUSUAL;
        } else {
            if (*seen & 1u << number)
                return UNUSUAL;
            *seen |= 1u << number;
            int failed = read(c, number, to);
            if (failed)
                return failed;
        }
        json_space(c);
    } while (json_byte(c, ','));
    return json_byte(c, '}') ? 0 : UNUSUAL;
}

/* Goes through the elements of an array, each with its first character next. */
static int elements(json_cursor *c, int (*read)(json_cursor *c, void *to), void *to)
{
    if (!json_byte(c, '['))
        return UNUSUAL;
    json_space(c);
    if (json_byte(c, ']'))
        return 0;
    do {
        json_space(c);
        int failed = read(c, to);
        if (failed)
            return failed;
        json_space(c);
    } while (json_byte(c, ','));
    return json_byte(c, ']') ? 0 : UNUSUAL;
}

enum { BLOB_ID, BLOB_TYPE, BLOB_OFFSET, BLOB_LENGTH, BLOB_PLAIN, BLOB_MEMBERS };
static const char *const blob_members[] = {"id", "type", "offset", "length", "uncompressed_length"};

static int blob_member(json_cursor *c, unsigned which, void *to)
{
    listed *b = to;
    switch (which) {
    case BLOB_ID:
        return json_byte(c, '"') && hex_id(c, b->id) && json_byte(c, '"') ? 0 : UNUSUAL;
    case BLOB_TYPE:
        b->type = JSON_LITERAL(c, "\"tree\"");
        return b->type || JSON_LITERAL(c, "\"data\"") ? 0 : UNUSUAL;
    case BLOB_OFFSET:
        return number(c, &b->offset) ? 0 : UNUSUAL;
    case BLOB_LENGTH:
        return number(c, &b->length) ? 0 : UNUSUAL;
    default:
        return JSON_LITERAL(c, "null") || number(c, &b->plain) ? 0 : UNUSUAL;
    }
}

static int blob(json_cursor *c, void *to)
{
    enum { NEEDED = 1 << BLOB_ID | 1 << BLOB_TYPE | 1 << BLOB_OFFSET | 1 << BLOB_LENGTH };
    listed b;
    json_cursor start = *c;
    if (!usual_blob(c, &b)) {
        unsigned seen;
        *c = start;
        b.plain = 0;
        int failed = members(c, blob_members, BLOB_MEMBERS, &seen, blob_member, &b);
        if (failed)
            return failed;
        if ((seen & NEEDED) != NEEDED)
            return UNUSUAL;
    }
    return b.length < OVERHEAD ? UNUSUAL : index_file_add(to, b.type, b.id, b.offset, b.length, b.plain);
}

enum { PACK_ID, PACK_BLOBS, PACK_MEMBERS };
static const char *const pack_members[] = {"id", "blobs"};

typedef struct {
    index_file *file;
    json_cursor blobs; /* where the list begins, if it is read when the id is known */
    unsigned seen;
} reading;

static int pack_member(json_cursor *c, unsigned which, void *to)
{
    reading *r = to;
    uint8_t id[ID_SIZE];
    r->seen |= 1u << which;
    if (which == PACK_ID) {
        if (!json_byte(c, '"') || !hex_id(c, id) || !json_byte(c, '"'))
            return UNUSUAL;
        return index_file_add_pack(r->file, id);
    }
    if (r->seen & 1u << PACK_ID)
        return elements(c, blob, r->file);
    r->blobs = *c;
    return json_skip(c) ? 0 : UNUSUAL;
}

static int pack(json_cursor *c, void *to)
{
    reading r = {to, {NULL, NULL}, 0};
    unsigned seen;
    int failed = members(c, pack_members, PACK_MEMBERS, &seen, pack_member, &r);
    if (failed)
        return failed;
    if (seen != (1u << PACK_ID | 1u << PACK_BLOBS))
        return UNUSUAL;
    return r.blobs.at ? elements(&r.blobs, blob, r.file) : 0;
}

typedef struct {
    index_file *file;
    const char *json;
} document;

/* What a record of a marked pack says is for others to read: there are few. */
static int marked_pack(json_cursor *c, void *to)
{
    document *d = to;
    index_file *file = d->file;
    if (file->marked_count + 2 > file->marked_room) {
        size_t room = file->marked_room * 2 + 16;
        if (id_grow((void **)&file->marked, room, sizeof *file->marked))
            return -1;
        file->marked_room = room;
    }
    file->marked[file->marked_count] = (size_t)(c->at - d->json);
    if (!json_skip(c))
        return UNUSUAL;
    file->marked[file->marked_count + 1] = (size_t)(c->at - d->json);
    file->marked_count += 2;
    return 0;
}

static int superseded(json_cursor *c, void *to)
{
    json_text id;
    (void)to;
    return json_string(c, &id) ? 0 : UNUSUAL;
}

enum { FILE_PACKS, FILE_MARKED, FILE_SUPERSEDES, FILE_MEMBERS };
static const char *const file_members[] = {"packs", "packs_to_delete", "supersedes"};

static int file_member(json_cursor *c, unsigned which, void *to)
{
    document *d = to;
    if (JSON_LITERAL(c, "null"))
        return 0;
    if (which == FILE_PACKS)
        return elements(c, pack, d->file);
    return elements(c, which == FILE_MARKED ? marked_pack : superseded, d);
}

int index_file_decode(index_file *file, const char *json, size_t size)
{
    json_cursor c = {json, json + size};
    document d = {file, json};
    unsigned seen;
    int failed = members(&c, file_members, FILE_MEMBERS, &seen, file_member, &d);
    if (failed)
        return failed;
    json_space(&c);
    return c.at == c.end ? 0 : UNUSUAL;
}
