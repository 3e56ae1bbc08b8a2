# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled engine; use it by way of restic_format.native.blobs, which documents it."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap


cdef extern from "format.h" nogil:
    enum:
        FORMAT_ID_SIZE
        FORMAT_IV_SIZE
        FORMAT_ENCRYPT_KEY_SIZE
        FORMAT_MAC_K_SIZE
        FORMAT_MAC_R_SIZE

cdef extern from "sha.h" nogil:
    ctypedef struct sha_stream:
        pass
    int sha_pairs(int allowed)
    void sha_begin(sha_stream *stream)
    void sha_append(sha_stream *stream, const uint8_t *data, size_t size)
    void sha_end(sha_stream *stream, uint8_t *digest)


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
    int blobs_load_libraries(const char *zstd, char *why, size_t size)
    const char *blobs_zstd_version()
    blobs_context *blobs_new(const uint8_t *encrypt, const uint8_t *mac_k, const uint8_t *mac_r)
    void blobs_free(blobs_context *context)
    ctypedef struct blobs_sealing:
        const uint8_t *plain
        const uint8_t *id
        const uint8_t *iv
        size_t size, length
        uint32_t uncompressed
    int64_t blobs_seal_many(blobs_context *context, const blobs_zstd *small, const blobs_zstd *large, size_t threshold,
                            int always, int verify, blobs_sealing *work, size_t count, uint8_t *sealed, sha_stream *pack)
    int blobs_seal(blobs_context *context, const uint8_t *iv, const uint8_t *plain, size_t size, uint8_t *sealed)
    size_t blobs_bound(size_t size)
    int64_t blobs_open(blobs_context *context, const uint8_t *sealed, size_t size, int compressed, const uint8_t *id,
                       uint8_t *plain, size_t room)
    ctypedef struct blobs_opening:
        const uint8_t *id
        size_t start, length, size, offset
        int compressed, opened
    void blobs_open_many(blobs_context *context, const uint8_t *data, size_t size, blobs_opening *work, size_t count,
                         uint8_t *plain, sha_stream *pack)
    ctypedef struct blobs_message:
        size_t start, length
    int blobs_seal_again(blobs_context *context, blobs_context *source, const uint8_t *data, size_t size,
                         const blobs_message *messages, size_t count, const uint8_t *ivs, int verify, uint8_t *sealed)


cdef extern from "packs.h" nogil:
    ctypedef struct packs_check:
        sha_stream hash
    void packs_begin(packs_check *check, const uint8_t *header, size_t header_size, size_t largest)
    int packs_fits(const packs_check *check)
    size_t packs_ahead(const packs_check *check, size_t most)
    int packs_take(packs_check *check, blobs_context *context, const uint8_t *data, size_t size)


def missing_library(bytes zstd=None):
    """Why this part cannot work on this machine; None where it can. *zstd* is a file with libzstd's functions to be preferred."""
    cdef char why[256]
    if blobs_load_libraries(NULL if zstd is None else <const char *> zstd, why, sizeof(why)) == 0:
        return None
    return why.decode("utf-8", "replace")


cdef _need_libraries():
    reason = missing_library()
    if reason is not None:
        raise RuntimeError(reason)


def zstd_version():
    """Version of the libzstd in use; only where no library is missing."""
    return blobs_zstd_version().decode()


def hash_in_pairs(bint allowed):
    """Whether two hashes are worked out at a time: where it is *allowed* and the processor can."""
    return sha_pairs(allowed) != 0


cdef class Views:
    """Buffers of Python objects that are held together."""
    cdef Py_buffer *views
    cdef Py_ssize_t held

    def __cinit__(self, Py_ssize_t count):
        self.views = <Py_buffer *> calloc(count + 1, sizeof(Py_buffer))
        if self.views == NULL:
            raise MemoryError

    cdef const uint8_t *add(self, data) except? NULL:
        PyObject_GetBuffer(data, &self.views[self.held], PyBUF_SIMPLE)
        self.held += 1
        return <const uint8_t *> self.views[self.held - 1].buf

    def __dealloc__(self):
        for i in range(self.held):
            PyBuffer_Release(&self.views[i])
        free(self.views)


cdef class Sha256:
    """A SHA-256 that goes on from call to call."""
    cdef sha_stream _stream

    def __cinit__(self):
        _need_libraries()
        sha_begin(&self._stream)

    def update(self, data):
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            with nogil:
                sha_append(&self._stream, <const uint8_t *> view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def digest(self):
        cdef sha_stream last = self._stream
        cdef uint8_t digest[FORMAT_ID_SIZE]
        sha_end(&last, digest)
        return digest[:FORMAT_ID_SIZE]


cdef class Zstd:
    """Compression parameters; 0 stands for what the level implies."""
    cdef blobs_zstd values

    def __init__(self, int level, int strategy=0, int window_log=0, int hash_log=0, int chain_log=0, int min_match=0):
        self.values = blobs_zstd(level, strategy, window_log, hash_log, chain_log, min_match)


cdef object _grown(memory, size_t room):
    """*memory* if there is so much *room* in it, otherwise other memory; None is none yet."""
    if memory is not None and <size_t> len(memory) >= room:
        return memory
    return memoryview(mmap(-1, room + room // 4 + 4096, MAP_PRIVATE | MAP_ANONYMOUS))


cdef class Context:
    """One thread's cipher, hash and compression contexts for one key."""
    cdef blobs_context *_context
    cdef object _sealed, _opened

    def __cinit__(self, bytes encrypt not None, bytes mac_k not None, bytes mac_r not None):
        if (len(encrypt), len(mac_k), len(mac_r)) != (FORMAT_ENCRYPT_KEY_SIZE, FORMAT_MAC_K_SIZE, FORMAT_MAC_R_SIZE):
            raise ValueError("the parts of a key have other sizes")
        _need_libraries()
        self._context = blobs_new(encrypt, mac_k, mac_r)
        if self._context == NULL:
            raise MemoryError

    def __dealloc__(self):
        blobs_free(self._context)

    def seal(self, data, bytes iv not None):
        cdef Py_buffer view
        cdef const uint8_t *nonce = iv
        cdef uint8_t *sealed
        cdef int failed
        if len(iv) != FORMAT_IV_SIZE:
            raise ValueError(f"an IV has {FORMAT_IV_SIZE} bytes")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            result = PyBytes_FromStringAndSize(NULL, view.len + BLOBS_OVERHEAD)
            sealed = <uint8_t *> PyBytes_AS_STRING(result)
            with nogil:
                failed = blobs_seal(self._context, nonce, <const uint8_t *> view.buf, view.len, sealed)
        finally:
            PyBuffer_Release(&view)
        return None if failed else result

    def open(self, sealed, Py_ssize_t room, bint compressed, bytes blob_id=None):
        cdef Py_buffer view
        cdef const uint8_t *expected = NULL
        cdef uint8_t *target
        cdef int64_t length
        if blob_id is not None:
            if len(blob_id) != FORMAT_ID_SIZE:
                raise ValueError(f"an id has {FORMAT_ID_SIZE} bytes")
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

    def open_into(self, sealed, target):
        cdef Py_buffer view, room
        cdef int64_t length
        PyObject_GetBuffer(sealed, &view, PyBUF_SIMPLE)
        try:
            PyObject_GetBuffer(target, &room, PyBUF_WRITABLE)
            try:
                with nogil:
                    length = blobs_open(self._context, <const uint8_t *> view.buf, view.len, 0, NULL, <uint8_t *> room.buf,
                                        room.len)
                return length == room.len
            finally:
                PyBuffer_Release(&room)
        finally:
            PyBuffer_Release(&view)

    def seal_many(self, items not None, bytes ivs not None, Zstd small, Zstd large, Py_ssize_t threshold,
                  bint always, bint verify, Sha256 pack not None):
        cdef Py_ssize_t count = len(items), i
        cdef size_t room = 0
        cdef int64_t used
        cdef Py_buffer target
        cdef Views views = Views(count)
        cdef const uint8_t *nonces = ivs
        cdef const blobs_zstd *few = NULL if small is None else &small.values
        cdef const blobs_zstd *many = NULL if large is None else &large.values
        cdef blobs_sealing *work
        if len(ivs) != FORMAT_IV_SIZE * count:
            raise ValueError("an IV for each blob")
        work = <blobs_sealing *> calloc(count + 1, sizeof(blobs_sealing))
        if work == NULL:
            raise MemoryError
        try:
            for i in range(count):
                blob_id, data = items[i]
                if not isinstance(blob_id, bytes) or len(blob_id) != FORMAT_ID_SIZE:
                    raise ValueError(f"an id has {FORMAT_ID_SIZE} bytes")
                work[i].id = <const uint8_t *> PyBytes_AS_STRING(blob_id)
                work[i].iv = nonces + FORMAT_IV_SIZE * i
                work[i].plain = views.add(data)
                work[i].size = views.views[i].len
                if work[i].size >= <size_t> 1 << 32:
                    raise ValueError("a blob has less than 4 GiB")
                room += blobs_bound(work[i].size)
            self._sealed = _grown(self._sealed, room)
            PyObject_GetBuffer(self._sealed, &target, PyBUF_WRITABLE)
            try:
                with nogil:
                    used = blobs_seal_many(self._context, few, many, threshold, always, verify, work, count,
                                           <uint8_t *> target.buf, &pack._stream)
            finally:
                PyBuffer_Release(&target)
            if used < 0:
                return None
            return self._sealed[:used], [(work[i].length, work[i].uncompressed or None) for i in range(count)]
        finally:
            free(work)

    def seal_again(self, Context source not None, data, messages not None, bytes ivs not None, bint verify):
        cdef Py_ssize_t count = len(messages), i
        cdef Py_buffer view, target
        cdef const uint8_t *nonces = ivs
        cdef size_t room = 0
        cdef int failed
        cdef blobs_message *work
        if len(ivs) != FORMAT_IV_SIZE * count:
            raise ValueError("an IV for each message")
        work = <blobs_message *> calloc(count + 1, sizeof(blobs_message))
        if work == NULL:
            raise MemoryError
        try:
            for i in range(count):
                work[i].start, work[i].length = messages[i]
                if work[i].length >= <size_t> 1 << 33:
                    raise ValueError("a message has less than 8 GiB")
                room += work[i].length
            self._sealed = _grown(self._sealed, room)
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            try:
                PyObject_GetBuffer(self._sealed, &target, PyBUF_WRITABLE)
                try:
                    with nogil:
                        failed = blobs_seal_again(self._context, source._context, <const uint8_t *> view.buf, view.len, work,
                                                  count, nonces, verify, <uint8_t *> target.buf)
                finally:
                    PyBuffer_Release(&target)
            finally:
                PyBuffer_Release(&view)
            return None if failed else self._sealed[:room]
        finally:
            free(work)

    def open_many(self, data, entries not None, bint keep, Sha256 pack=None, bint again=False):
        cdef Py_ssize_t count = len(entries), i
        cdef Py_buffer view, target
        cdef blobs_opening *work = <blobs_opening *> calloc(count + 1, sizeof(blobs_opening))
        cdef size_t room = 0
        cdef uint8_t *plain = NULL
        cdef sha_stream *whole = NULL
        if work == NULL:
            raise MemoryError
        try:
            for i in range(count):
                start, length, size, compressed, blob_id = entries[i]
                if not isinstance(blob_id, bytes) or len(blob_id) != FORMAT_ID_SIZE:
                    raise ValueError(f"an id has {FORMAT_ID_SIZE} bytes")
                work[i].id = <const uint8_t *> PyBytes_AS_STRING(blob_id)
                work[i].start, work[i].length, work[i].size, work[i].compressed = start, length, size, compressed
                work[i].offset = room
                room += work[i].size
            if keep and again:
                self._opened = _grown(self._opened, room)
                shown = self._opened
                PyObject_GetBuffer(shown, &target, PyBUF_WRITABLE)
                plain = <uint8_t *> target.buf
                PyBuffer_Release(&target)  # *shown* holds it
            elif keep:
                opened = PyBytes_FromStringAndSize(NULL, room)
                plain = <uint8_t *> PyBytes_AS_STRING(opened)
                shown = memoryview(opened)
            if pack is not None:
                whole = &pack._stream
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            try:
                with nogil:
                    blobs_open_many(self._context, <const uint8_t *> view.buf, view.len, work, count, plain, whole)
            finally:
                PyBuffer_Release(&view)
            if not keep:
                return [work[i].opened != 0 for i in range(count)]
            return [shown[work[i].offset:work[i].offset + work[i].size] if work[i].opened else None for i in range(count)]
        finally:
            free(work)


cdef class PackCheck:
    """A pack that is looked through piece by piece."""
    cdef Context _owner
    cdef bytes _header
    cdef packs_check _check

    def __cinit__(self, Context context not None, bytes header not None, size_t largest):
        self._owner, self._header = context, header
        packs_begin(&self._check, self._header, len(header), largest)

    @property
    def fits(self):
        return packs_fits(&self._check) != 0

    def ahead(self, size_t most):
        return packs_ahead(&self._check, most)

    def take(self, data):
        cdef Py_buffer view
        cdef int good
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            with nogil:
                good = packs_take(&self._check, self._owner._context, <const uint8_t *> view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
        if good < 0:
            raise MemoryError
        return good != 0

    def digest(self):
        cdef sha_stream last = self._check.hash
        cdef uint8_t digest[FORMAT_ID_SIZE]
        sha_end(&last, digest)
        return digest[:FORMAT_ID_SIZE]
