#include "use.h"

#include <stdlib.h>

/* Sets the bit of a used blob; whether it was set before. */
static int set_used(uint8_t *bits)
{
#ifdef __GNUC__
    return __atomic_fetch_or(bits, USE_USED, __ATOMIC_RELAXED) & USE_USED;
#else
    int before = *bits & USE_USED; /* there the interpreter lock is held */
    *bits |= USE_USED;
    return before;
#endif
}

int use_mark(blob_use *use, uint8_t type, const uint8_t *id)
{
    int64_t row = table_last(use->table, type, id);
    return row < 0 ? -1 : !set_used(use->rows + row);
}

static int append(use_ids *ids, const uint8_t *id)
{
    if (ids->count == ids->room) {
        size_t room = ids->room * 2 + 16;
        if (id_grow((void **)&ids->ids, room, ID_SIZE))
            return -1;
        ids->room = room;
    }
    memcpy(ids->ids + ids->count++ * ID_SIZE, id, ID_SIZE);
    return 0;
}

typedef struct {
    blob_use *use;
    use_ids *trees, *missing;
} marking;

static int mark_node(void *to, const trees_node *n)
{
    marking *found = to;
    uint8_t id[ID_SIZE];
    if (trees_is(n, FORMAT_TYPE_DIR)) {
        const json_text *subtree = n->texts + TREES_SUBTREE;
        if (!subtree->at || !trees_id(subtree->at, id))
            return TREES_UNUSUAL;
        return append(found->trees, id);
    }
    if (!trees_is(n, FORMAT_TYPE_FILE) || !n->content)
        return 0;
    for (size_t i = 0; i < n->content_count; i++) {
        if (!trees_blob(n, i, id))
            return TREES_UNUSUAL;
        if (use_mark(found->use, 0, id) < 0 && append(found->missing, id))
            return -1;
    }
    return 0;
}

int use_mark_tree(blob_use *use, const char *json, size_t size, use_ids *fresh, use_ids *missing)
{
    marking found = {use, fresh, missing};
    int failed = trees_walk(json, size, mark_node, &found);
    if (failed)
        return failed;
    size_t kept = 0;
    for (size_t i = 0; i < fresh->count; i++) {
        const uint8_t *id = fresh->ids + i * ID_SIZE;
        if (use_mark(use, 1, id))
            memmove(fresh->ids + kept++ * ID_SIZE, id, ID_SIZE);
    }
    fresh->count = kept;
    return 0;
}

void use_beyond(const blob_use *use, const blob_use *other, use_count *found)
{
    const table *t = use->table;
    memset(found, 0, sizeof *found);
    for (size_t row = 0; row < use->count; row++) {
        if (!(use->rows[row] & ~other->rows[row] & USE_USED))
            continue;
        if (t->types[row])
            found->trees++;
        else
            found->data++;
        if (t->plain[row])
            found->bytes += t->plain[row];
        else if (t->lengths[row] > FORMAT_OVERHEAD)
            found->bytes += t->lengths[row] - FORMAT_OVERHEAD;
    }
}

/* How a blob's copies stand: how many rows are the most reliable ones, and how reliable these are. */
static size_t best_rows(const blob_use *use, uint32_t last, const uint8_t *trust, uint8_t *best)
{
    const table *t = use->table;
    size_t count = 0;
    uint32_t row = last;
    *best = USE_MISSING;
    do {
        row = table_following(t, row);
        if (use->rows[row] & USE_AGAIN)
            continue;
        uint8_t here = trust[t->packs[row]];
        if (here < *best) {
            *best = here;
            count = 0;
        }
        count += here == *best;
    } while (row != last);
    return count;
}

/* Says of every row of a used blob that it is, and of the copies to choose among that they are. */
static void spread(blob_use *use, const uint8_t *trust)
{
    const table *t = use->table;
    for (size_t slot = 0; slot < t->slots.count; slot++) {
        uint32_t last = t->slots.numbers[slot], row = last;
        if (!t->slots.tags[slot] || !(use->rows[last] & USE_USED))
            continue;
        uint8_t best;
        size_t count = best_rows(use, last, trust, &best);
        do {
            row = table_following(t, row);
            use->rows[row] |= USE_USED;
            if (!(use->rows[row] & USE_AGAIN) && trust[t->packs[row]] == best)
                use->rows[row] |= count == 1 ? USE_KEPT : USE_OPEN;
        } while (row != last);
    }
}

static void count_rows(const blob_use *use, use_pack *packs)
{
    const table *t = use->table;
    for (size_t row = 0; row < use->count; row++) {
        use_pack *pack = packs + t->packs[row];
        uint8_t bits = use->rows[row];
        if (bits & USE_AGAIN)
            continue;
        pack->types |= t->types[row] ? TABLE_HAS_TREES : TABLE_HAS_DATA;
        pack->plain += !t->plain[row];
        if (bits & USE_KEPT) {
            pack->used++;
            pack->used_size += t->lengths[row];
        } else {
            pack->unused++;
            pack->unused_size += t->lengths[row];
            if (bits & USE_USED) {
                pack->copies++;
                pack->copies_size += t->lengths[row];
            }
        }
    }
}

/* This copy is kept, and no other one. */
static void keep(blob_use *use, uint32_t chosen, use_pack *packs)
{
    const table *t = use->table;
    uint32_t row = chosen;
    do {
        row = table_following(t, row);
        use->rows[row] &= (uint8_t)~USE_OPEN;
    } while (row != chosen);
    use->rows[chosen] |= USE_KEPT;
    use_pack *pack = packs + t->packs[chosen];
    uint32_t length = t->lengths[chosen];
    pack->used++;
    pack->used_size += length;
    pack->unused--;
    pack->unused_size -= length;
    pack->copies--;
    pack->copies_size -= length;
}

void use_choose(blob_use *use, const uint8_t *trust, use_pack *packs)
{
    const table *t = use->table;
    for (size_t row = 0; row < use->count; row++)
        use->rows[row] &= USE_USED | USE_AGAIN; /* what was chosen before does not count */
    spread(use, trust);
    count_rows(use, packs);
    if (!t->following)
        return;
    /* First where the pack is needed anyhow, then where it has nothing that could go (a prune that was interrupted leaves such
     * packs), then anywhere; each time what is chosen makes the pack a needed one. */
    for (int round = 0; round < 3; round++)
        for (size_t row = 0; row < use->count; row++) {
            const use_pack *pack = packs + t->packs[row];
            if (use->rows[row] & USE_OPEN && (pack->used || (round == 1 && pack->copies == pack->unused) || round == 2))
                keep(use, (uint32_t)row, packs);
        }
}

void use_release(blob_use *use, const uint8_t *fate)
{
    const table *t = use->table;
    for (size_t kept = 0; t->following && kept < use->count; kept++) {
        if (!(use->rows[kept] & USE_KEPT) || fate[t->packs[kept]] != USE_REPACKED)
            continue;
        uint32_t row = (uint32_t)kept;
        do
            row = table_following(t, row);
        while (row != kept && (use->rows[row] & USE_AGAIN || fate[t->packs[row]] != USE_STAYS));
        if (row != kept)
            use->rows[kept] &= (uint8_t)~USE_KEPT;
    }
}

static int is_repacked(const blob_use *use, const uint8_t *fate, size_t row)
{
    return use->rows[row] & USE_KEPT && fate[use->table->packs[row]] == USE_REPACKED;
}

size_t use_repacked(const blob_use *use, const uint8_t *fate)
{
    size_t count = 0;
    for (size_t row = 0; row < use->count; row++)
        count += (size_t)is_repacked(use, fate, row);
    return count;
}

int use_order(const blob_use *use, const uint8_t *fate, size_t packs, uint32_t *order, uint32_t *starts)
{
    const table *t = use->table;
    memset(starts, 0, (packs + 1) * sizeof *starts);
    for (size_t row = 0; row < use->count; row++)
        starts[t->packs[row] + 1] += (uint32_t)is_repacked(use, fate, row);
    for (size_t pack = 0; pack < packs; pack++)
        starts[pack + 1] += starts[pack];
    for (size_t row = 0; row < use->count; row++)
        if (is_repacked(use, fate, row))
            order[starts[t->packs[row]]++] = (uint32_t)row;
    return table_sort_starts(t, packs, order, starts);
}
