# cython: language_level=3, boundscheck=False, wraparound=False
"""The mixing of scrypt lanes; use it by way of restic_format.native.scrypt."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef extern from "scrypt.h" nogil:
    int scrypt_mix(uint8_t *lane, uint64_t n, uint32_t r)


def mix_lane(lane, uint64_t n, uint32_t r):
    """scryptROMix of *lane*, 128 * r writable bytes, in place."""
    cdef Py_buffer view
    cdef int failed
    PyObject_GetBuffer(lane, &view, PyBUF_WRITABLE)
    try:
        if r == 0 or view.len != 128 * <Py_ssize_t> r or n < 2 or n & (n - 1):
            raise ValueError("a lane has 128 * r bytes, n is a power of two")
        with nogil:
            failed = scrypt_mix(<uint8_t *> view.buf, n, r)
    finally:
        PyBuffer_Release(&view)
    if failed:
        raise MemoryError
