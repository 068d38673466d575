"""Refusing a request that cannot be served: it is answered, counted, logged, and its connection is closed."""

from typing import Any

from spawning.errors import NotHTTP, ProtocolError
from spawning.http.fields import Fields
from spawning.http.response import error_response
from spawning.logs.access import NO_ENTRY, Entry
from spawning.logs.log import Log
from spawning.worker.migrating import Migrating
from spawning.wsgi.environ import connection_template
from spawning.wsgi.responder import ClientGone

log = Log("spawning.worker")


class Refusing(Migrating):
    """See the module."""

    __slots__ = ()

    def refuse(self, error: ProtocolError) -> None:
        """Answer a request that cannot be served, and close (RFC 9112 section 9.6: not at once). Its owner."""
        if isinstance(error, NotHTTP):
            log.debug("connection closed address=%s protocol=%s", self.address, error.protocol)
            self.linger()  # a response before may still be on its way
            return
        log.debug("request refused address=%s status=%d reason=%r", self.address, error.status, error.reason)
        response = error_response(error.status, error.reason, self.clock, with_body=not self.reader.is_head)
        content = len(response) - response.index(b"\r\n\r\n") - 4
        self.context.dispatcher.note_refused(*self._what_is_known(), error.status, content)
        try:
            self.send(response)
        except ClientGone:
            self.close()
            return
        self.linger()

    def _what_is_known(self) -> tuple[Entry, dict[str, Any]]:
        """Make an entry of the access log, and the environ that it is made from, as far as the request was read."""
        access_log = self.context.access_log
        if access_log is None:
            return NO_ENTRY, {}
        begun = self.reader.begun
        if begun is not None:
            return access_log.begun_entry(self.address, begun), {"REMOTE_ADDR": self.address}
        environ = self._environ(self.reader.fields)
        return access_log.entry(environ), environ

    def _environ(self, fields: Fields) -> dict[str, Any]:
        base, line = self.listener.base, self.reader.line
        try:
            return connection_template(base, fields, line, self.address, self.port)
        except ProtocolError:  # what a proxy says of the client is malformed, so the client is not known
            return connection_template(base, fields, line, self.address, self.port, believe=False)
