# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled index table; use it by way of restic_format.native.table, which documents it."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from os import urandom


cdef extern from "format.h" nogil:
    enum:
        FORMAT_ID_SIZE

cdef extern from "table.h" nogil:
    enum: ID_SEED
    enum: TABLE_REPEATED
    ctypedef struct id_slots:
        uint32_t *numbers
        uint8_t *tags
        size_t count
        uint64_t *seed
    ctypedef struct id_set:
        uint8_t *ids
        size_t count
        id_slots slots
    ctypedef struct table:
        uint8_t *ids
        uint8_t *types
        uint32_t *packs
        uint32_t *offsets
        uint32_t *lengths
        uint32_t *plain
        size_t count
        id_slots slots
        uint32_t *following
        id_set pack_ids
        uint8_t *pack_flags
    ctypedef struct index_file:
        table rows
        id_set packs
        size_t *marked
        size_t marked_count
    size_t slots_longest_search(const id_slots *slots)
    int64_t id_find(const id_set *packs, const uint8_t *id)
    void table_init(table *t, const uint64_t *seed)
    void table_free(table *t)
    int table_add(table *t, uint8_t type, const uint8_t *id, uint32_t pack, uint32_t offset, uint32_t length, uint32_t plain)
    int64_t table_add_pack(table *t, const uint8_t *id)
    int64_t table_last(const table *t, uint8_t type, const uint8_t *id)
    uint32_t table_following(const table *t, uint32_t row)
    int64_t table_first(const table *t, uint8_t type, const uint8_t *id)
    int table_merge(table *t, const index_file *other)
    int table_settle(table *t)
    int table_expect(table *t, size_t rows)
    int table_allocate(table *t, size_t rows, size_t slots, int copies, size_t packs)
    int table_adopt(table *t, size_t rows, size_t packs)
    int table_order(const table *t, size_t packs, uint32_t *order, uint32_t *starts)
    int TABLE_HAS_DATA, TABLE_HAS_TREES, TABLE_GAPS, TABLE_ENTRY
    uint64_t table_layout(const table *t, const uint32_t *order, size_t count, int *bits)
    size_t table_header(const table *t, const uint32_t *order, size_t count, uint8_t *header)
    void index_file_free(index_file *file)
    int index_file_add_pack(index_file *file, const uint8_t *id)
    int index_file_add(index_file *file, uint8_t type, const uint8_t *id, uint32_t offset, uint32_t length, uint32_t plain)
    int index_file_decode(index_file *file, const char *json, size_t size)


cdef extern from "checks.h" nogil:
    int tree_check(const table *t, const char *json, size_t size, uint8_t **subtrees, size_t *count)


cdef const uint8_t *_id(bytes blob_id) except NULL:
    if blob_id is None or len(blob_id) != FORMAT_ID_SIZE:
        raise ValueError(f"an id has {FORMAT_ID_SIZE} bytes")
    return <const uint8_t *> <const char *> blob_id


cdef class DecodedIndex:
    """An index file's packs and blobs, on their way into a `BlobTable`."""
    cdef index_file _file

    def __dealloc__(self):
        index_file_free(&self._file)

    def add_pack(self, bytes pack_id):
        if index_file_add_pack(&self._file, _id(pack_id)):
            raise MemoryError

    def add(self, uint8_t type_code, bytes blob_id, uint32_t offset, uint32_t length, uint32_t plain):
        if type_code > 1 or not self._file.packs.count:
            raise ValueError("a type is 0 or 1, and a blob is in a pack")
        if index_file_add(&self._file, type_code, _id(blob_id), offset, length, plain):
            raise MemoryError

    def records(self):
        cdef const table *rows = &self._file.rows
        cdef size_t row = 0, first, pack
        found = []
        for pack in range(self._file.packs.count):
            first = row
            while row < rows.count and rows.packs[row] == pack:
                row += 1
            found.append((self._file.packs.ids[FORMAT_ID_SIZE * pack:FORMAT_ID_SIZE * (pack + 1)], row - first))
        return found

    def marked(self):
        return [(self._file.marked[i], self._file.marked[i + 1]) for i in range(0, self._file.marked_count, 2)]


def decode_index(raw):
    """The index whose JSON is *raw*; None where anything is wrong with it, or unusual."""
    cdef Py_buffer view
    cdef DecodedIndex decoded = DecodedIndex()
    cdef int failed
    PyObject_GetBuffer(raw, &view, PyBUF_SIMPLE)
    try:
        with nogil:
            failed = index_file_decode(&decoded._file, <const char *> view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
    if failed == -1:
        raise MemoryError
    return None if failed else decoded


cdef object _memory(BlobTable owner, void *start, size_t size):
    """A view of some of the table's memory; it keeps the table alive, and must not be used after the next change."""
    cdef Memory memory = Memory()
    memory.owner, memory.start, memory.size = owner, start, size
    return memoryview(memory)


cdef class Memory:
    cdef object owner
    cdef void *start
    cdef size_t size

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.start, self.size, 0, flags)


cdef class BlobTable:
    cdef table _table

    def __cinit__(self, bytes seed=None):
        cdef uint64_t[ID_SEED] words
        if seed is None:
            seed = urandom(sizeof(words))
        if len(seed) != sizeof(words):
            raise ValueError("a seed has 40 bytes")
        memcpy(words, <const char *> seed, sizeof(words))
        table_init(&self._table, words)

    def __dealloc__(self):
        table_free(&self._table)

    def __len__(self):
        return self._table.count

    def add_pack(self, bytes pack_id):
        cdef int64_t number = table_add_pack(&self._table, _id(pack_id))
        if number < 0:
            raise MemoryError
        return number

    def pack_number(self, bytes pack_id):
        cdef int64_t number = id_find(&self._table.pack_ids, _id(pack_id))
        return None if number < 0 else number

    def pack_count(self):
        return self._table.pack_ids.count

    def pack_id(self, size_t number):
        if number >= self._table.pack_ids.count:
            raise IndexError("no such pack")
        return self._table.pack_ids.ids[FORMAT_ID_SIZE * number:FORMAT_ID_SIZE * (number + 1)]

    def is_repeated(self, size_t number):
        return number < self._table.pack_ids.count and self._table.pack_flags[number] & TABLE_REPEATED != 0

    def add(self, uint8_t type_code, bytes blob_id, uint32_t pack, uint32_t offset, uint32_t length, uint32_t plain):
        if type_code > 1 or pack >= self._table.pack_ids.count:
            raise ValueError("a type is 0 or 1, and a pack is one of those added")
        if table_add(&self._table, type_code, _id(blob_id), pack, offset, length, plain):
            raise MemoryError

    def merge(self, DecodedIndex decoded not None):
        cdef int failed
        with nogil:
            failed = table_merge(&self._table, &decoded._file)
        if failed:
            raise MemoryError

    def copies(self, uint8_t type_code, bytes blob_id):
        cdef int64_t last = table_last(&self._table, type_code, _id(blob_id)), row = last
        cdef size_t left
        found = []
        for left in range(0 if last < 0 else self._table.count):
            row = table_following(&self._table, <uint32_t> row)
            found.append(self._place(row))
            if row == last:
                break
        return found

    def first(self, uint8_t type_code, bytes blob_id):
        cdef int64_t row = table_first(&self._table, type_code, _id(blob_id))
        return None if row < 0 else self._place(row)

    def has_all(self, uint8_t type_code, bytes ids not None):
        cdef const uint8_t *id = ids
        cdef Py_ssize_t i
        for i in range(len(ids) // FORMAT_ID_SIZE):
            if table_last(&self._table, type_code, id + FORMAT_ID_SIZE * i) < 0:
                return False
        return True

    cdef tuple _place(self, size_t row):
        cdef const table *t = &self._table
        return (t.packs[row], t.offsets[row], t.lengths[row], t.plain[row] or None)

    cdef tuple _row(self, size_t row):
        cdef const table *t = &self._table
        return (t.types[row], t.ids[FORMAT_ID_SIZE * row:FORMAT_ID_SIZE * (row + 1)], t.offsets[row], t.lengths[row], t.plain[row] or None)

    def expect(self, size_t rows):
        if table_expect(&self._table, rows):
            raise MemoryError

    def finish_loading(self):
        if table_settle(&self._table):
            raise MemoryError

    def slot_count(self):
        return self._table.slots.count

    def longest_search(self):
        return max(slots_longest_search(&self._table.slots), slots_longest_search(&self._table.pack_ids.slots))

    def seed(self):
        return (<const char *> self._table.slots.seed)[:8 * ID_SEED]

    def has_copies(self):
        return self._table.following != NULL

    @staticmethod
    def allocate(size_t rows, size_t slots, bint copies, size_t packs, bytes seed not None):
        cdef BlobTable made = BlobTable(seed)
        if table_allocate(&made._table, rows, slots, copies, packs):
            raise ValueError("no table has that many rows and slots")
        return made

    def adopt(self, size_t rows, size_t packs):
        if table_adopt(&self._table, rows, packs):
            raise ValueError("the columns contradict each other")

    def parts(self, size_t rows, size_t packs):
        """The memory of the first *rows* rows and *packs* packs, column by column, and of the slots; valid until the next
        change."""
        cdef table *t = &self._table
        if t.slots.count == 0 and packs == 0:
            return []
        return [
            _memory(self, t.ids, FORMAT_ID_SIZE * rows), _memory(self, t.types, rows), _memory(self, t.packs, 4 * rows),
            _memory(self, t.offsets, 4 * rows), _memory(self, t.lengths, 4 * rows), _memory(self, t.plain, 4 * rows),
            _memory(self, t.slots.numbers, 4 * t.slots.count), _memory(self, t.slots.tags, t.slots.count),
            _memory(self, t.following, 4 * rows if t.following != NULL else 0),
            _memory(self, t.pack_ids.ids, FORMAT_ID_SIZE * packs), _memory(self, t.pack_flags, packs),
        ]

    def in_packs(self):
        cdef PackOrder made = PackOrder()
        cdef size_t packs = self._table.pack_ids.count
        made._owner, made._packs = self, packs
        made._order = <uint32_t *> malloc(4 * (self._table.count + 1))
        made._starts = <uint32_t *> malloc(4 * (packs + 1))
        if made._order == NULL or made._starts == NULL or table_order(&self._table, packs, made._order, made._starts):
            raise MemoryError
        return made

    def use(self):
        return BlobUse(self)

    def check_tree(self, raw):
        cdef Py_buffer view
        cdef uint8_t *subtrees = NULL
        cdef size_t count = 0, i
        cdef int failed
        PyObject_GetBuffer(raw, &view, PyBUF_SIMPLE)
        try:
            with nogil:
                failed = tree_check(&self._table, <const char *> view.buf, view.len, &subtrees, &count)
        finally:
            PyBuffer_Release(&view)
        if failed == -1:
            raise MemoryError
        if failed:
            return None
        try:
            return [subtrees[FORMAT_ID_SIZE * i:FORMAT_ID_SIZE * (i + 1)] for i in range(count)]
        finally:
            free(subtrees)

    def plan_tree(self, raw, uint32_t file, uint64_t names, uint32_t largest):
        return plan_tree(&self._table, raw, file, names, largest)


cdef class PackOrder:
    """The rows of a table by packs, and within a pack by offsets."""
    cdef BlobTable _owner
    cdef size_t _packs
    cdef uint32_t *_order
    cdef uint32_t *_starts

    def __dealloc__(self):
        free(self._order)
        free(self._starts)

    cdef size_t _rows_of(self, size_t pack, const uint32_t **first) except? 1:
        if pack >= self._packs:
            raise IndexError("no such pack")
        first[0] = self._order + self._starts[pack]
        return self._starts[pack + 1] - self._starts[pack]

    def rows(self, size_t pack):
        cdef const uint32_t *first
        cdef size_t count = self._rows_of(pack, &first), i
        return [self._owner._row(first[i]) for i in range(count)]

    def layout(self, size_t pack):
        cdef const uint32_t *first
        cdef size_t count = self._rows_of(pack, &first)
        cdef int bits
        cdef uint64_t size = table_layout(&self._owner._table, first, count, &bits)
        return size, bool(bits & TABLE_HAS_DATA and bits & TABLE_HAS_TREES), bool(bits & TABLE_GAPS)

    def header(self, size_t pack):
        cdef const uint32_t *first
        cdef size_t count = self._rows_of(pack, &first)
        cdef uint8_t *room = <uint8_t *> malloc(TABLE_ENTRY * count + 1)
        if room == NULL:
            raise MemoryError
        try:
            return room[:table_header(&self._owner._table, first, count, room)]
        finally:
            free(room)


include "_plans.pxi"
include "_records.pxi"
include "_use.pxi"
