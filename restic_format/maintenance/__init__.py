"""Keeping a repository: what changes, moves, removes and repairs what backups have stored.

Each operation is planned first: a plan says what would be done, and a program can look at it before it lets it happen.
"""
