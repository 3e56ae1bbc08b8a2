"""What can be wrong with the entries of a snapshot, beyond what decoding them finds."""

from __future__ import annotations

from restic_spec.errors import ResticFormatError


class UnsafeName(ResticFormatError):
    """A node's name could lead out of its directory, or occurs twice in it (TREE-4, TREE-6)."""


class TooDeep(ResticFormatError):
    """Directories are nested deeper than any real tree."""


class NodeUnusable(ResticFormatError):
    """A node lacks what its type demands, or says things that contradict each other."""


class TreeNotEncodable(ResticFormatError):
    """A tree says something that would be lost if it were written again (TREE-25)."""
