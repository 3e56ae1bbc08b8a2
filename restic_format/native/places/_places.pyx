# cython: language_level=3, boundscheck=False, wraparound=False
"""A restore's blobs written to their places; use it by way of restic_format.native.places, which documents it."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_FromObject, PyMemoryView_GET_BUFFER
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp


cdef extern from "format.h" nogil:
    enum:
        FORMAT_ID_SIZE

cdef extern from "places.h" nogil:
    ctypedef struct places_meta:
        uint32_t uid, gid, mode
        int64_t atime, mtime
    ctypedef struct places_owner:
        uint32_t uid, gid
    ctypedef struct place:
        const uint8_t *data
        size_t size
        int descriptor
        uint64_t offset
        int directory
        const char *name
        size_t name_length
        places_meta meta
        uint8_t *traits
        int done
    void places_write(place *places, size_t count, const places_owner *self)


# How much is opened before it is written: little enough for the processor's cache, and mostly two blobs, whose hashes are
# worked out together.
cdef enum:
    ROWS = 256
    FOLDERS = 32
    BYTES = 1 << 20
    PAIR_BYTES = 8 << 20

cdef extern from "states.h" nogil:
    enum:
        DIR_NEW
        FILE_CONTENT
        FILE_BEGUN
        FILE_DONE

# Times outside are left to the step-by-step way.
cdef int64_t TIME_BOUND = <int64_t> 1 << 62


cdef class PlaceWriter:
    """Writes blobs to the places that a restore's tables say."""
    cdef list _held
    cdef size_t _rows, _files, _directories
    cdef const uint8_t *_ids
    cdef const uint64_t *_offset
    cdef const uint32_t *_length
    cdef const uint32_t *_uncompressed
    cdef const uint32_t *_file
    cdef const uint64_t *_file_offset
    cdef const uint32_t *_directory
    cdef uint8_t *_state
    cdef const uint64_t *_size
    cdef const uint32_t *_blobs
    cdef uint32_t *_remaining
    cdef const char *_heap
    cdef const uint64_t *_ends
    cdef const uint16_t *_permissions
    cdef const uint32_t *_uid
    cdef const uint32_t *_gid
    cdef const int64_t *_atime
    cdef const int64_t *_mtime
    cdef const uint8_t *_dir_state
    cdef uint8_t *_traits
    cdef places_owner _self
    cdef bint _create
    cdef size_t _overhead
    cdef size_t _count, _opened
    cdef uint32_t _taken[ROWS]
    cdef uint32_t _blob[ROWS]
    cdef Py_buffer _views[ROWS]
    cdef place _places[ROWS]

    def __init__(self, size_t overhead, blobs, files, names, meta, directories, owner, bint create):
        self._overhead = overhead
        self._held = []
        ids, offset, length, uncompressed, file, file_offset = blobs
        self._rows = len(file)
        self._ids = <const uint8_t *> self._column(ids, 1, FORMAT_ID_SIZE * self._rows)
        self._offset = <const uint64_t *> self._column(offset, 8, self._rows)
        self._length = <const uint32_t *> self._column(length, 4, self._rows)
        self._uncompressed = <const uint32_t *> self._column(uncompressed, 4, self._rows)
        self._file = <const uint32_t *> self._column(file, 4, self._rows)
        self._file_offset = <const uint64_t *> self._column(file_offset, 8, self._rows)
        directory, state, size, count, remaining = files
        self._files = len(state)
        self._directory = <const uint32_t *> self._column(directory, 4, self._files)
        self._state = <uint8_t *> self._column(state, 1, self._files)
        self._size = <const uint64_t *> self._column(size, 8, self._files)
        self._blobs = <const uint32_t *> self._column(count, 4, self._files)
        self._remaining = <uint32_t *> self._column(remaining, 4, self._files)
        heap, ends = names
        self._ends = <const uint64_t *> self._column(ends, 8, self._files + 1)
        self._heap = <const char *> self._column(heap, 1, len(heap))
        permissions, uid, gid, atime, mtime = meta
        self._permissions = <const uint16_t *> self._column(permissions, 2, self._files)
        self._uid = <const uint32_t *> self._column(uid, 4, self._files)
        self._gid = <const uint32_t *> self._column(gid, 4, self._files)
        self._atime = <const int64_t *> self._column(atime, 8, self._files)
        self._mtime = <const int64_t *> self._column(mtime, 8, self._files)
        dir_state, traits = directories
        self._directories = len(dir_state)
        self._dir_state = <const uint8_t *> self._column(dir_state, 1, self._directories)
        self._traits = <uint8_t *> self._column(traits, 1, self._directories)
        self._self = places_owner(owner[0], owner[1])
        self._create = create

    cdef void *_column(self, object source, Py_ssize_t item, Py_ssize_t count) except? NULL:
        """Where a column begins. It stays there as long as this object lives."""
        view = PyMemoryView_FromObject(source)
        if view.readonly or view.itemsize != item or len(view) != count:
            raise ValueError("a column of another kind")
        self._held.append(view)
        return PyMemoryView_GET_BUFFER(view).buf

    cdef bint _is_simple(self, size_t file, size_t size):
        """Whether the file is new and has one blob, and nothing about it is out of the ordinary."""
        return (
            self._create and self._state[file] == FILE_CONTENT and self._blobs[file] == 1 and self._remaining[file] == 1
            and self._size[file] == size and self._dir_state[self._directory[file]] & DIR_NEW
            and -TIME_BOUND < self._atime[file] < TIME_BOUND and -TIME_BOUND < self._mtime[file] < TIME_BOUND
        )

    cdef size_t _plain_size(self, size_t row):
        """Bytes of a row's blob."""
        return self._uncompressed[row] or self._length[row] - self._overhead

    def take(self, list rows not None, Py_ssize_t first, uint64_t start):
        """What is to be opened next for *rows* from number *first* on, for `put` to write."""
        cdef Py_ssize_t number = first
        cdef size_t row, file, size = 0, room = 0, folders = 0, folder = <size_t> -1, other = <size_t> -1, last = 0
        cdef list wanted = []
        self._count = self._opened = 0
        while number < len(rows) and self._count < ROWS and folders < FOLDERS:
            row = rows[number]
            if row >= self._rows or self._offset[row] < start:
                raise ValueError("no such blob")
            file = self._file[row]
            if file >= self._files or self._directory[file] >= self._directories:
                raise ValueError("no such file")
            if not self._opened or self._offset[row] != self._offset[last] or memcmp(self._ids + FORMAT_ID_SIZE * row, self._ids + FORMAT_ID_SIZE * last, FORMAT_ID_SIZE):
                size = self._plain_size(row)
                if self._opened and room + size > BYTES and (self._opened > 1 or room + size > PAIR_BYTES):
                    break
                wanted.append((self._offset[row] - start, self._length[row], size, self._uncompressed[row] != 0,
                               self._ids[FORMAT_ID_SIZE * row:FORMAT_ID_SIZE * (row + 1)]))
                room += size
                self._opened += 1
                last = row
            if not self._is_simple(file, size):
                if file != other:
                    other = file
                    folders += 1
            elif self._directory[file] != folder:
                folder = self._directory[file]
                folders += 1
            self._taken[self._count], self._blob[self._count] = row, self._opened - 1
            self._count += 1
            number += 1
        return number, wanted

    def put(self, list opened not None, directory, descriptor):
        """Write what `take` asked for, which is now *opened* or None."""
        cdef size_t i, row, file, folder, count = 0, held = 0, last = <size_t> -1, other = <size_t> -1
        cdef int last_descriptor = -1, other_descriptor = -1
        cdef uint32_t rows[ROWS]
        cdef place *p
        created, written, left = [], [], []
        if <size_t> len(opened) != self._opened:
            raise ValueError("other blobs than were asked for")
        try:
            for plain in opened:
                PyObject_GetBuffer(b"" if plain is None else plain, &self._views[held], PyBUF_SIMPLE)
                held += 1
            for i in range(self._count):
                row = self._taken[i]
                file = self._file[row]
                p = &self._places[count]
                p.data, p.size = <const uint8_t *> self._views[self._blob[i]].buf, self._views[self._blob[i]].len
                if opened[self._blob[i]] is None or p.size != self._plain_size(row):
                    left.append(row)
                    continue
                if self._is_simple(file, p.size):
                    folder = self._directory[file]
                    if folder != last:
                        try:
                            last_descriptor = directory(folder)
                        except OSError:
                            left.append(row)
                            continue
                        last = folder
                    self._state[file] |= FILE_BEGUN
                    p.descriptor, p.directory = -1, last_descriptor
                    p.name, p.name_length = self._heap + self._ends[file], self._ends[file + 1] - self._ends[file]
                    p.meta = places_meta(
                        self._uid[file], self._gid[file], self._permissions[file], self._atime[file], self._mtime[file])
                    p.traits = self._traits + folder
                else:
                    if file != other:
                        other, other_descriptor = file, descriptor(file)
                    p.descriptor = other_descriptor
                    if p.descriptor < 0:
                        left.append(row)
                        continue
                    p.offset = self._file_offset[row]
                rows[count] = row
                count += 1
            with nogil:
                places_write(self._places, count, &self._self)
        finally:
            for i in range(held):
                PyBuffer_Release(&self._views[i])
        for i in range(count):
            row = rows[i]
            file = self._file[row]
            if self._places[i].descriptor >= 0:
                (written if self._places[i].done else left).append(row)
            elif self._places[i].done:
                self._state[file] |= FILE_DONE
                self._remaining[file] = 0
                created.append(file)
            else:
                self._state[file] &= ~FILE_BEGUN
                left.append(row)
        return created, written, left
