#include "checks.h"

#include <stdlib.h>
#include <string.h>

enum { ID = JSON_ID, OVERHEAD = FORMAT_OVERHEAD };

typedef struct {
    const table *table;
    json_text previous;
    growing ids;
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
    const json_text *subtree = n->texts + TREES_SUBTREE;
    uint8_t *id = growing_room(&found->ids, ID);
    if (!id)
        return -1;
    if (!subtree->at || !trees_id(subtree->at, id))
        return TREES_UNUSUAL;
    found->ids.used += ID;
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
        free(found.ids.data);
        return failed;
    }
    *subtrees = found.ids.data;
    *count = found.ids.used / ID;
    return 0;
}
