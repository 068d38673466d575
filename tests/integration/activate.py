"""Start a command as systemd does for a socket unit: ``activate.py KIND[,KIND …] COMMAND …``.

A KIND is ``tcp`` (listening on a port of 127.0.0.1 that the kernel chooses), ``idle`` (a TCP socket that does not
listen), ``udp``, ``unix`` or ``file``. The descriptors begin at 3, the process stays the same.
"""

import os
import socket
import sys


def open_descriptor(kind: str) -> int:
    """Open a descriptor of a kind and give it."""
    if kind == "file":
        return os.open(os.devnull, os.O_RDONLY)
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.bind("")  # an abstract address that the kernel chooses
        sock.listen()
    elif kind == "udp":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    else:
        sock = socket.socket(socket.AF_INET)
        sock.bind(("127.0.0.1", 0))
        if kind == "tcp":
            sock.listen(128)
    return sock.detach()


def main() -> None:
    kinds, *command = sys.argv[1:]
    opened = [open_descriptor(kind) for kind in kinds.split(",")]
    high = [os.dup2(fd, 100 + index) for index, fd in enumerate(opened)]
    for index, fd in enumerate(high):
        os.dup2(fd, 3 + index)
        os.close(fd)
    names = ":".join(f"web{index}" for index in range(len(opened)))
    os.environ |= {"LISTEN_FDS": str(len(opened)), "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": names}
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
