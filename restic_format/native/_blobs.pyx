# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled blob kernel; use it by way of restic_format.native.blobs, which also documents it."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy


cdef extern from "blobs.h" nogil:
    int BLOBS_OVERHEAD
    int BLOBS_NO_MEMORY
    ctypedef struct blobs_zstd:
        int level
        int strategy
        int window_log
        int hash_log
        int chain_log
        int min_match
    ctypedef struct blobs_context:
        pass
    int blobs_load_libraries(char *why, size_t size)
    blobs_context *blobs_new(const uint8_t *encrypt, const uint8_t *mac_k, const uint8_t *mac_r)
    void blobs_free(blobs_context *context)
    int blobs_sha256(blobs_context *context, const uint8_t *data, size_t size, uint8_t *id)
    int64_t blobs_seal(blobs_context *context, const blobs_zstd *zstd, int always, const uint8_t *iv,
                       const uint8_t *plain, size_t size, const uint8_t *id, uint8_t *sealed, uint32_t *uncompressed)
    size_t blobs_bound(size_t size)
    int64_t blobs_open(blobs_context *context, const uint8_t *sealed, size_t size, int compressed, const uint8_t *id,
                       uint8_t *plain, size_t room)


def missing_library():
    """Why the kernel cannot work on this machine; None where it can."""
    cdef char why[256]
    if blobs_load_libraries(why, sizeof(why)) == 0:
        return None
    return why.decode()


cdef class Zstd:
    """Compression parameters; 0 stands for what the level implies."""
    cdef blobs_zstd values

    def __init__(self, int level, int strategy=0, int window_log=0, int hash_log=0, int chain_log=0, int min_match=0):
        self.values = blobs_zstd(level, strategy, window_log, hash_log, chain_log, min_match)


cdef class Context:
    """One thread's cipher, hash and compression contexts for one key."""
    cdef blobs_context *_context

    def __cinit__(self, bytes encrypt not None, bytes mac_k not None, bytes mac_r not None):
        if (len(encrypt), len(mac_k), len(mac_r)) != (32, 16, 16):
            raise ValueError("key material must be 32 + 16 + 16 bytes")
        reason = missing_library()
        if reason is not None:
            raise RuntimeError(reason)
        self._context = blobs_new(encrypt, mac_k, mac_r)
        if self._context == NULL:
            raise MemoryError

    def __dealloc__(self):
        blobs_free(self._context)

    def sha256(self, data):
        cdef Py_buffer view
        cdef uint8_t digest[32]
        cdef int failed
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            with nogil:
                failed = blobs_sha256(self._context, <const uint8_t *> view.buf, view.len, digest)
        finally:
            PyBuffer_Release(&view)
        if failed:
            raise RuntimeError("libcrypto failed")
        return digest[:32]

    def seal(self, data, bytes iv not None, Zstd zstd=None, bint always=False, bytes verify=None):
        cdef Py_buffer view
        cdef const blobs_zstd *parameters = NULL if zstd is None else &zstd.values
        cdef const uint8_t *id = NULL
        cdef const uint8_t *nonce = iv
        cdef uint8_t *sealed
        cdef uint32_t uncompressed = 0
        cdef int64_t length
        if len(iv) != 16 or (verify is not None and len(verify) != 32):
            raise ValueError("an IV has 16 bytes, an id 32")
        if verify is not None:
            id = verify
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if view.len >= 1 << 32:
                raise ValueError("a blob has less than 4 GiB")
            sealed = <uint8_t *> malloc(blobs_bound(view.len))
            if sealed == NULL:
                raise MemoryError
            try:
                with nogil:
                    length = blobs_seal(self._context, parameters, always, nonce, <const uint8_t *> view.buf, view.len, id,
                                        sealed, &uncompressed)
                if length < 0:
                    return None
                return PyBytes_FromStringAndSize(<char *> sealed, length), uncompressed
            finally:
                free(sealed)
        finally:
            PyBuffer_Release(&view)

    def open(self, sealed, Py_ssize_t room, bint compressed, bytes blob_id=None):
        cdef Py_buffer view
        cdef const uint8_t *expected = NULL
        cdef uint8_t *target
        cdef int64_t length
        if blob_id is not None:
            if len(blob_id) != 32:
                raise ValueError("an id has 32 bytes")
            expected = blob_id
        PyObject_GetBuffer(sealed, &view, PyBUF_SIMPLE)
        try:
            plain = PyBytes_FromStringAndSize(NULL, room)
            target = <uint8_t *> PyBytes_AS_STRING(plain)
            with nogil:
                length = blobs_open(self._context, <const uint8_t *> view.buf, view.len, compressed, expected, target, room)
        finally:
            PyBuffer_Release(&view)
        if length < 0:
            return None
        return plain if length == room else plain[:length]
