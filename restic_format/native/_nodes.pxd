"""What other kernels use of this one: the stat of a file."""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from "look.h" nogil:
    int LOOK_NO_ATTRIBUTES
    int LOOK_ATTRIBUTES_UNKNOWN
    ctypedef struct look_stat:
        int64_t size, mtime, ctime, atime
        uint32_t mtime_ns, ctime_ns, atime_ns
        uint32_t mode, uid, gid
        uint64_t ino, dev, rdev, nlink


cdef class Stat:
    cdef look_stat info
    cdef int attributes
