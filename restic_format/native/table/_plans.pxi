# Part of _table.pyx: a tree as columns for a restore.

cdef extern from "growing.h" nogil:
    ctypedef struct growing:
        uint8_t *data
        size_t used

cdef extern from "plans.h" nogil:
    int PLANS_COLUMNS
    int plans_read(const table *t, const char *json, size_t size, uint32_t file, uint64_t names, uint32_t largest,
                   growing *columns)


cdef tuple plan_tree(const table *t, raw, uint32_t file, uint64_t names, uint32_t largest):
    """The columns of plans.h; None where the tree is not of restic's usual form."""
    cdef Py_buffer view
    cdef growing columns[32]
    cdef int failed, i
    memset(columns, 0, sizeof(columns))
    try:
        PyObject_GetBuffer(raw, &view, PyBUF_SIMPLE)
        try:
            with nogil:
                failed = plans_read(t, <const char *> view.buf, view.len, file, names, largest, columns)
        finally:
            PyBuffer_Release(&view)
        if failed == -1:
            raise MemoryError
        if failed:
            return None
        return tuple([PyBytes_FromStringAndSize(<char *> columns[i].data, columns[i].used) for i in range(PLANS_COLUMNS)])
    finally:
        for i in range(PLANS_COLUMNS):
            free(columns[i].data)
