"""The library's face: what programs use, in a few typed calls over the rooms of the engine.

`restic_format` itself lists it. Its parts, and what they take and give, are public (see the guide for what that promises); the
rooms of the engine are not.
"""
