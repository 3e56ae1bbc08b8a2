"""Repositories in memory, as the tests of the repository have them."""

from tests.repository.conftest import repo

__all__ = ["repo"]
