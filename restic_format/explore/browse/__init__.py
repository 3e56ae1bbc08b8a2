"""What an explorer of repositories asks: folders and files as lists of any length, what an id names, marks, and their restore.

Every list is filled by one thread while another one already shows it, and takes a few dozen bytes an entry. Nothing here
knows of screens.
"""

from restic_format.explore.browse.folder import FolderList, Row
from restic_format.explore.browse.ids import Named, named_by
from restic_format.explore.browse.images import ImageFacts, image_facts
from restic_format.explore.browse.pieces import Piece, PieceList
from restic_format.explore.browse.selection import Mark, RestorePart, Selection, SelectionRestore

__all__ = [
    "FolderList",
    "ImageFacts",
    "Mark",
    "Named",
    "Piece",
    "PieceList",
    "RestorePart",
    "Row",
    "Selection",
    "SelectionRestore",
    "image_facts",
    "named_by",
]
