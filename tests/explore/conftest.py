"""Command lines in this process and real restic, as the tests of the command line have them."""

from tests.tools.conftest import _clean_environment, empty, environment, restic, restic_here, run, spawn

__all__ = ["_clean_environment", "empty", "environment", "restic", "restic_here", "run", "spawn"]
