"""``python -m restic_tools`` is the command ``restic-format``."""

from restic_tools.cli import run

if __name__ == "__main__":
    run()
