# Part of _table.pyx: the header of a pack as its record in an index.

cdef extern from "records.h" nogil:
    int record_write(const uint8_t *header, size_t size, const uint8_t *id, int compressed, char **json, size_t *length,
                     size_t *blobs, uint64_t *sealed)


def pack_record(bytes pack_id, header, bint compressed):
    """The JSON of the record, how many blobs are in it, and their sealed bytes; None where anything is wrong or unusual."""
    cdef Py_buffer view
    cdef const uint8_t *name = _id(pack_id)
    cdef char *json = NULL
    cdef size_t length = 0, blobs = 0
    cdef uint64_t sealed = 0
    cdef int failed
    PyObject_GetBuffer(header, &view, PyBUF_SIMPLE)
    try:
        with nogil:
            failed = record_write(<const uint8_t *> view.buf, view.len, name, compressed, &json, &length, &blobs, &sealed)
    finally:
        PyBuffer_Release(&view)
    if failed == -1:
        raise MemoryError
    if failed:
        return None
    try:
        return PyBytes_FromStringAndSize(json, length), blobs, sealed
    finally:
        free(json)
