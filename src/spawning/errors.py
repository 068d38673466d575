"""The three families of errors.

``ConfigError``    the person who started Spawning has to change something: one line, exit status 2.
``ProtocolError``  a client sent something that is answered with an error status and a closed connection.
``AppLoadError``   the application could not be loaded: its own traceback, one line, exit status 3.

Everything else is a bug. ``RequestTimeout`` is none of these: applications may see it. This module imports nothing.
"""

EXIT_CONFIG = 2
EXIT_APP = 3
EXIT_CLOSED = 4  # of a process whose application has closed descriptors of the server: nothing else can be told


class ConfigError(Exception):
    """One line: what was wrong, where it came from (option, file, variable) and what would be right."""


class ProtocolError(Exception):
    """Refuse what a client sent.

    :param status: the status code (int) that answers it, RFC 9110 section 15.
    :param reason: one short sentence for the client and the debug log (str, ASCII).
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class NotHTTP(ProtocolError):
    """Close a connection on which the client speaks another protocol, so that no answer would be understood.

    :param protocol: the name of that protocol (str).
    """

    def __init__(self, protocol: str) -> None:
        super().__init__(400, f"{protocol} where HTTP is spoken")
        self.protocol = protocol


class AppLoadError(Exception):
    """One line: what was looked for where.

    :param message: the line (str).
    :param details: the application's own traceback (str), empty when there is none to show.
    """

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class RequestTimeout(BaseException):
    """Raised inside the application, wherever it is, when its request takes too long (``--request-timeout``).

    Not an ``Exception``, as ``asyncio.CancelledError`` is none: code that retries whatever fails must not go on with a
    request whose client has been answered. ``finally`` and ``with`` clean up as ever.
    """

    def __init__(self, message: str = "the request takes too long (--request-timeout)") -> None:
        super().__init__(message)
