"""The outside judge: drives any restic-compatible program as a black box and compares by facts.

This package knows the format (``restic_spec``) and command lines. It never imports the engine, so it judges
our own program by exactly the same means as restic or rustic.
"""
