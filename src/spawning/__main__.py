"""``python -m spawning``: the same as ``spawn``."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # where it was started may be the application's directory, whose json.py is not to be ours
    from spawning.cli import main

    sys.exit(main())
