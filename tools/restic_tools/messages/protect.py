"""The messages of ``protect``."""

from __future__ import annotations

import msgspec


class FileProblem(msgspec.Struct, tag_field="message_type", tag="problem", kw_only=True):
    """``problem`` (standard output): a file of the repository or a parity file with which something is not as it should be."""

    problem: str
    """``unprotected``: it has no parity; ``missing``: it has parity and is gone, or has another size; ``parity``: a parity file
    is damaged."""
    file: str
    """Its path in the repository, or the name of the parity file."""
    text: str
    """What is wrong, "" where the problem says it."""


class ProtectSummary(msgspec.Struct, tag_field="message_type", tag="protect_summary", kw_only=True):
    """``protect_summary``, also of ``backup --protect``: what was done, or in a dry run what would be.

    Bytes are those of files as they are stored.
    """

    files_new: int
    """Files that had no parity."""
    bytes_read: int
    """To make parity."""
    parity_files_made: int
    parity_files_removed: int
    files_protected: int
    bytes_protected: int
    parity_bytes: int
    """In all parity files."""
    files_unprotected: int
    """Files that are damaged, or cannot be read."""
    files_missing: int
    """Files with parity that are gone."""
    dry_run: bool


class ProtectCheckSummary(msgspec.Struct, tag_field="message_type", tag="protect_check", kw_only=True):
    """``protect_check``: how well the repository is protected, of ``protect --check``."""

    parity_files: int
    parity_bytes: int
    files_protected: int
    files_unprotected: int
    files_missing: int
    parity_files_damaged: int
