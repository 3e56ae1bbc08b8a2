# Part of _nodes.pyx: what the entries of directories are, and small files read.


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


cdef bytes _taken(look_text text, const growing *texts, bytes before):
    """A text; *before* where that is the same, as it mostly is with attributes."""
    if text.length < 0:
        return None
    if text.length == 0:
        return b""
    if before is not None and PyBytes_GET_SIZE(before) == text.length and not memcmp(
            PyBytes_AS_STRING(before), <const char *> texts.data + text.start, text.length):
        return before
    return PyBytes_FromStringAndSize(<const char *> texts.data + text.start, text.length)


cdef Stat stat_of(const look_found *found, const growing *texts, Stat before):
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


cdef list _stats(const Looking *entries, size_t count, const growing *texts):
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


cdef struct Folder:
    const char *path
    size_t length, followed


cdef Folder _folder(object directory) except *:
    """The directory that a path and the length of its beginning in which symlinks are followed stand for."""
    prefix, followed = directory
    cdef Folder made
    made.path, made.length, made.followed = _name(prefix), PyBytes_GET_SIZE(prefix), followed
    return made


cdef const char *_name(object name) except NULL:
    cdef const char *text = _bytes(name)
    if strlen(text) != <size_t> PyBytes_GET_SIZE(name):
        raise ValueError("a path has no zero bytes")
    return text


def may_use_openat2(bint may):
    """Whether directories may be opened by openat2, where the system has it."""
    look_may_use_openat2(may)


def look_at(directory not None, list names not None, int ask):
    """What the entries *names* of a directory are; None for each that cannot be told."""
    cdef Py_ssize_t count = len(names), i
    cdef Folder folder = _folder(directory)
    cdef growing texts = growing(NULL, 0, 0)
    cdef Looking *work = <Looking *> calloc(count + 1, sizeof(Looking))
    cdef int fd
    if work == NULL:
        raise MemoryError
    try:
        for i in range(count):
            work[i].name = _name(names[i])
            work[i].error = 1
        with nogil:
            fd = look_open(folder.path, folder.length, folder.followed)
            if fd >= 0:
                for i in range(count):
                    work[i].error = c_look_at(fd, work[i].name, ask, &texts, &work[i].found)
                close(fd)
        return _stats(work, count, &texts)
    finally:
        free(work)
        free(texts.data)


cdef struct Surveying:
    const char *name
    int failed
    look_names names
    growing texts
    look_found self
    Looking *entries


cdef void _survey(int parent, Surveying *work, int ask, size_t most) noexcept nogil:
    cdef Looking *entry
    cdef size_t i
    work.failed = look_list(parent, work.name, &work.names, &work.texts, &work.self)
    if work.failed or work.names.count > most:
        return
    work.entries = <Looking *> calloc(work.names.count + 1, sizeof(Looking))
    if work.entries == NULL:
        return
    for i in range(work.names.count):
        entry = work.entries + i
        entry.error = c_look_at(look_listed(&work.names), work.names.names[i], ask, &work.texts, &entry.found)


def survey(parent not None, list names not None, int ask, size_t most):
    """What the directories *names* in *parent* are, the names in them, and what these are where there are at most *most*."""
    cdef Py_ssize_t count = len(names), i
    cdef Folder folder = _folder(parent)
    cdef size_t n
    cdef int fd
    cdef Surveying *work = <Surveying *> calloc(count + 1, sizeof(Surveying))
    if work == NULL:
        raise MemoryError
    try:
        for i in range(count):
            work[i].name = _name(names[i])
            work[i].failed = 1
        with nogil:
            fd = look_open(folder.path, folder.length, folder.followed)
            if fd >= 0:
                for i in range(count):
                    _survey(fd, &work[i], ask, most)
                close(fd)
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
            free(work[i].texts.data)
            free(work[i].entries)
        free(work)


cdef struct Reading:
    size_t start
    int64_t length
    int changed


def read_files(list groups not None, buffer, size_t limit):
    """Small regular files read whole into *buffer*; see restic_format.native.nodes."""
    cdef Py_ssize_t count = sum([len(names) for _, names in groups]), group_count = len(groups), i = 0, end = 0, group
    cdef size_t used = 0
    cdef int fd
    cdef Py_buffer view
    cdef growing texts = growing(NULL, 0, 0)
    cdef Looking *files = <Looking *> calloc(count + 1, sizeof(Looking))
    cdef Reading *work = <Reading *> calloc(count + 1, sizeof(Reading))
    cdef Folder *folders = <Folder *> calloc(group_count + 1, sizeof(Folder))
    cdef Py_ssize_t *ends = <Py_ssize_t *> calloc(group_count + 1, sizeof(Py_ssize_t))
    try:
        if files == NULL or work == NULL or folders == NULL or ends == NULL:
            raise MemoryError
        for group in range(group_count):
            directory, names = groups[group]
            folders[group] = _folder(directory)
            for name in names:
                files[end].name = _name(name)
                work[end].length = -1
                end += 1
            ends[group] = end
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            with nogil:
                for group in range(group_count):
                    fd = look_open(folders[group].path, folders[group].length, folders[group].followed)
                    while i < ends[group]:
                        work[i].start = used
                        if fd >= 0:
                            work[i].length = read_small(fd, files[i].name, <uint8_t *> view.buf + used, view.len - used, limit,
                                                        &texts, &files[i].found, &work[i].changed)
                        files[i].error = work[i].length < 0
                        used += max(work[i].length, 0)
                        i += 1
                    if fd >= 0:
                        close(fd)
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
        free(folders)
        free(ends)
        free(texts.data)


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
