"""What other kernels use of this one: what is known of a file."""

from libc.stdint cimport int64_t, uint32_t, uint64_t


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


cdef class Stat:
    cdef look_stat info
    cdef readonly bytes attributes
    cdef readonly bytes target


cdef Stat stat_of(const look_found *found, const look_texts *texts, Stat before)
