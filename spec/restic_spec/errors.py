"""The errors of the specification: one class for each layer at which data can be wrong.

``layer`` is the word that test vectors use in ``expect``; decide on the class or the layer, never on the text.
"""

from __future__ import annotations

from typing import ClassVar


class ResticFormatError(Exception):
    """Root of every error this project raises on purpose. The message is for people; programs read the class and the fields."""

    def __init__(
        self,
        what: str = "",
        *,
        object: str = "",
        clause: str = "",
        pack: bytes = b"",
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        """What is wrong, without the name of the object and the clause."""
        self.object = object
        """What it is wrong with: ``snapshots/`` and an id, ``tree`` and an id, a file's path; "" where nothing has a name."""
        self.clause: str = clause or (cause.clause if isinstance(cause, ResticFormatError) else "")
        """The clause of the specification that is violated, "" for none."""
        self.pack: bytes = pack or (cause.pack if isinstance(cause, ResticFormatError) else b"")
        """Id of the pack that holds the object, b"" for none."""
        self.cause = cause
        """The error this one comes from."""


class SpecError(ResticFormatError):
    """Data violate a clause of the specification.

    ``what`` says what is wrong, ``clause`` names the rule that is broken (``PACK-3``), ``object`` what breaks it.
    """

    layer: ClassVar[str] = "invalid"

    def __init__(self, what: str, *, clause: str, object: str = "") -> None:
        super().__init__(what, clause=clause, object=object)

    def __str__(self) -> str:
        return f"{self.object}: {self.what} [{self.clause}]" if self.object else f"{self.what} [{self.clause}]"


class LengthInvalid(SpecError):
    """A length is impossible: too short to hold what it must, or over a bound."""

    layer = "length-invalid"


class MacInvalid(SpecError):
    """The Poly1305 tag does not fit the ciphertext: damage, or the wrong key."""

    layer = "mac-invalid"


class IdMismatch(SpecError):
    """The SHA-256 of the content is not the name it is stored under."""

    layer = "id-mismatch"


class HeaderInvalid(SpecError):
    """A pack header cannot be what a writer produced."""

    layer = "header-invalid"


class JsonInvalid(SpecError):
    """A JSON document cannot be parsed or lacks what its schema demands."""

    layer = "json-invalid"


class CompressionInvalid(SpecError):
    """Compressed data are broken, or something stands behind them."""

    layer = "compression-invalid"


class KdfInvalid(SpecError):
    """Key derivation parameters are unknown, senseless or beyond what a machine may be asked for."""

    layer = "kdf-invalid"


class KdfUnavailable(ResticFormatError):
    """This Python cannot derive keys: its OpenSSL has no scrypt, or does not allow it (FIPS mode)."""


class VersionUnsupported(SpecError):
    """A repository or encoding version this specification does not know."""

    layer = "version-unsupported"


class PolynomialInvalid(SpecError):
    """A chunker polynomial of the wrong degree, or one that can be factored."""

    layer = "polynomial-invalid"


class TreeInvalid(SpecError):
    """A tree's nodes break an invariant (order, uniqueness, missing content or subtree)."""

    layer = "tree-invalid"


class NameInvalid(SpecError):
    """A name that cannot be a file name, an id or a repository path."""

    layer = "name-invalid"
