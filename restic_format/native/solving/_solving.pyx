# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled search for candidates; use it by way of restic_format.native.solving, which documents it."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from restic_spec.solving import PRIME, Candidate, lattice, makes_difference


cdef extern from *:
    """typedef unsigned __int128 wide;"""
    ctypedef unsigned long long wide


cdef extern from "solving.h" nogil:
    enum:
        SOLVING_BLOCK
    ctypedef struct solving_number:
        uint64_t limb[3]
    ctypedef struct solving_search:
        const uint8_t *data
        size_t size
        uint64_t r[2]
        solving_number *wanted
        size_t count
        size_t next, last
        unsigned least, most
    ctypedef struct solving_candidate:
        size_t start
        uint8_t content[16]
        unsigned length
    ctypedef struct solving_lattice:
        wide x1, y1, x2, y2
        int steps1, steps2
        unsigned before
    void solving_polynomial(const uint64_t *r, const uint8_t *data, size_t size, solving_number *value)
    size_t solving_blocks(solving_search *search, solving_candidate *found, size_t room)
    size_t solving_borders(solving_search *search, const solving_lattice *lattice, solving_candidate *found, size_t room)
    size_t solving_points(const solving_lattice *lattice)
    ctypedef struct solving_table:
        uint64_t *slots
        unsigned bits
        size_t first
    ctypedef struct solving_pair:
        uint64_t one, other
    void solving_fill(solving_table *table, const uint8_t *data, size_t size, const solving_number *power,
                      const solving_number *inverse, size_t last)
    size_t solving_pairs(const solving_table *table, const uint8_t *data, size_t size, const solving_number *power,
                         const solving_number *inverse, size_t first, size_t last, const solving_number *wanted, size_t count,
                         solving_pair *found, size_t room)


cdef enum:
    ROOM = 256 # candidates found before they become objects
    MOST_PAIRS = 1024
    MOST_BITS = 24 # a table has at most 2 to the power of this many slots


cdef solving_number _number(value):
    cdef solving_number number
    for i in range(3):
        number.limb[i] = value >> 64 * i & 0xFFFFFFFFFFFFFFFF
    return number


cdef wide _wide(value):
    """A number with a sign in 128 bits."""
    cdef uint64_t low = value & 0xFFFFFFFFFFFFFFFF, high = value >> 64 & 0xFFFFFFFFFFFFFFFF
    return ((<wide> high) << 64) | low


cdef _check(r):
    if not 0 <= r < 1 << 128:
        raise ValueError("r is not a multiplier of Poly1305")


cdef class _Search:
    """What is looked for in a ciphertext, and room for what is found."""
    cdef solving_search search
    cdef solving_candidate *found
    cdef size_t room
    cdef Py_buffer view
    cdef bint held

    def __init__(self, r, ciphertext, wanted, first, last, spans, int exponent, size_t points):
        cdef Py_ssize_t count
        _check(r)
        PyObject_GetBuffer(ciphertext, &self.view, PyBUF_SIMPLE)
        self.held = True
        count = (self.view.len + SOLVING_BLOCK - 1) // SOLVING_BLOCK
        # The border behind the last block is the tag's.
        last = count - exponent if last is None else min(last, count - exponent)
        if first < 0:
            raise ValueError("blocks are counted from 0")
        self.search.data = <const uint8_t *> self.view.buf
        self.search.size = self.view.len
        self.search.r[0] = r & 0xFFFFFFFFFFFFFFFF
        self.search.r[1] = r >> 64
        self.search.next = first
        self.search.last = max(first, last)
        self.search.least, self.search.most = spans
        self.search.count = len(wanted)
        self.search.wanted = <solving_number *> malloc((len(wanted) + 1) * sizeof(solving_number))
        self.room = ROOM + len(wanted) * points
        self.found = <solving_candidate *> malloc(self.room * sizeof(solving_candidate))
        if self.search.wanted == NULL or self.found == NULL:
            raise MemoryError
        if self.search.next < self.search.last:
            inverse = pow(r, first + exponent - count, PRIME)
            for i, difference in enumerate(wanted):
                self.search.wanted[i] = _number(difference * inverse % PRIME)

    def __dealloc__(self):
        free(self.search.wanted)
        free(self.found)
        if self.held:
            PyBuffer_Release(&self.view)

    cdef _keep(self, list candidates, size_t number):
        for i in range(number):
            content = self.found[i].content[:self.found[i].length]
            candidates.append(Candidate(self.found[i].start, content))


def polynomial(r, ciphertext):
    cdef Py_buffer view
    cdef solving_number value
    cdef uint64_t multiplier[2]
    _check(r)
    multiplier[0] = r & 0xFFFFFFFFFFFFFFFF
    multiplier[1] = r >> 64
    PyObject_GetBuffer(ciphertext, &view, PyBUF_SIMPLE)
    try:
        with nogil:
            solving_polynomial(multiplier, <const uint8_t *> view.buf, view.len, &value)
    finally:
        PyBuffer_Release(&view)
    return <object> value.limb[2] << 128 | <object> value.limb[1] << 64 | <object> value.limb[0]


def block_candidates(r, ciphertext, wanted, first=0, last=None, spans=(1, SOLVING_BLOCK)):
    cdef list candidates = []
    cdef size_t number
    if not r:
        return candidates
    cdef _Search search = _Search(r, ciphertext, wanted, first, last, spans, 0, 1)
    while search.search.next < search.search.last:
        with nogil:
            number = solving_blocks(&search.search, search.found, search.room)
        search._keep(candidates, number)
    return candidates


def border_candidates(r, ciphertext, wanted, unsigned before, first=0, last=None, spans=(2, 12)):
    cdef list candidates = []
    cdef solving_lattice lattice_of_r
    cdef size_t number
    if not 0 < before < SOLVING_BLOCK:
        raise ValueError("a window has bytes on both sides of the border")
    base = lattice(r, before) if r else None
    if base is None:
        return candidates
    lattice_of_r.x1, lattice_of_r.y1 = _wide(base.x1), _wide(base.y1)
    lattice_of_r.x2, lattice_of_r.y2 = _wide(base.x2), _wide(base.y2)
    lattice_of_r.steps1, lattice_of_r.steps2 = base.steps1, base.steps2
    lattice_of_r.before = before
    cdef _Search search = _Search(r, ciphertext, wanted, first, last, spans, 1, solving_points(&lattice_of_r))
    while search.search.next < search.search.last:
        with nogil:
            number = solving_borders(&search.search, &lattice_of_r, search.found, search.room)
        search._keep(candidates, number)
    return candidates


@cython.no_gc_clear
cdef class BitPairs:
    """The bits of some blocks, by what flipping them changes; searched from any thread."""
    cdef solving_table table
    cdef Py_buffer view
    cdef bint held
    cdef object r, ciphertext
    cdef Py_ssize_t count
    cdef Py_ssize_t last

    def __init__(self, r, ciphertext, Py_ssize_t first, Py_ssize_t last):
        cdef solving_number power, inverse
        _check(r)
        if self.held:
            raise ValueError("these bits are known already")
        PyObject_GetBuffer(ciphertext, &self.view, PyBUF_SIMPLE)
        self.held = True
        self.r, self.ciphertext = r, ciphertext
        self.count = (self.view.len + SOLVING_BLOCK - 1) // SOLVING_BLOCK
        self.last = last = max(0, min(last, self.count))
        if not 0 <= first <= last:
            first = last
        self.table.first = first
        self.table.bits = max(4, ((last - first) * 8 * SOLVING_BLOCK * 3 // 2).bit_length())
        if self.table.bits > MOST_BITS:
            raise ValueError(f"{last - first} blocks are more than fit a table")
        self.table.slots = <uint64_t *> calloc(<size_t> 1 << self.table.bits, sizeof(uint64_t))
        if self.table.slots == NULL:
            raise MemoryError
        if not r:
            return
        power, inverse = _number(pow(r, self.count - first, PRIME)), _number(pow(r, -1, PRIME))
        with nogil:
            solving_fill(&self.table, <const uint8_t *> self.view.buf, self.view.len, &power, &inverse, last)

    def __dealloc__(self):
        free(self.table.slots)
        if self.held:
            PyBuffer_Release(&self.view)

    def search(self, wanted, Py_ssize_t first, Py_ssize_t last):
        cdef solving_number power, inverse
        cdef solving_number *differences
        cdef solving_pair *found
        cdef size_t number, count = len(wanted)
        last = min(last, self.count)
        if not self.r or not 0 <= first < last:
            return []
        power, inverse = _number(pow(self.r, self.count - first, PRIME)), _number(pow(self.r, -1, PRIME))
        differences = <solving_number *> malloc((count + 1) * sizeof(solving_number))
        found = <solving_pair *> malloc(MOST_PAIRS * sizeof(solving_pair))
        try:
            if differences == NULL or found == NULL:
                raise MemoryError
            for i, difference in enumerate(wanted):
                differences[i] = _number(difference)
            with nogil:
                number = solving_pairs(&self.table, <const uint8_t *> self.view.buf, self.view.len, &power, &inverse, first, last,
                                       differences, count, found, MOST_PAIRS)
            pairs = [(found[i].other, found[i].one) for i in range(number)]
        finally:
            free(differences)
            free(found)
        return [
            (min(pair), max(pair)) for pair in pairs
            if (pair[1] > pair[0] or pair[1] >= 128 * self.last)
            and makes_difference(self.r, self.ciphertext, pair, wanted)
        ]
