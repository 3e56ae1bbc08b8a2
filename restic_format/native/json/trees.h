/* Trees looked through without making objects of them. */
#ifndef RESTIC_FORMAT_TREES_H
#define RESTIC_FORMAT_TREES_H

#include "cursor.h"

/* TREES_NAME, TREES_TYPE and so on, and how many there are. */
enum {
#define FIELD(name, key, form) TREES_##name,
    FORMAT_NODE_FIELDS(FIELD)
#undef FIELD
    TREES_FIELDS
};

/* An entry of a tree, as its JSON says. */
typedef struct {
    uint32_t seen; /* bit n: field n */
    json_text whole;
    json_text texts[TREES_FIELDS]; /* as they are written, escapes included; those of fields that are plain texts */
    uint64_t numbers[TREES_FIELDS];
    const char *content; /* NULL where it is null or absent */
    size_t content_count;
} trees_node;

/* Shows a tree's entries to *visit* until that gives something else than 0, which is the result; -2 (TREES_UNUSUAL) where the
 * JSON is not of the form restic writes, the order of a node's fields aside, or an id, a number or a time is invalid. Of names it
 * says nothing. */
enum { TREES_UNUSUAL = -2 };
typedef int trees_visitor(void *to, const trees_node *node);
int trees_walk(const char *json, size_t size, trees_visitor *visit, void *to);
/* The entry whose JSON *whole* is, as trees_walk showed it. */
int trees_one(json_text whole, trees_node *node);
int trees_is(const trees_node *node, const char *type);
/* What the digits of a time as Go writes it say. */
typedef struct {
    int year, month, day, hour, minute, second;
    int64_t fraction; /* nanoseconds */
    int64_t offset;   /* of the zone, seconds */
} trees_moment;

/* Days of a month, which counts from 1. */
int trees_days_in(int year, int month);
/* 0 for text that is not such a time. */
int trees_time(json_text text, trees_moment *moment);
/* Whether an entry of a directory can be called so, after *previous*, which becomes this name. Not with escapes. */
int trees_follows(const trees_node *node, json_text *previous);
/* The id at *text*, which is between quotes and as long as one; 0 where it is not one, or all zeros. */
int trees_id(const char *text, uint8_t id[JSON_ID]);
/* The list of ids, brackets included; {NULL, 0} where it is null or absent. */
json_text trees_content(const trees_node *node);
/* The id of one of the node's blobs; 0 where it is invalid. */
int trees_blob(const trees_node *node, size_t number, uint8_t id[JSON_ID]);

#endif
