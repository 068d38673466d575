"""``basics`` where no file can become larger than 700 000 bytes, as on a disk that is full at that point."""

import resource

from basics import application  # type: ignore[import-not-found]  # lies beside this file

LARGEST = 700_000  # bytes

# Python ignores SIGXFSZ, so a write beyond takes a part and the next one fails (EFBIG), as ENOSPC would.
resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

__all__ = ["application"]
