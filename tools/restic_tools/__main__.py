"""``python -m restic_tools`` is the command ``restic-format``."""

import sys

from restic_tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
