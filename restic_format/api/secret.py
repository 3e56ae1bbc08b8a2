"""A password inside the options of a file system, which others print, compare, hash and send to other machines."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

_KEY = os.urandom(32)
"""Known to this process only, so that nothing can be learnt from a digest that lands in a log."""


class Secret:
    """A password that shows nothing of itself, and stays here when it is pickled: what comes out elsewhere is `withheld`."""

    __slots__ = ("_value",)

    def __init__(self, value: str | bytes) -> None:
        self._value = value

    @property
    def value(self) -> str | bytes:
        """The password."""
        return self._value

    @property
    def withheld(self) -> bool:
        """Whether the password stayed in another process."""
        return False

    def __repr__(self) -> str:
        # Another one for another password, because instances are told apart by the text of their options.
        value = self._value if isinstance(self._value, bytes) else self._value.encode("utf-8", "surrogatepass")
        return f"<password {hashlib.blake2b(value, key=_KEY, digest_size=8).hexdigest()}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._value, self.withheld) == (other._value, other.withheld)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> tuple[Callable[[], Secret], tuple[()]]:
        return Withheld, ()


class Withheld(Secret):
    """In place of a password that stayed in another process."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(b"")

    @property
    def withheld(self) -> bool:
        """True."""
        return True

    def __repr__(self) -> str:
        return "<password withheld>"
