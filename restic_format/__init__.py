"""The engine: storage, repository, backup, restore and check of restic repositories."""

__version__ = "0.1.0"
