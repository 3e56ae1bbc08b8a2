# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled walk of a directory; use it by way of restic_format.native.nodes, which documents it."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memset, strlen


cdef extern from "look.h" nogil:
    ctypedef struct look_stat:
        int64_t size, mtime, ctime, atime
        uint32_t mtime_ns, ctime_ns, atime_ns
        uint32_t mode, uid, gid
        uint64_t ino, dev, rdev, nlink
    ctypedef struct look_texts:
        char *at
        size_t used, room
    ctypedef struct look_text:
        size_t start
        int64_t length
    ctypedef struct look_found:
        look_stat info
        look_text attributes, target
    ctypedef struct look_directory:
        pass
    int look_open(look_directory *directory, const char *path, size_t length)
    void look_close(look_directory *directory)
    ctypedef struct look_names:
        char *text
        const char **names
        size_t count
    int look_list(const char *path, look_names *names, look_texts *texts, look_found *found)
    int look_listed(look_directory *directory, const char *path, const look_names *names)
    void look_forget(look_names *names)
    int c_look_at "look_at"(look_directory *directory, const char *name, int ask, look_texts *texts, look_found *found)
    int look_is_plain(const char *name, size_t length)


cdef extern from "read.h" nogil:
    int64_t read_small(const char *path, uint8_t *buffer, size_t room, size_t limit, look_texts *texts, look_found *found,
                       int *changed)


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
    ctypedef struct nodes_list:
        nodes_entry *entries
        size_t count
    ctypedef struct nodes_tree:
        nodes_list plain, escaped
    int nodes_parse(nodes_tree *tree, const char *json, size_t size)
    void nodes_free(nodes_tree *tree)
    const nodes_entry *nodes_find(const nodes_list *entries, nodes_text name, size_t *next)
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


cdef object _nanoseconds(int64_t seconds, uint32_t fraction):
    if -9000000000 < seconds < 9000000000:
        return seconds * 1000000000 + fraction
    return (<object> seconds) * 1000000000 + fraction


cdef class Stat:
    """What a file is; the names are those of os.stat_result."""
    cdef look_stat info
    cdef readonly bytes attributes
    cdef readonly bytes target

    @staticmethod
    def of(info, bytes attributes=None, bytes target=None):
        """The same as what somebody else found out."""
        cdef Stat made = Stat.__new__(Stat)
        made.info.size, made.info.mode, made.info.uid, made.info.gid = info.st_size, info.st_mode, info.st_uid, info.st_gid
        made.info.mtime, made.info.mtime_ns = divmod(info.st_mtime_ns, 1000000000)
        made.info.ctime, made.info.ctime_ns = divmod(info.st_ctime_ns, 1000000000)
        made.info.atime, made.info.atime_ns = divmod(info.st_atime_ns, 1000000000)
        made.info.ino, made.info.dev, made.info.rdev, made.info.nlink = info.st_ino, info.st_dev, info.st_rdev, info.st_nlink
        made.attributes, made.target = attributes, target
        return made

    @property
    def st_mode(self):
        return self.info.mode

    @property
    def st_size(self):
        return self.info.size

    @property
    def st_mtime_ns(self):
        return _nanoseconds(self.info.mtime, self.info.mtime_ns)

    @property
    def st_ctime_ns(self):
        return _nanoseconds(self.info.ctime, self.info.ctime_ns)

    @property
    def st_atime_ns(self):
        return _nanoseconds(self.info.atime, self.info.atime_ns)

    @property
    def st_ino(self):
        return self.info.ino

    @property
    def st_dev(self):
        return self.info.dev

    @property
    def st_rdev(self):
        return self.info.rdev

    @property
    def st_nlink(self):
        return self.info.nlink

    @property
    def st_uid(self):
        return self.info.uid

    @property
    def st_gid(self):
        return self.info.gid


cdef bytes _taken(look_text text, const look_texts *texts, bytes before):
    """A text; *before* where that is the same, as it mostly is with attributes."""
    if text.length < 0:
        return None
    if text.length == 0:
        return b""
    if before is not None and PyBytes_GET_SIZE(before) == text.length and not memcmp(
            PyBytes_AS_STRING(before), texts.at + text.start, text.length):
        return before
    return PyBytes_FromStringAndSize(texts.at + text.start, text.length)


cdef Stat stat_of(const look_found *found, const look_texts *texts, Stat before):
    """What was found; *before* is the one before it."""
    cdef Stat made = Stat.__new__(Stat)
    made.info = found.info
    made.attributes = _taken(found.attributes, texts, None if before is None else before.attributes)
    made.target = _taken(found.target, texts, None)
    return made


cdef struct Looking:
    const char *name
    int error
    look_found found


cdef list _stats(const Looking *entries, size_t count, const look_texts *texts):
    cdef Stat before = None
    cdef size_t i
    cdef list made = []
    for i in range(count):
        if entries[i].error:
            made.append(None)
        else:
            before = stat_of(&entries[i].found, texts, before)
            made.append(before)
    return made


def look_at(bytes prefix not None, list names not None, int ask):
    """What the entries *names* of a directory are; None for each that cannot be told."""
    cdef Py_ssize_t count = len(names), i
    cdef const char *path = prefix
    cdef size_t length = len(prefix)
    cdef look_directory directory
    cdef look_texts texts = look_texts(NULL, 0, 0)
    cdef Looking *work = <Looking *> calloc(count + 1, sizeof(Looking))
    if work == NULL:
        raise MemoryError
    try:
        for i in range(count):
            work[i].name = _bytes(names[i])
        with nogil:
            if look_open(&directory, path, length):
                for i in range(count):
                    work[i].error = 1
            else:
                for i in range(count):
                    work[i].error = c_look_at(&directory, work[i].name, ask, &texts, &work[i].found)
                look_close(&directory)
        return _stats(work, count, &texts)
    finally:
        free(work)
        free(texts.at)


cdef struct Surveying:
    const char *path
    int failed
    look_names names
    look_texts texts
    look_found self
    Looking *entries


cdef void _survey(Surveying *work, int ask, size_t most) noexcept nogil:
    cdef look_directory directory
    cdef Looking *entry
    cdef size_t i
    work.failed = look_list(work.path, &work.names, &work.texts, &work.self)
    if work.failed or work.names.count > most or look_listed(&directory, work.path, &work.names):
        return
    work.entries = <Looking *> calloc(work.names.count + 1, sizeof(Looking))
    if work.entries == NULL:
        return
    for i in range(work.names.count):
        entry = work.entries + i
        entry.error = c_look_at(&directory, work.names.names[i], ask, &work.texts, &entry.found)


def survey(list paths not None, int ask, size_t most):
    """What the directories *paths* are, the names in them, and what these are where there are at most *most*."""
    cdef Py_ssize_t count = len(paths), i
    cdef size_t n
    cdef Surveying *work = <Surveying *> calloc(count + 1, sizeof(Surveying))
    if work == NULL:
        raise MemoryError
    try:
        for i in range(count):
            work[i].path = _bytes(paths[i])
            if strlen(work[i].path) != <size_t> PyBytes_GET_SIZE(paths[i]):
                raise ValueError("a path has no zero bytes")
        with nogil:
            for i in range(count):
                _survey(&work[i], ask, most)
        found = []
        for i in range(count):
            if work[i].failed:
                found.append(None)
                continue
            infos = None
            if work[i].entries != NULL:
                infos = _stats(work[i].entries, work[i].names.count, &work[i].texts)
            found.append((stat_of(&work[i].self, &work[i].texts, None),
                          [<bytes> work[i].names.names[n] for n in range(work[i].names.count)], infos))
        return found
    finally:
        for i in range(count):
            look_forget(&work[i].names)
            free(work[i].texts.at)
            free(work[i].entries)
        free(work)


cdef struct Reading:
    size_t start
    int64_t length
    int changed


def read_files(list paths not None, buffer, size_t limit):
    """Small regular files read whole into *buffer*; see restic_format.native.nodes."""
    cdef Py_ssize_t count = len(paths), i
    cdef size_t used = 0
    cdef Py_buffer view
    cdef look_texts texts = look_texts(NULL, 0, 0)
    cdef Looking *files = <Looking *> calloc(count + 1, sizeof(Looking))
    cdef Reading *work = <Reading *> calloc(count + 1, sizeof(Reading))
    try:
        if files == NULL or work == NULL:
            raise MemoryError
        for i in range(count):
            files[i].name = _bytes(paths[i])
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            with nogil:
                for i in range(count):
                    work[i].start = used
                    work[i].length = read_small(files[i].name, <uint8_t *> view.buf + used, view.len - used, limit, &texts,
                                                &files[i].found, &work[i].changed)
                    files[i].error = work[i].length < 0
                    used += max(work[i].length, 0)
        finally:
            PyBuffer_Release(&view)
        shown = memoryview(buffer)
        return (
            _stats(files, count, &texts),
            [shown[work[i].start:work[i].start + max(work[i].length, 0)] for i in range(count)],
            [i for i in range(count) if not files[i].error and work[i].changed],
        )
    finally:
        free(files)
        free(work)
        free(texts.at)


def directories(infos not None):
    """Which of *infos* are directories."""
    cdef Py_ssize_t i
    return [i for i in range(len(infos)) if isinstance(infos[i], Stat) and S_ISDIR((<Stat> infos[i]).info.mode)]


def small_files(infos not None, int64_t limit, Py_ssize_t most, int64_t most_bytes):
    """Neighbours that are regular files of at most *limit* bytes: the first, the one after the last, their bytes in all."""
    cdef Py_ssize_t count = len(infos), first = 0, at
    cdef int64_t size
    found = []
    while first < count:
        size, at = 0, first
        while at < count and at - first < most and size < most_bytes and _is_small(infos[at], limit):
            size += (<Stat> infos[at]).info.size
            at += 1
        if at > first:
            found.append((first, at, size))
        first = max(at, first + 1)
    return found


cdef bint _is_small(object info, int64_t limit):
    return isinstance(info, Stat) and S_ISREG((<Stat> info).info.mode) and (<Stat> info).info.size <= limit


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
        return [_copy(self._tree.escaped.entries[i].name) for i in range(self._tree.escaped.count)]

    def rename(self, list names not None):
        """Under which names to find those of `escaped`."""
        self._escaped = {name: number for number, name in enumerate(names)}

    def find(self, bytes name not None):
        """The JSON of the node whose name stands so in JSON; None where there is none."""
        cdef size_t next = 0
        cdef const nodes_entry *found = self._find(_text(name), &next)
        return None if found == NULL else _copy(found.whole)

    def nodes(self):
        """The JSON of each node, in no particular order."""
        return [
            _copy(self._tree.plain.entries[i].whole) for i in range(self._tree.plain.count)
        ] + [
            _copy(self._tree.escaped.entries[i].whole) for i in range(self._tree.escaped.count)
        ]

    cdef const nodes_entry *_find(self, nodes_text name, size_t *next) except? NULL:
        if memchr(name.at, c"\\", name.length) == NULL:
            return nodes_find(&self._tree.plain, name, next)
        number = None if self._escaped is None else self._escaped.get(_copy(name))
        return NULL if number is None else &self._tree.escaped.entries[<size_t> number]


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
    const nodes_entry *before
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
            if self._work[i].length and self._work[i].before != NULL:
                blobs += self._work[i].before.blobs
        found = PyBytes_FromStringAndSize(NULL, 32 * blobs)
        ids = <uint8_t *> PyBytes_AS_STRING(found)
        for i in range(first, end):
            if self._work[i].length and self._work[i].before != NULL:
                nodes_read_ids(self._work[i].before.content, self._work[i].before.blobs, ids)
                ids += 32 * self._work[i].before.blobs
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
                links += self._work[last].before == NULL
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
                    work[i].before = parent._find(work[i].file.name, &next)
                if work[i].before == NULL:
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
                work[i].length = nodes_write(&work[i].file, nothing, work[i].before, flags, &clock, taken._out + used)
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
                if contents[i].length % 32:
                    raise ValueError("an id has 32 bytes")
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
                    content.length = nodes_write_ids(<const uint8_t *> contents[i].at, contents[i].length // 32, scratch)
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
