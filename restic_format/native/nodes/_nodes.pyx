# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled walk of a directory; use it by way of restic_format.native.nodes, which documents it."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memset, strlen


cdef extern from "format.h" nogil:
    enum:
        FORMAT_ID_SIZE

cdef extern from "growing.h" nogil:
    ctypedef struct growing:
        uint8_t *data
        size_t used, room

cdef extern from "look.h" nogil:
    ctypedef struct look_stat:
        int64_t size, mtime, ctime, atime
        uint32_t mtime_ns, ctime_ns, atime_ns
        uint32_t mode, uid, gid
        uint64_t ino, dev, rdev, nlink
    ctypedef struct look_text:
        size_t start
        int64_t length
    ctypedef struct look_found:
        look_stat info
        look_text attributes, target
    int look_open(const char *path, size_t length, size_t followed)
    void look_may_use_openat2(int may)
    ctypedef struct look_names:
        const char **names
        size_t count
    int look_list(int parent, const char *name, look_names *names, growing *texts, look_found *found)
    int look_listed(const look_names *names)
    void look_forget(look_names *names)
    int c_look_at "look_at"(int directory, const char *name, int ask, growing *texts, look_found *found)
    int look_is_plain(const char *name, size_t length)


cdef extern from "read.h" nogil:
    int64_t read_small(int directory, const char *name, uint8_t *buffer, size_t room, size_t limit, growing *texts,
                       look_found *found, int *changed)


cdef extern from "nodes.h" nogil:
    int NODES_WITH_ATIME
    int NODES_DEVICE_FOR_LINKS
    int NODES_IGNORE_CTIME
    int NODES_IGNORE_INODE
    ctypedef struct nodes_text:
        const char *at
        size_t length
    ctypedef struct nodes_entry:
        nodes_text whole, name, content
        size_t blobs
        int is_file
    ctypedef struct nodes_place:
        pass
    ctypedef struct nodes_list:
        nodes_place *places
        size_t count
    ctypedef struct nodes_tree:
        nodes_list plain, escaped
    int nodes_parse(nodes_tree *tree, const char *json, size_t size)
    void nodes_free(nodes_tree *tree)
    nodes_text nodes_whole(const nodes_tree *tree, const nodes_place *place)
    nodes_text nodes_name(const nodes_tree *tree, const nodes_place *place)
    const nodes_place *nodes_find(const nodes_tree *tree, nodes_text name, size_t *next)
    void nodes_read(const nodes_tree *tree, const nodes_place *place, nodes_entry *entry)
    ctypedef struct nodes_clock:
        pass
    ctypedef struct nodes_file:
        const look_stat *info
        nodes_text name, user, group, target, attributes
        uint64_t size
    size_t nodes_room(const nodes_file *file)
    size_t nodes_write(const nodes_file *file, nodes_text content, const nodes_entry *before, int flags, nodes_clock *clock,
                       char *out)
    size_t nodes_write_ids(const uint8_t *ids, size_t count, char *out)
    void nodes_read_ids(nodes_text content, size_t count, uint8_t *ids)


cdef extern from "<sys/stat.h>" nogil:
    bint S_ISREG(uint32_t mode)
    bint S_ISDIR(uint32_t mode)
    bint S_ISLNK(uint32_t mode)


cdef extern from "<unistd.h>" nogil:
    int close(int fd)


include "_look.pxi"


cdef const char *_bytes(object text) except NULL:
    if not isinstance(text, bytes):
        raise TypeError("names are bytes")
    return PyBytes_AS_STRING(text)


cdef nodes_text _text(object text):
    cdef nodes_text made
    made.at, made.length = PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)
    return made


cdef bytes _copy(nodes_text text):
    return PyBytes_FromStringAndSize(text.at, text.length)


cdef class ParsedTree:
    """A tree taken apart; see restic_format.native.nodes."""
    cdef bytes _raw
    cdef nodes_tree _tree
    cdef dict _escaped

    def __dealloc__(self):
        nodes_free(&self._tree)

    @property
    def raw(self):
        """The JSON it was made of."""
        return self._raw

    def count(self):
        return self._tree.plain.count + self._tree.escaped.count

    def escaped(self):
        """The names that have escapes, as they stand in JSON between their quotes."""
        return [_copy(nodes_name(&self._tree, self._tree.escaped.places + i)) for i in range(self._tree.escaped.count)]

    def rename(self, list names not None):
        """Under which names to find those of `escaped`."""
        self._escaped = {name: number for number, name in enumerate(names)}

    def find(self, bytes name not None):
        """The JSON of the node whose name stands so in JSON; None where there is none."""
        cdef size_t next = 0
        cdef const nodes_place *found = self._find(_text(name), &next)
        return None if found == NULL else _copy(nodes_whole(&self._tree, found))

    def nodes(self):
        """The JSON of each node, in no particular order."""
        return [
            _copy(nodes_whole(&self._tree, self._tree.plain.places + i)) for i in range(self._tree.plain.count)
        ] + [
            _copy(nodes_whole(&self._tree, self._tree.escaped.places + i)) for i in range(self._tree.escaped.count)
        ]

    cdef const nodes_place *_find(self, nodes_text name, size_t *next) except? NULL:
        if memchr(name.at, c"\\", name.length) == NULL:
            return nodes_find(&self._tree, name, next)
        number = None if self._escaped is None else self._escaped.get(_copy(name))
        return NULL if number is None else self._tree.escaped.places + <size_t> number


def parse_tree(bytes raw not None):
    """The tree whose JSON is *raw*; None where it is not of the form restic writes."""
    cdef ParsedTree parsed = ParsedTree()
    cdef const char *json = raw
    cdef size_t size = len(raw)
    cdef int failed
    with nogil:
        failed = nodes_parse(&parsed._tree, json, size)
    if failed == -1:
        raise MemoryError
    parsed._raw = raw
    return None if failed else parsed


cdef struct Writing:
    nodes_file file
    nodes_entry before
    bint known
    size_t start
    size_t length


cdef class TakenOver:
    """Those of a directory's entries that are as they were; see restic_format.native.nodes."""
    cdef ParsedTree _parent
    cdef Py_ssize_t _count
    cdef Writing *_work
    cdef char *_out

    def __dealloc__(self):
        free(self._work)
        free(self._out)

    def __getitem__(self, Py_ssize_t number):
        if not 0 <= number < self._count:
            raise IndexError("no such entry")
        return self._work[number].length != 0

    def ids(self, Py_ssize_t first=0, last=None):
        """The ids of the content of the entries from *first* to *last*, 32 bytes each."""
        cdef Py_ssize_t end = self._count if last is None else last, i
        cdef size_t blobs = 0
        cdef uint8_t *ids
        if not 0 <= first <= end <= self._count:
            raise IndexError("no such entry")
        for i in range(first, end):
            if self._work[i].length and self._work[i].known:
                blobs += self._work[i].before.blobs
        found = PyBytes_FromStringAndSize(NULL, FORMAT_ID_SIZE * blobs)
        ids = <uint8_t *> PyBytes_AS_STRING(found)
        for i in range(first, end):
            if self._work[i].length and self._work[i].known:
                nodes_read_ids(self._work[i].before.content, self._work[i].before.blobs, ids)
                ids += FORMAT_ID_SIZE * self._work[i].before.blobs
        return found

    def drop(self, Py_ssize_t number):
        """Do not take over this one."""
        if not 0 <= number < self._count:
            raise IndexError("no such entry")
        self._work[number].length = 0

    def runs(self):
        """Neighbours in this: the first one, the one after the last, their nodes with commas between, their bytes and how many
        of them are symlinks."""
        cdef Py_ssize_t first = 0, last
        cdef uint64_t size
        cdef size_t start, links
        found = []
        while first < self._count:
            if not self._work[first].length:
                first += 1
                continue
            size, links, last, start = 0, 0, first, self._work[first].start
            while last < self._count and self._work[last].length:
                size += self._work[last].file.size
                links += not self._work[last].known
                last += 1
            text = PyBytes_FromStringAndSize(
                self._out + start, self._work[last - 1].start + self._work[last - 1].length - start)
            found.append((first, last, text, size, links))
            first = last
        return found


cdef class NodeWriter:
    """Writes nodes of regular files and symlinks; see restic_format.native.nodes."""
    cdef object _user, _group, _quote, _link
    cdef dict _users, _groups
    cdef int _flags

    def __init__(self, user, group, quote, link, bint with_atime=False, bint device_id_for_hardlinks=False):
        self._user, self._group, self._quote, self._link = user, group, quote, link
        self._users, self._groups = {}, {}
        self._flags = (NODES_WITH_ATIME if with_atime else 0) | (NODES_DEVICE_FOR_LINKS if device_id_for_hardlinks else 0)

    cdef nodes_text _name_of(self, dict known, object ask, uint32_t number):
        member = known.get(number)
        if member is None:
            member = known[number] = ask(number)
            if not isinstance(member, bytes):
                raise TypeError("members are bytes")
        return _text(member)

    cdef bytes _target_of(self, bytes target):
        if look_is_plain(PyBytes_AS_STRING(target), PyBytes_GET_SIZE(target)):
            return b',"linktarget":"' + target + b'"'
        return self._link(target)

    cdef size_t _prepare(self, list names, list infos, Writing *work, list held) except? 0:
        """Fill in what a node needs, for those entries that are regular files or symlinks of which enough is known; their room
        in all."""
        cdef Py_ssize_t count = len(names), i
        cdef Stat info
        cdef nodes_file *file
        cdef uint32_t uid = 0, gid = 0
        cdef nodes_text user = nodes_text(NULL, 0), group = nodes_text(NULL, 0)
        cdef bint known = False
        cdef size_t room = 1
        if len(infos) != count:
            raise ValueError("a stat for each name")
        for i in range(count):
            if not isinstance(infos[i], Stat):
                continue
            info = <Stat> infos[i]
            file = &work[i].file
            if info.attributes is None or not (S_ISREG(info.info.mode) or (S_ISLNK(info.info.mode) and info.target)):
                continue
            if S_ISLNK(info.info.mode):
                target = self._target_of(info.target)
                held.append(target)
                file.target = _text(target)
            else:
                file.size = info.info.size
            name = names[i]
            if not look_is_plain(_bytes(name), PyBytes_GET_SIZE(name)):
                name = self._quote(name)
                _bytes(name)
                held.append(name)
            if not known or info.info.uid != uid or info.info.gid != gid:
                known, uid, gid = True, info.info.uid, info.info.gid
                user = self._name_of(self._users, self._user, uid)
                group = self._name_of(self._groups, self._group, gid)
            file.info, file.name, file.user, file.group = &info.info, _text(name), user, group
            file.attributes = _text(info.attributes)
            room += nodes_room(file)
        return room

    def take_over(self, list names not None, list infos not None, ParsedTree parent,
                  bint ignore_ctime=False, bint ignore_inode=False):
        cdef Py_ssize_t count = len(names), i
        cdef const nodes_place *place
        cdef TakenOver taken = TakenOver()
        cdef Writing *work
        cdef nodes_clock clock
        cdef size_t next = 0, room, used = 0
        cdef int flags = self._flags
        cdef list held = []
        cdef nodes_text nothing = nodes_text("null", 4)
        flags |= (NODES_IGNORE_CTIME if ignore_ctime else 0) | (NODES_IGNORE_INODE if ignore_inode else 0)
        taken._parent, taken._count = parent, count
        taken._work = work = <Writing *> calloc(count + 1, sizeof(Writing))
        if work == NULL:
            raise MemoryError
        room = self._prepare(names, infos, work, held)
        for i in range(count):
            if work[i].file.info != NULL and not work[i].file.target.length:
                if parent is not None:
                    place = parent._find(work[i].file.name, &next)
                    if place != NULL:
                        nodes_read(&parent._tree, place, &work[i].before)
                        work[i].known = True
                if not work[i].known:
                    work[i].file.info = NULL
                else:
                    room += work[i].before.content.length
        taken._out = <char *> malloc(room)
        if taken._out == NULL:
            raise MemoryError
        memset(&clock, 0, sizeof(clock))
        with nogil:
            for i in range(count):
                if work[i].file.info == NULL:
                    continue
                work[i].start = used
                work[i].length = nodes_write(&work[i].file, nothing, &work[i].before if work[i].known else NULL, flags, &clock, taken._out + used)
                if work[i].length:
                    used += work[i].length
                    taken._out[used] = c","
                    used += 1
        return taken

    def write(self, list names not None, list infos not None, list sizes not None, list ids not None):
        """The node of each file, with its size and the ids of its content, 32 bytes each; None where somebody else must write it."""
        cdef Py_ssize_t count = len(names), i
        cdef Writing *work = <Writing *> calloc(count + 1, sizeof(Writing))
        cdef nodes_clock clock
        cdef size_t room, used = 0, longest = 0
        cdef char *out = NULL
        cdef char *scratch = NULL
        cdef nodes_text *contents = <nodes_text *> calloc(count + 1, sizeof(nodes_text))
        cdef nodes_text content
        cdef list held = []
        try:
            if work == NULL or contents == NULL:
                raise MemoryError
            if len(sizes) != count or len(ids) != count:
                raise ValueError("a size and ids for each name")
            room = self._prepare(names, infos, work, held)
            for i in range(count):
                _bytes(ids[i])
                contents[i] = _text(ids[i])
                if contents[i].length % FORMAT_ID_SIZE:
                    raise ValueError(f"an id has {FORMAT_ID_SIZE} bytes")
                longest = max(longest, 3 * contents[i].length + 2)
                if work[i].file.info != NULL:
                    room += 3 * contents[i].length + 2
                    work[i].file.size = sizes[i]
            out, scratch = <char *> malloc(room), <char *> malloc(longest + 1)
            if out == NULL or scratch == NULL:
                raise MemoryError
            memset(&clock, 0, sizeof(clock))
            with nogil:
                for i in range(count):
                    if work[i].file.info == NULL or work[i].file.target.length:
                        continue
                    content.at = scratch
                    content.length = nodes_write_ids(<const uint8_t *> contents[i].at, contents[i].length // FORMAT_ID_SIZE, scratch)
                    work[i].start = used
                    work[i].length = nodes_write(&work[i].file, content, NULL, self._flags, &clock, out + used)
                    used += work[i].length
            return [
                PyBytes_FromStringAndSize(out + work[i].start, work[i].length) if work[i].length else None for i in range(count)
            ]
        finally:
            free(work)
            free(contents)
            free(out)
            free(scratch)
