"""``--daemonize``: go on in the background, and let the command that was typed answer when it is known how that went.

    spawn -d …  ──fork──  leader of a session  ──fork──  the daemon: no terminal, and none can become its own
         ╰──────────────── a pipe: "ready", or status and words of a refusal ──────────────╯

Rules: the command ends with the status that the daemon would have ended with, and with its words on the terminal's
stderr; so a script knows whether the service runs. Who interrupts the command before that ends the daemon too.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final

from spawning.errors import ConfigError

EXIT_BROKEN: Final = 70  # EX_SOFTWARE of sysexits.h: the daemon has ended without a word
_MANAGER: Final = ("NOTIFY_SOCKET", "LISTEN_FDS")


class Answer:
    """The daemon's end of the pipe. What is said first counts, and the command ends by it.

    :param fd: of the pipe.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._said = False

    def ready(self) -> None:
        """Answer that the service is ready."""
        self._say(0, "")
        os.close(self._fd)

    def refuse(self, status: int, text: str) -> None:
        """Answer that the service has not started. The command ends with this process: then the log has it, too.

        :param status: the command's exit status.
        :param text: for its stderr.
        """
        self._say(status, text)

    def _say(self, status: int, text: str) -> None:
        if not self._said:
            self._said = True
            data = json.dumps([status, text]).encode()
            with contextlib.suppress(OSError):  # nobody waits any more
                while data:
                    data = data[os.write(self._fd, data) :]


def check(origin: str, environ: Mapping[str, str], pid: int) -> None:
    """See that nobody looks after this process who would take its end for that of the service.

    :param origin: where the setting came from, for messages.
    :raises ConfigError: somebody does.
    """
    if any(environ.get(name) for name in _MANAGER):
        raise ConfigError(f"{origin}: a service manager runs this already, and would lose it; leave the option out")
    if pid == 1:
        raise ConfigError(f"{origin}: a container ends with its first process, which this is; leave the option out")


def begin(streams: Mapping[int, int]) -> Answer | int:
    """Become a daemon.

    :param streams: descriptor (1, 2) to the open file that it is to be; others are ``/dev/null``.
    :returns: in the daemon its answer, in the command that was typed the exit status, once that is known.
    :raises OSError: there can be no process.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    reading, writing = os.pipe()
    between = os.fork()
    if between:
        os.close(writing)
        os.waitpid(between, 0)
        return _wait(reading)
    os.close(reading)
    os.setsid()
    try:
        daemon = os.fork()
    except OSError as error:
        Answer(writing).refuse(EXIT_BROKEN, f"spawn: cannot start a daemon: {error.strerror}\n")
        os._exit(EXIT_BROKEN)
    if daemon:
        os._exit(0)
    os.write(writing, f"{os.getpid()}\n".encode())
    null = os.open(os.devnull, os.O_RDWR)
    for stream_fd in range(3):
        os.dup2(streams.get(stream_fd, null), stream_fd)
    for descriptor in (null, *streams.values()):
        os.close(descriptor)
    return Answer(writing)


def _wait(reading: int) -> int:
    """Wait for the answer, and print it for the person who has typed the command; return the exit status."""
    data = b""
    try:
        while part := os.read(reading, 65536):
            data += part
    except KeyboardInterrupt:
        pid, _, _ = data.partition(b"\n")
        if pid.isdigit():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGTERM)
        raise
    _, _, answer = data.partition(b"\n")
    try:
        status, text = json.loads(answer if answer or not data.startswith(b"[") else data)
    except ValueError:
        status, text = EXIT_BROKEN, "spawn: the daemon has ended before it was ready, without saying why\n"
    sys.stderr.write(text)
    sys.stderr.flush()
    return int(status)
