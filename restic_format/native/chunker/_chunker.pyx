# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled chunker; use it by way of restic_format.native.chunker, which also documents it."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint64_t


cdef extern from "rabin.h" nogil:
    ctypedef struct rabin_tables:
        pass
    ctypedef enum rabin_method:
        RABIN_PLAIN
        RABIN_LANES
        RABIN_AVX2
    int RABIN_WINDOW
    void rabin_prepare(rabin_tables *tables, uint64_t polynomial, int split_bits)
    int rabin_supports(const rabin_tables *tables, rabin_method method)
    size_t rabin_find(
        const rabin_tables *tables, rabin_method method, const uint8_t *data, size_t first, size_t last)


# From the fastest to the slowest.
_METHODS = {"avx2": RABIN_AVX2, "lanes": RABIN_LANES, "plain": RABIN_PLAIN}


cdef class Chunker:
    cdef rabin_tables _tables
    cdef rabin_method _method
    cdef readonly object polynomial
    cdef readonly Py_ssize_t min_size
    cdef readonly Py_ssize_t max_size
    cdef readonly int avg_bits
    cdef readonly str method

    def __init__(self, polynomial, Py_ssize_t min_size=512 * 1024, Py_ssize_t max_size=8 * 1024 * 1024,
                 int avg_bits=20, *, method=None):
        if not 9 <= polynomial.bit_length() <= 54:
            raise ValueError(f"polynomial {polynomial:#x} has a degree outside 8 to 53")
        if not RABIN_WINDOW <= min_size <= max_size:
            raise ValueError(f"chunk sizes {min_size} to {max_size}: use 64 <= min_size <= max_size")
        if not 1 <= avg_bits <= 52:
            raise ValueError(f"a mask of {avg_bits} bits is outside 1 to 52")
        self.polynomial = polynomial
        self.min_size = min_size
        self.max_size = max_size
        self.avg_bits = avg_bits
        rabin_prepare(&self._tables, polynomial, avg_bits)
        if method is None:
            method = next(name for name, code in _METHODS.items() if rabin_supports(&self._tables, code))
        elif method not in _METHODS or not rabin_supports(&self._tables, _METHODS[method]):
            raise ValueError(f"the chunking method {method!r} does not work here")
        self.method = method
        self._method = _METHODS[method]

    def next_cut(self, buffer, Py_ssize_t start, Py_ssize_t end, bint final, Py_ssize_t known=0):
        cdef Py_buffer view
        cdef const uint8_t *data
        cdef size_t found = 0
        cdef Py_ssize_t first, last, available

        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
        try:
            if not 0 <= start <= end <= view.len:
                raise ValueError(f"range {start} to {end} lies outside a buffer of {view.len} bytes")
            available = end - start
            first = max(self.min_size, known + 1)
            last = min(available, self.max_size)
            if first <= last:
                data = <const uint8_t *> view.buf + start
                with nogil:
                    found = rabin_find(&self._tables, self._method, data, first, last)
        finally:
            PyBuffer_Release(&view)
        if found:
            return found
        if available >= self.max_size:
            return self.max_size
        return available if final else 0


def methods(polynomial):
    cdef rabin_tables tables

    if not 9 <= polynomial.bit_length() <= 54:
        raise ValueError(f"polynomial {polynomial:#x} has a degree outside 8 to 53")
    rabin_prepare(&tables, polynomial, 20)
    return tuple(name for name, code in _METHODS.items() if rabin_supports(&tables, code))
