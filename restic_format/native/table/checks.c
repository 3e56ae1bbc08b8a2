#include "checks.h"

#include <stdlib.h>
#include <string.h>

enum { ID = JSON_ID, OVERHEAD = FORMAT_OVERHEAD };

typedef struct {
    const table *table;
    json_text previous;
    uint8_t *ids;
    size_t count, room;
} checking;

static int good_content(const table *t, const trees_node *n)
{
    uint8_t id[ID];
    uint64_t size = 0;
    if (!n->content)
        return 0;
    for (size_t i = 0; i < n->content_count; i++) {
        if (!trees_blob(n, i, id))
            return 0;
        int64_t row = table_first(t, 0, id);
        if (row < 0)
            return 0;
        size += t->plain[row] ? t->plain[row] : t->lengths[row] - OVERHEAD;
    }
    return size == n->numbers[TREES_SIZE];
}

static int without_content(const trees_node *n)
{
    static const char *const types[] = {FORMAT_TYPES_WITHOUT_CONTENT};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (trees_is(n, types[i]))
            return 1;
    return 0;
}

static int add_subtree(checking *found, const trees_node *n)
{
    if (found->count == found->room) {
        size_t room = found->room * 2 + 16;
        uint8_t *grown = realloc(found->ids, room * ID);
        if (!grown)
            return -1;
        found->ids = grown;
        found->room = room;
    }
    const json_text *subtree = n->texts + TREES_SUBTREE;
    if (!subtree->at || !trees_id(subtree->at, found->ids + found->count * ID))
        return TREES_UNUSUAL;
    found->count++;
    return 0;
}

static int check_node(void *to, const trees_node *n)
{
    checking *found = to;
    if (!trees_follows(n, &found->previous))
        return TREES_UNUSUAL;
    if (trees_is(n, FORMAT_TYPE_DIR))
        return add_subtree(found, n);
    return (trees_is(n, FORMAT_TYPE_FILE) ? good_content(found->table, n) : without_content(n)) ? 0 : TREES_UNUSUAL;
}

int tree_check(const table *t, const char *json, size_t size, uint8_t **subtrees, size_t *count)
{
    checking found = {.table = t};
    int failed = trees_walk(json, size, check_node, &found);
    if (failed) {
        free(found.ids);
        return failed;
    }
    *subtrees = found.ids;
    *count = found.count;
    return 0;
}
