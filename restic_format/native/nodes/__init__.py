"""Directories in few calls without the interpreter lock: what their files are, which are as they were, and their nodes' JSON.

A directory is given as a path that ends with a slash (or is empty), and the length of its beginning in which symlinks are
followed: behind that none is, nor where an entry of the directory is one. So nothing that takes the place of a directory leads
out of it.

`look_at(directory, names, ask)` gives an `os.stat_result`-like `Stat` for each entry *names* of the directory, None for each
that cannot be looked at. `attributes` is the JSON list of its extended attributes, empty where it has none, `target` what a
symlink leads to; for which files to find these out is *ask*: 0 none, 1 all but regular ones, 2 all. They are None where nobody
has asked, or where they are too long or out of the ordinary.

`survey(parent, names, ask, most)` gives for each of several directories in *parent* its own `Stat`, the names in it, sorted by
their bytes, and what `look_at` gives for them where there are at most *most*, otherwise None; and None for a directory where
anything is out of the ordinary. `directories(infos)` tells which of several `Stat` are directories, `small_files(infos, limit,
most, most_bytes)` gives stretches of regular files of at most *limit* bytes as (first, end, bytes), each of at most *most*
files and ending when *most_bytes* are reached.

`read_files(groups, buffer, limit)` reads small regular files into *buffer*, one after the other; each of *groups* is a
directory and names in it. It gives a column of their `Stat`, None for each that is out of the ordinary or has more than *limit*
bytes, a column of their contents in *buffer*, and the numbers of those that changed meanwhile. `may_use_openat2(may)` is for
tests of what is done on systems without that call.

`parse_tree(raw)` takes apart a tree of the form restic writes, otherwise it gives None.
`ParsedTree.find(name)` is the JSON of a node, its name given as it stands in JSON. Names with escapes, which `escaped` lists,
are found under those that `rename` gives them, in the same order.

`NodeWriter(user, group, quote, link)` writes the nodes of regular files and symlinks of which enough is known; others it leaves
to its caller. ``user(uid)`` and ``group(gid)`` give the member of a node with that name, comma included (``,"user":"root"``, or
nothing), ``quote(name)`` a name as it stands in JSON, ``link(target)`` the members for the target of a symlink, which is only
asked for where that is not plain ASCII::

    write(names, infos, sizes, ids) -> list[bytes | None]    # of files; ids: 32 bytes for each blob of the content
    take_over(names, infos, parent, ignore_ctime=False, ignore_inode=False) -> TakenOver

The latter are all symlinks, and the files that *parent* has with the same size, times and inode, with the content they have
there: ``taken[n]`` tells whether entry n is one of them, ``ids(first, last)`` the ids of their content, ``drop(n)`` leaves one
to the caller after all, ``runs()`` gives stretches of neighbours as (first, end, JSON with commas between, bytes of content,
how many symlinks). Attributes decide nothing: a node has those that the file has now.

Where there is no native form, its twin leaves everything to the caller, as the native form leaves what is out of the
ordinary: `restic_format.backup` then looks at each file by itself. That way, `restic_format.backup.nodes`, is also the oracle.
`UNAVAILABLE` says why the native form is not used, None where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from restic_format.native import parts

UNAVAILABLE = parts.unusable("nodes")
IMPLEMENTATION = "compiled" if UNAVAILABLE is None else f"pure, {UNAVAILABLE}"
if TYPE_CHECKING or UNAVAILABLE is None:
    from restic_format.native.nodes._nodes import (
        NodeWriter,
        ParsedTree,
        Stat,
        TakenOver,
        directories,
        look_at,
        may_use_openat2,
        parse_tree,
        read_files,
        small_files,
        survey,
    )
else:
    from restic_format.native.nodes._pure import (
        NodeWriter,
        ParsedTree,
        Stat,
        TakenOver,
        directories,
        look_at,
        may_use_openat2,
        parse_tree,
        read_files,
        small_files,
        survey,
    )

__all__ = [
    "IMPLEMENTATION",
    "UNAVAILABLE",
    "NodeWriter",
    "ParsedTree",
    "Stat",
    "TakenOver",
    "directories",
    "look_at",
    "may_use_openat2",
    "parse_tree",
    "read_files",
    "small_files",
    "survey",
]
