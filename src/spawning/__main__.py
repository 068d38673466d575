"""``python -m spawning``: the same as ``spawn``."""

import sys

from spawning.cli import main

if __name__ == "__main__":
    sys.exit(main())
