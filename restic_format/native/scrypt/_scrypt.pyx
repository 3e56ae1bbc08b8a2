# cython: language_level=3, boundscheck=False, wraparound=False
"""The mixing of scrypt lanes; use it by way of restic_format.native.scrypt."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef extern from "scrypt.h" nogil:
    ctypedef enum scrypt_method:
        SCRYPT_PLAIN
        SCRYPT_AVX2
        SCRYPT_AVX512
    int scrypt_supports(scrypt_method method)
    unsigned scrypt_slots(scrypt_method method)
    int scrypt_mix(
        scrypt_method method, uint8_t *lanes, size_t count, uint64_t n, uint32_t r, unsigned slots, uint64_t every)


# From the fastest to the slowest.
_METHODS = {"avx512": SCRYPT_AVX512, "avx2": SCRYPT_AVX2, "plain": SCRYPT_PLAIN}

SLOTS = {name: scrypt_slots(code) for name, code in _METHODS.items() if scrypt_supports(code)}


def mix_lanes(lanes, uint64_t n, uint32_t r, unsigned slots, uint64_t every, method):
    cdef Py_buffer view
    cdef int failed
    cdef scrypt_method chosen
    if not 1 <= slots <= SLOTS[method] or every == 0:
        raise ValueError(f"{slots} slots of every {every}. row do not work with {method}")
    chosen = _METHODS[method]
    PyObject_GetBuffer(lanes, &view, PyBUF_WRITABLE)
    try:
        if r == 0 or view.len % (128 * <Py_ssize_t> r) or n < 2 or n & (n - 1):
            raise ValueError("a lane has 128 * r bytes, n is a power of two")
        with nogil:
            failed = scrypt_mix(chosen, <uint8_t *> view.buf, view.len // (128 * <Py_ssize_t> r), n, r, slots, every)
    finally:
        PyBuffer_Release(&view)
    if failed:
        raise MemoryError
