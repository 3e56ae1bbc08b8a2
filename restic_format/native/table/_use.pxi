# Part of _table.pyx: which blobs are used, and which copies are kept.

cdef extern from "use.h" nogil:
    int USE_AGAIN
    ctypedef struct blob_use:
        const table *table
        uint8_t *rows
        size_t count
    ctypedef struct use_pack:
        uint64_t used_size
    ctypedef struct use_ids:
        uint8_t *ids
        size_t count
    ctypedef struct use_count:
        uint64_t data
        uint64_t trees
        uint64_t bytes
    void use_beyond(const blob_use *use, const blob_use *other, use_count *found)
    int use_mark(blob_use *use, uint8_t type, const uint8_t *id)
    int use_mark_tree(blob_use *use, const char *json, size_t size, use_ids *fresh, use_ids *missing)
    void use_choose(blob_use *use, const uint8_t *trust, use_pack *packs)
    void use_release(blob_use *use, const uint8_t *fate)
    size_t use_repacked(const blob_use *use, const uint8_t *fate)
    int use_order(const blob_use *use, const uint8_t *fate, size_t packs, uint32_t *order, uint32_t *starts)


cdef class BlobUse:
    cdef BlobTable _owner
    cdef blob_use _use
    cdef size_t _packs

    def __cinit__(self, BlobTable owner not None):
        owner.finish_loading()
        self._owner, self._packs = owner, owner._table.pack_ids.count
        self._use.table, self._use.count = &owner._table, owner._table.count
        self._use.rows = <uint8_t *> calloc(self._use.count + 1, 1)
        if self._use.rows == NULL:
            raise MemoryError
        if any([owner.is_repeated(pack) for pack in range(self._packs)]):
            self._find_repeated()

    def __dealloc__(self):
        free(self._use.rows)

    cdef _find_repeated(self):
        """Tell the rows that are listed twice."""
        cdef PackOrder order = self._owner.in_packs()
        cdef const uint32_t *first
        cdef size_t pack, count, i
        for pack in range(self._packs):
            if not self._owner.is_repeated(pack):
                continue
            count = order._rows_of(pack, &first)
            seen = set()
            for i in range(count):
                row = self._owner._row(first[i])
                if row in seen:
                    self._use.rows[first[i]] |= USE_AGAIN
                seen.add(row)

    cdef int _unchanged(self) except -1:
        if self._owner._table.count != self._use.count or self._owner._table.pack_ids.count != self._packs:
            raise ValueError("the table has grown")
        return 0

    cdef const uint8_t *_of_packs(self, bytes values) except NULL:
        self._unchanged()
        if values is None or len(values) != self._packs:
            raise ValueError("there must be a byte for each pack")
        return <const uint8_t *> <const char *> values

    def mark(self, uint8_t type_code, bytes blob_id):
        self._unchanged()
        cdef int marked = use_mark(&self._use, type_code, _id(blob_id))
        return None if marked < 0 else marked == 1

    def mark_tree(self, raw):
        cdef Py_buffer view
        cdef use_ids fresh, missing
        cdef int failed
        self._unchanged()
        memset(&fresh, 0, sizeof(fresh))
        memset(&missing, 0, sizeof(missing))
        try:
            PyObject_GetBuffer(raw, &view, PyBUF_SIMPLE)
            try:
                with nogil:
                    failed = use_mark_tree(&self._use, <const char *> view.buf, view.len, &fresh, &missing)
            finally:
                PyBuffer_Release(&view)
            if failed == -1:
                raise MemoryError
            if failed:
                return None
            return (
                PyBytes_FromStringAndSize(<char *> fresh.ids, FORMAT_ID_SIZE * fresh.count),
                PyBytes_FromStringAndSize(<char *> missing.ids, FORMAT_ID_SIZE * missing.count),
            )
        finally:
            free(fresh.ids)
            free(missing.ids)

    def beyond(self, BlobUse other not None):
        cdef use_count found
        self._unchanged()
        other._unchanged()
        if other._owner is not self._owner:
            raise ValueError("they are marks of different tables")
        with nogil:
            use_beyond(&self._use, &other._use, &found)
        return found.data, found.trees, found.bytes

    def choose(self, bytes trust):
        cdef const uint8_t *values = self._of_packs(trust)
        cdef size_t size = sizeof(use_pack) * self._packs
        cdef use_pack *packs = <use_pack *> calloc(size + 1, 1)
        if packs == NULL:
            raise MemoryError
        try:
            with nogil:
                use_choose(&self._use, values, packs)
            return PyBytes_FromStringAndSize(<char *> packs, size)
        finally:
            free(packs)

    def kept(self, bytes fate):
        cdef const uint8_t *values = self._of_packs(fate)
        cdef PackOrder made = PackOrder()
        made._owner, made._packs = self._owner, self._packs
        use_release(&self._use, values)
        made._order = <uint32_t *> malloc(4 * (use_repacked(&self._use, values) + 1))
        made._starts = <uint32_t *> malloc(4 * (self._packs + 1))
        if made._order == NULL or made._starts == NULL or use_order(&self._use, values, self._packs, made._order, made._starts):
            raise MemoryError
        return made
