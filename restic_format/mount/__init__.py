"""A repository as a file system of Linux (FUSE), which speaks with the kernel itself: no library is needed."""

from restic_format.mount.errors import MountFailed
from restic_format.mount.names import PATH_TEMPLATES, TIME_TEMPLATE
from restic_format.mount.server import Mount, MountOptions

__all__ = ["PATH_TEMPLATES", "TIME_TEMPLATE", "Mount", "MountFailed", "MountOptions"]
