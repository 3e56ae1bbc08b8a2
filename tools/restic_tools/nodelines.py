"""Nodes as lines for people: ``ls`` and ``find``."""

from __future__ import annotations

from restic_format.words import printable
from restic_spec import gomode
from restic_spec.tree import NODE_TYPES, SYMLINK, Node
from restic_tools.gotext import canonical, local_text
from restic_tools.output import Output
from restic_tools.render import bytes_text


class NodeLines:
    """Writes a node as restic does: its path, and before it, with *long*, mode, owner, size and time.

    With *human* sizes have units. On a terminal names are `printable`.
    """

    def __init__(self, out: Output, *, long: bool, human: bool) -> None:
        self._long = long
        self._human = human
        self._shown = printable if out.stdout_is_terminal else None

    def line(self, path: str, node: Node) -> str:
        """The line for *node*, without its end."""
        text = path if self._shown is None else self._shown(path)
        if self._long:
            text = f"{self._details(node)} {text}"
            if node.type == SYMLINK:
                text += f" -> {node.target if self._shown is None else self._shown(node.target)}"
        return text

    def _details(self, node: Node) -> str:
        mode = gomode.mode_string(node.mode | _type_bits(node.type))
        size = bytes_text(node.size) if self._human else f"{node.size:6d}"
        return f"{mode} {node.uid or 0:5d} {node.gid or 0:5d} {size} {local_text(canonical(node.mtime))}"


def _type_bits(name: str) -> int:
    """The mode's bits for a node's type: rustic leaves them out."""
    kind = NODE_TYPES.get(name)
    return kind.mode if kind is not None and kind.st_format else 0
