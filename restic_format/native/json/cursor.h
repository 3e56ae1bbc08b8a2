/* A cursor over JSON that only ever advances over what is exactly as expected. Each function gives 0 where something else
 * stands there; then the cursor may be anywhere, and whoever asked gives up. Nothing is decoded but numbers and ids. */
#ifndef RESTIC_FORMAT_CURSOR_H
#define RESTIC_FORMAT_CURSOR_H

#include "format.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const char *at, *end;
} json_cursor;

/* What is between a string's quotes, escapes as they are written. */
typedef struct {
    const char *at;
    size_t length;
} json_text;

enum { JSON_ID = FORMAT_ID_SIZE, JSON_HEX_ID = FORMAT_HEX_SIZE };

static inline int json_literal(json_cursor *c, const char *wanted, size_t length)
{
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, wanted, length))
        return 0;
    c->at += length;
    return 1;
}
#define JSON_LITERAL(c, wanted) json_literal(c, wanted, sizeof wanted - 1)

static inline int json_byte(json_cursor *c, char wanted)
{
    if (c->at == c->end || *c->at != wanted)
        return 0;
    c->at++;
    return 1;
}

/* Whole numbers from 0 to *most*. */
static inline int json_number(json_cursor *c, uint64_t most, uint64_t *value)
{
    const char *start = c->at, *safe = c->end - start < 19 ? c->end : start + 19; /* that many digits always fit */
    uint64_t sum = 0;
    while (c->at < safe && *c->at >= '0' && *c->at <= '9')
        sum = sum * 10 + (uint64_t)(*c->at++ - '0');
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
        uint64_t digit = (uint64_t)(*c->at++ - '0');
        if (sum > (UINT64_MAX - digit) / 10)
            return 0;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return c->at > start && (*start != '0' || c->at - start == 1) && sum <= most;
}

/* The id whose hexadecimal form is the 64 characters at *text*; in loops that compilers make vectors of. */
static inline int json_hex_id(const char *text, uint8_t id[JSON_ID])
{
    uint8_t values[JSON_HEX_ID], wrong = 0;
    for (int i = 0; i < JSON_HEX_ID; i++) {
        uint8_t digit = (uint8_t)(text[i] - '0'), letter = (uint8_t)(text[i] - 'a');
        wrong |= digit > 9 && letter > 5;
        values[i] = digit > 9 ? (uint8_t)(letter + 10) : digit;
    }
    for (int i = 0; i < JSON_ID; i++)
        id[i] = (uint8_t)(values[2 * i] << 4 | values[2 * i + 1]);
    return !wrong;
}

/* Whether a character stands for itself in a string. */
static inline int json_is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Past the characters that stand for themselves. */
static inline const char *json_plain(const char *at, const char *end)
{
#if defined __GNUC__ && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint64_t ones = 0x0101010101010101;
    while (end - at >= 8) {
        uint64_t w;
        memcpy(&w, at, sizeof w);
        /* The lowest byte whose top bit is set here is the first one that is not plain; those above it may be wrong. */
        uint64_t found = (w | (w - 0x20 * ones) | ((w ^ '"' * ones) - ones) | ((w ^ '\\' * ones) - ones)) & 0x80 * ones;
        if (found)
            return at + (__builtin_ctzll(found) >> 3);
        at += 8;
    }
#endif
    while (at < end && json_is_plain((uint8_t)*at))
        at++;
    return at;
}

/* The length of the UTF-8 sequence of more than one byte at *at*, 0 where there is none. */
static inline size_t json_sequence(const char *at, const char *end)
{
    static const struct { uint8_t first, last, low, high, length; } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    const uint8_t *bytes = (const uint8_t *)at;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (*bytes < forms[i].first || *bytes > forms[i].last)
            continue;
        if (end - at < forms[i].length || bytes[1] < forms[i].low || bytes[1] > forms[i].high)
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if (bytes[k] < 0x80 || bytes[k] > 0xbf)
                return 0;
        return forms[i].length;
    }
    return 0;
}

/* The length of the escape at *at*, 0 where there is none of a character by itself. */
static inline size_t json_escape(const char *at, const char *end)
{
    if (end - at >= 2 && at[1] && strchr("\"\\/bfnrt", at[1]))
        return 2;
    if (end - at < 6 || at[1] != 'u' || (at[2] == 'd' && at[3] > '7')) /* half of a pair */
        return 0;
    for (int i = 2; i < 6; i++)
        if (!((at[i] >= '0' && at[i] <= '9') || (at[i] >= 'a' && at[i] <= 'f')))
            return 0;
    return 6;
}

/* A string of UTF-8, quotes and all. */
static inline int json_string(json_cursor *c, json_text *found)
{
    if (!json_byte(c, '"'))
        return 0;
    found->at = c->at;
    for (;;) {
        c->at = json_plain(c->at, c->end);
        if (c->at == c->end)
            return 0;
        if (*c->at == '"')
            break;
        size_t length = *c->at == '\\' ? json_escape(c->at, c->end) : json_sequence(c->at, c->end);
        if (!length)
            return 0;
        c->at += length;
    }
    found->length = (size_t)(c->at++ - found->at);
    return 1;
}

/* A string of base64. */
static inline int json_base64(json_cursor *c)
{
    json_text found;
    if (!json_string(c, &found) || found.length % 4)
        return 0;
    size_t padding = 0;
    while (padding < 2 && padding < found.length && found.at[found.length - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < found.length - padding; i++) {
        char b = found.at[i];
        if (!((b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z') || (b >= '0' && b <= '9') || b == '+' || b == '/'))
            return 0;
    }
    return 1;
}

/* Past space between values. */
static inline void json_space(json_cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t'))
        c->at++;
}

static inline int json_digits(json_cursor *c)
{
    const char *start = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
        c->at++;
    return c->at > start;
}

static inline int json_any_number(json_cursor *c)
{
    json_byte(c, '-');
    if (!json_byte(c, '0') && !json_digits(c))
        return 0;
    if (json_byte(c, '.') && !json_digits(c))
        return 0;
    if (json_byte(c, 'e') || json_byte(c, 'E')) {
        if (!json_byte(c, '+'))
            json_byte(c, '-');
        return json_digits(c);
    }
    return 1;
}

/* Past any value, in which nothing is nested deeper than 64 levels. */
static inline int json_skip(json_cursor *c)
{
    enum { DEEPEST = 64 };
    char open[DEEPEST];
    int depth = 0;
    json_text text;
    for (;;) {
        json_space(c);
        if (c->at == c->end)
            return 0;
        char first = *c->at;
        if (first == '{' || first == '[') {
            if (depth == DEEPEST)
                return 0;
            open[depth++] = first;
            c->at++;
            json_space(c);
            if (first == '[' && c->at < c->end && *c->at != ']')
                continue;
            if (first == '{' && c->at < c->end && *c->at != '}') {
                if (!json_string(c, &text) || (json_space(c), !json_byte(c, ':')))
                    return 0;
                continue;
            }
        } else if (!(first == '"' ? json_string(c, &text) : JSON_LITERAL(c, "true") || JSON_LITERAL(c, "false") ||
                     JSON_LITERAL(c, "null") || json_any_number(c))) {
            return 0;
        }
        /* A value has ended, or an empty object or array is about to. */
        for (;;) {
            if (!depth)
                return 1;
            json_space(c);
            if (json_byte(c, open[depth - 1] == '{' ? '}' : ']')) {
                depth--;
                continue;
            }
            if (!json_byte(c, ','))
                return 0;
            if (open[depth - 1] == '{') {
                json_space(c);
                if (!json_string(c, &text) || (json_space(c), !json_byte(c, ':')))
                    return 0;
            }
            break;
        }
    }
}

static inline int json_same(json_text a, json_text b)
{
    return a.length == b.length && !memcmp(a.at, b.at, a.length);
}

/* As memcmp orders them. */
static inline int json_compare(json_text a, json_text b)
{
    int order = memcmp(a.at, b.at, a.length < b.length ? a.length : b.length);
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

#endif
