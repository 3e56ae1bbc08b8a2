"""The restic repository format, executable.

One module per chapter of the specification (``spec/*.md``). Everything here is bytes in, objects out: no input or output,
no threads, no policy. The declarations in these modules are the only place where the format is written down; the parser,
the writer, the inspector and the repair tools are driven by them.
"""
