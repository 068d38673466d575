"""A connection that the application may take (``wsgi.tunnel``), to speak another protocol or to pass bytes through.

While ``TUNNEL`` the loop does not look at the socket: it is the application's, in whatever threads. All that the
application returns meanwhile is dropped, as if the client had gone (``cut``). When it has returned, the connection ends
behind what was sent; a client that is still sending is waited for a moment, as behind a refusal (``closing``).

A tunnel holds a thread, which does not count as one of ``--threads``; so many there may be as ``--max-tunnels`` says.
"""

import os
from typing import Any, Final, NoReturn, cast

from spawning.http.response import ResponseHead, TunnelHead
from spawning.logs.log import Log
from spawning.standard import copy
from spawning.worker.expiring import Expiring
from spawning.worker.lifecycle import EXECUTING, TUNNEL
from spawning.worker.roles import Job
from spawning.wsgi.encrypted import Session
from spawning.wsgi.exchange import Exchange
from spawning.wsgi.responder import ClientGone
from spawning.wsgi.tunnel import Tunnel

TELL_EVERY: Final = 1.0  # seconds, at least, between two warnings

log = Log("spawning.worker")


class Tunnelling(Expiring):
    """See the module. The owner of the connection, but for what says otherwise.

    :ivar exchange: of the request.
    :ivar tunnel: what is offered to this request, or was taken by it; None: nothing is.
    """

    __slots__ = ("exchange", "tunnel")

    exchange: Exchange
    tunnel: Tunnel | None

    def offer_tunnel(self, environ: dict[str, Any]) -> None:
        """Offer the connection to the next request, if that asks for another protocol, or for a tunnel.

        :param environ: to be; simple-websocket, and so Flask-Sock and python-engineio, look for Werkzeug's key.
        """
        self.tunnel = environ["spawning.socket"] = environ["werkzeug.socket"] = Tunnel(self)

    def give_away(self, tunnel: Tunnel) -> tuple[int, bytes, Session | None]:
        """Leave the connection to the application; see ``wsgi.tunnel``. Any thread of the application."""
        exchange = self.exchange
        if tunnel is not self.tunnel or self.state is not EXECUTING or exchange.ended:
            raise OSError("spawning.socket is used behind the end of its request")
        if self.head_sent:
            raise OSError("spawning.socket is used behind the begin of the response")
        if self.output is not None and not self.output.empty:
            raise ClientGone("the client takes nothing")  # not even an interim response
        descriptor = copy(self.fd)
        if not self.context.dispatcher.begin_tunnel(cast("Job", self)):
            os.close(descriptor)
            self._refuse_tunnel()
        self.output = None
        self.head_sent = self.cut = True
        self.keep_alive = False
        self.become(TUNNEL)
        self.unregister()
        ahead = bytes(self.reader.unread)
        self.reader.unread.clear()
        return descriptor, ahead, None if self.stream.bare else self.stream

    def _refuse_tunnel(self) -> NoReturn:
        context = self.context
        settings = context.settings
        if context.now >= context.tunnels_told + TELL_EVERY:
            context.tunnels_told = context.now
            green = settings.threadpool_workers == 0
            option, most = ("--max-green", settings.max_green) if green else ("--max-tunnels", settings.max_tunnels)
            log.warning("no connection can be taken, there are as many tunnels as may be, see %s most=%d", option, most)
        self.exchange.refuse(503, "Service Unavailable", "too many tunnels")
        raise ClientGone("there are as many tunnels as there may be")

    @property
    def is_tunnel(self) -> bool:
        tunnel = self.tunnel
        return tunnel is not None and tunnel.taken

    def tunnel_head(self) -> ResponseHead | None:
        """Return what the application has answered through the connection, and note how much; None: it has it not."""
        tunnel = self.tunnel
        if tunnel is None or not tunnel.taken:
            return None
        self.sent = tunnel.sent
        return TunnelHead(tunnel.code)

    def end_tunnel(self) -> None:
        """End the connection behind what the application has sent."""
        tunnel = self.tunnel
        assert tunnel is not None
        tunnel.revoke()
        if tunnel.detached:
            self.close()
        else:
            self.linger()

    def leave_tunnel(self, tunnel: Tunnel) -> None:
        """Wake the threads that still wait at the socket, when the connection is closed."""
        self.tunnel = None
        if tunnel.taken and not tunnel.detached:
            self.stream.hang_up()
