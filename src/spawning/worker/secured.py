"""A connection of HTTP/1 over TLS.

Its session is in the memory of this worker, so it does not migrate as others do. What a retired worker still has of
such connections is told with the next response that it is the last one (``Connection: close``); what is idle ends with
the keep-alive timeout.
"""

from typing import Any

from spawning.worker.http1 import Http1


class Secured(Http1):
    """See the module."""

    __slots__ = ()

    def _begin(self) -> None:
        super()._begin()
        if self.context.closing and not self.reader.unread:
            self.keep_alive = False

    def offer_tunnel(self, environ: dict[str, Any]) -> None:
        """Offer none: what an application sent through the descriptor would not be encrypted."""

    def leave(self) -> bool:
        """Stay: see the module."""
        return False

    def leave_late(self) -> None:
        self.go_on()

    def freeze(self) -> None:
        """Go on reading."""

    def stands_back(self, data: bytes) -> bool:
        """Serve what has been received, after the loop has learned that the worker is succeeded."""
        self.context.stand_back()
        return False
