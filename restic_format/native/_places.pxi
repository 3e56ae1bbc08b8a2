# Part of _engine.pyx: what a restore does with a piece of a pack.

from cpython.memoryview cimport PyMemoryView_FromObject, PyMemoryView_GET_BUFFER
from libc.stdint cimport uint16_t
from libc.string cimport memcmp, memset


cdef extern from "places.h" nogil:
    ctypedef struct files_meta:
        uint32_t uid, gid, mode
        int64_t atime, mtime
    ctypedef struct files_owner:
        uint32_t uid, gid
    ctypedef struct place:
        size_t blob
        int descriptor
        uint64_t offset
        int directory
        const char *name
        size_t name_length
        files_meta meta
        uint8_t *traits
        int done
    int places_write(blobs_context *context, const uint8_t *data, size_t size, blobs_opening *blobs, size_t blob_count,
                     place *places, size_t count, const files_owner *self)


# How much is opened before it is written: little enough for the processor's cache, and mostly two blobs, whose hashes are
# worked out together.
cdef enum:
    ROWS = 256
    FOLDERS = 32
    BYTES = 1 << 20
    PAIR_BYTES = 8 << 20

# Those of restic_format.restore.table.
cdef enum:
    DIR_NEW = 2
    FILE_CONTENT = 1
    FILE_BEGUN = 8
    FILE_DONE = 16

# Times outside are left to the step-by-step way.
cdef int64_t TIME_BOUND = <int64_t> 1 << 62


cdef class PlaceWriter:
    """Writes blobs to the places that a restore's tables say."""
    cdef Context _context
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
    cdef files_owner _self
    cdef bint _create
    cdef blobs_opening _work[ROWS]
    cdef place _places[ROWS]
    cdef uint32_t _taken[ROWS]

    def __init__(self, Context context not None, blobs, files, names, meta, directories, owner, bint create):
        self._context = context
        self._held = []
        ids, offset, length, uncompressed, file, file_offset = blobs
        self._rows = len(file)
        self._ids = <const uint8_t *> self._column(ids, 1, 32 * self._rows)
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
        self._self = files_owner(owner[0], owner[1])
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

    def write(self, list rows not None, Py_ssize_t first, data, uint64_t start, directory, descriptor):
        """Write the blobs of some of *rows* from number *first* on, which stand in the order of their places in the pack."""
        cdef Py_ssize_t number = first
        cdef size_t i, count = 0, opened = 0, row, file, size, folder, room = 0, folders = 0, last = <size_t> -1
        cdef Py_buffer view
        cdef place *p
        cdef blobs_opening *work = NULL
        cdef int failed, last_descriptor = -1
        left = []
        while number < len(rows) and count < ROWS and folders < FOLDERS:
            row = rows[number]
            if row >= self._rows or self._offset[row] < start:
                raise ValueError("no such blob")
            file = self._file[row]
            size = self._uncompressed[row] or self._length[row] - BLOBS_OVERHEAD
            if file >= self._files or self._directory[file] >= self._directories:
                raise ValueError("no such file")
            p = &self._places[count]
            if not opened or self._offset[row] != work.start + start or memcmp(self._ids + 32 * row, work.id, 32):
                if (opened and room + size > BYTES) and (opened > 1 or room + size > PAIR_BYTES):
                    break
                work = &self._work[opened]
                memset(work, 0, sizeof(blobs_opening))
                work.id = self._ids + 32 * row
                work.start, work.length, work.size = self._offset[row] - start, self._length[row], size
                work.compressed = self._uncompressed[row] != 0
                room += size
                opened += 1
            number += 1
            p.blob, p.done = opened - 1, 0
            if self._is_simple(file, size):
                folder = self._directory[file]
                if folder != last:
                    try:
                        p.directory = directory(folder)
                    except OSError:
                        left.append(row)
                        continue
                    last, last_descriptor = folder, p.directory
                    folders += 1
                p.directory = last_descriptor
                self._state[file] |= FILE_BEGUN
                p.descriptor = -1
                p.name, p.name_length = self._heap + self._ends[file], self._ends[file + 1] - self._ends[file]
                p.meta = files_meta(self._uid[file], self._gid[file], self._permissions[file], self._atime[file], self._mtime[file])
                p.traits = self._traits + folder
            else:
                folders += 1
                p.descriptor = descriptor(file)
                if p.descriptor < 0:
                    left.append(row)
                    continue
                p.offset = self._file_offset[row]
            self._taken[count] = row
            count += 1
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            with nogil:
                failed = places_write(self._context._context, <const uint8_t *> view.buf, view.len, self._work, opened,
                                      self._places, count, &self._self)
        finally:
            PyBuffer_Release(&view)
        created, written = [], []
        for i in range(count):
            row = self._taken[i]
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
        if failed:
            raise MemoryError
        return number, created, written, left
