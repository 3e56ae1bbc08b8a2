#include "trees.h"

#include <string.h>

enum { QUOTED_ID = JSON_HEX_ID + 2 };

enum { NS = 1000000000 };

static int digits(const char *at, int count)
{
    int sum = 0;
    for (int i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9')
            return -1;
        sum = sum * 10 + at[i] - '0';
    }
    return sum;
}

int trees_days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

int trees_time(json_text t, trees_moment *m)
{
    /* 2006-01-02T15:04:05.999999999+01:00 */
    const char *text = t.at;
    if (t.length < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':')
        return 0;
    m->year = digits(text, 4), m->month = digits(text + 5, 2), m->day = digits(text + 8, 2);
    m->hour = digits(text + 11, 2), m->minute = digits(text + 14, 2), m->second = digits(text + 17, 2);
    if (m->year < 0 || m->month < 1 || m->month > 12 || m->day < 1 || m->day > trees_days_in(m->year, m->month) ||
        m->hour < 0 || m->hour > 23 || m->minute < 0 || m->minute > 59 || m->second < 0 || m->second > 59)
        return 0;
    size_t at = 19;
    int64_t unit = NS;
    m->fraction = 0;
    if (text[at] == '.') {
        for (at++; at < t.length && text[at] >= '0' && text[at] <= '9' && unit > 1; at++) {
            unit /= 10;
            m->fraction += (text[at] - '0') * unit;
        }
        if (unit == NS)
            return 0;
    }
    m->offset = 0;
    if (t.length - at == 6 && (text[at] == '+' || text[at] == '-') && text[at + 3] == ':') {
        int hours = digits(text + at + 1, 2), minutes = digits(text + at + 4, 2);
        if (hours < 0 || minutes < 0)
            return 0;
        m->offset = (text[at] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
        return 1;
    }
    return t.length - at == 1 && text[at] == 'Z';
}

/* A string that is an id. */
static int id_string(json_cursor *c, json_text *found)
{
    uint8_t id[JSON_ID];
    return json_string(c, found) && found->length == JSON_HEX_ID && json_hex_id(found->at, id);
}

/* A list of ids. */
static int ids(json_cursor *c, const char **first, size_t *count)
{
    json_text found;
    *count = 0;
    if (!json_byte(c, '['))
        return 0;
    *first = c->at;
    if (json_byte(c, ']'))
        return 1;
    do {
        if (!id_string(c, &found))
            return 0;
        ++*count;
    } while (json_byte(c, ','));
    return json_byte(c, ']');
}

static int extended_attributes(json_cursor *c)
{
    json_text name;
    if (!json_byte(c, '['))
        return 0;
    do {
        if (!JSON_LITERAL(c, "{\"name\":") || !json_string(c, &name) || !JSON_LITERAL(c, ",\"value\":") ||
            !(JSON_LITERAL(c, "null") || json_base64(c)) || !json_byte(c, '}'))
            return 0;
    } while (json_byte(c, ','));
    return json_byte(c, ']');
}

static int generic_attributes(json_cursor *c)
{
    json_text word;
    uint64_t value;
    if (!json_byte(c, '{'))
        return 0;
    do {
        if (!json_string(c, &word) || !json_byte(c, ':'))
            return 0;
        if (c->at == c->end || !(*c->at == '"' ? json_string(c, &word) : json_number(c, INT64_MAX, &value)))
            return 0;
    } while (json_byte(c, ','));
    return json_byte(c, '}');
}

typedef struct {
    const char *text;
    size_t length;
    enum { TEXT, TIME, U32, SIZE, NATURAL, BASE64, ATTRIBUTES, MAP, IDS, ID } form;
} key;

static const key keys[TREES_FIELDS] = {
#define FIELD(name, key, form) {"\"" key "\":", sizeof key + 2, form},
    FORMAT_NODE_FIELDS(FIELD)
#undef FIELD
};

static int field_value(json_cursor *c, unsigned field, trees_node *n)
{
    json_text *text = n->texts + field;
    const json_text *before = n->texts + TREES_MTIME;
    uint64_t *value = n->numbers + field;
    trees_moment moment;
    switch (keys[field].form) {
    case ID:
        return id_string(c, text);
    case TIME: /* most nodes have the same one twice or more often */
        return json_string(c, text) &&
               ((field != TREES_MTIME && before->at && json_same(*text, *before)) || trees_time(*text, &moment));
    case U32:
        return json_number(c, UINT32_MAX, value);
    case SIZE:
        return json_number(c, INT64_MAX, value);
    case NATURAL:
        return json_number(c, UINT64_MAX, value);
    case BASE64:
        return json_base64(c);
    case ATTRIBUTES:
        return extended_attributes(c);
    case MAP:
        return generic_attributes(c);
    case IDS:
        return JSON_LITERAL(c, "null") || ids(c, &n->content, &n->content_count);
    default:
        return json_string(c, text);
    }
}

static int read_node(json_cursor *c, trees_node *n)
{
    memset(n, 0, sizeof *n);
    n->whole.at = c->at;
    if (!json_byte(c, '{'))
        return 0;
    unsigned field = 0; /* they mostly come in this order, some left out */
    do {
        unsigned tried = 0;
        while (tried < TREES_FIELDS && !json_literal(c, keys[field].text, keys[field].length)) {
            field = field + 1 < TREES_FIELDS ? field + 1 : 0;
            tried++;
        }
        if (tried == TREES_FIELDS || n->seen & 1u << field)
            return 0;
        n->seen |= 1u << field;
        if (!field_value(c, field, n))
            return 0;
        field = field + 1 < TREES_FIELDS ? field + 1 : 0;
    } while (json_byte(c, ','));
    if (!json_byte(c, '}'))
        return 0;
    n->whole.length = (size_t)(c->at - n->whole.at);
    return n->seen & 1u << TREES_NAME && n->seen & 1u << TREES_TYPE;
}

int trees_one(json_text whole, trees_node *node)
{
    json_cursor c = {whole.at, whole.at + whole.length};
    return read_node(&c, node);
}

int trees_walk(const char *json, size_t size, trees_visitor *visit, void *to)
{
    json_cursor c = {json, json + size};
    if (!JSON_LITERAL(&c, "{\"nodes\":["))
        return TREES_UNUSUAL;
    if (c.at == c.end || *c.at != ']') {
        do {
            trees_node n;
            if (!read_node(&c, &n))
                return TREES_UNUSUAL;
            int failed = visit(to, &n);
            if (failed)
                return failed;
        } while (json_byte(&c, ','));
    }
    if (!JSON_LITERAL(&c, "]}"))
        return TREES_UNUSUAL;
    JSON_LITERAL(&c, "\n");
    return c.at == c.end ? 0 : TREES_UNUSUAL;
}

int trees_is(const trees_node *n, const char *type)
{
    return json_same(n->texts[TREES_TYPE], (json_text){type, strlen(type)});
}

int trees_follows(const trees_node *n, json_text *previous)
{
    json_text name = n->texts[TREES_NAME];
    if (!name.length || (name.at[0] == '.' && (name.length == 1 || (name.length == 2 && name.at[1] == '.'))) ||
        memchr(name.at, '/', name.length) || memchr(name.at, '\\', name.length) || /* whatever that stands for */
        (previous->at && json_compare(*previous, name) >= 0))
        return 0;
    *previous = name;
    return 1;
}

json_text trees_content(const trees_node *n)
{
    size_t length = n->content_count ? n->content_count * (QUOTED_ID + 1) - 1 : 0;
    return n->content ? (json_text){n->content - 1, length + 2} : (json_text){NULL, 0};
}

int trees_id(const char *text, uint8_t id[JSON_ID])
{
    static const uint8_t zeros[JSON_ID];
    return json_hex_id(text, id) && memcmp(id, zeros, JSON_ID);
}

int trees_blob(const trees_node *n, size_t number, uint8_t id[JSON_ID])
{
    return trees_id(n->content + number * (QUOTED_ID + 1) + 1, id);
}
