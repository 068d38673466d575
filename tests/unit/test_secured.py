"""Connections over TLS at a reload: a client is told to come back once, to a worker of the new generation."""

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from spawning.ipc.messages import Handoff
from spawning.worker.secured import CUTOVER, Secured
from unit.interleave import DEADLINE
from unit.office import REQUEST, Office, respond
from unit.test_tls import OWN, VERSIONS, Peer, connected

TERM = 7
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"


def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    return respond(start_response, environ["wsgi.input"].read() or b"ok")


@pytest.fixture
def office() -> Iterator[Office]:
    with Office(site) as office:
        office.context.term = TERM
        advance(office, TERM)
        yield office


def advance(office: Office, term: int) -> None:
    """Have it be the turn of a term."""
    office.context.fence = memoryview(bytearray(term.to_bytes(8, "little"))).cast("Q")


def client_of(office: Office) -> tuple[socket.socket, socket.socket]:
    """Make a client's end, and the other one."""
    client, other = socket.socketpair()
    office.clients.append(client)
    client.settimeout(DEADLINE)
    return client, other


@pytest.mark.parametrize("over", [False, True], ids=["cutover under way", "cutover over"])
@pytest.mark.parametrize("sender", [TERM - 1, TERM], ids=["earlier", "same"])
def test_the_far_end_closes_unless_its_worker_may_be_retired_next(office: Office, sender: int, over: bool) -> None:
    """Workers are retired one after the other: one that has been may send a connection to one that has not been yet."""
    client, moved = client_of(office)
    sent = Handoff("", "", socket.AF_UNIX, 0.0, listener="unix:@office", ferried=True, term=sender)
    loop: Any = office.loop
    office.done(lambda: loop._handoff.take_up(sent, moved.detach()))
    connection: Any
    (connection,) = office.connections
    if over:
        connection._kept_until -= CUTOVER
    client.sendall(REQUEST % b"/")
    head = client.recv(1000).partition(b"\r\n\r\n")[0]
    assert (b"Connection: close" in head) == (over or sender < TERM)
    if not over and sender == TERM:
        office.done(office.loop.retire)
        office.context.post(office.loop.leave)
        message, fd = office.received()
        os.close(fd)
        assert (message.ferried, message.term) == (True, TERM)


@pytest.mark.parametrize("over", [False, True], ids=["cutover under way", "cutover over"])
def test_a_retired_worker_closes_only_when_others_serve(office: Office, over: bool) -> None:
    """A body that is arriving is served where it has begun."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(OWN)
    client, other = client_of(office)
    client.setblocking(False)
    stream, peer = connected(other, client, VERSIONS[-1], context)

    def arrive() -> None:
        listener = office.loop._handoff._listeners.listening[0]
        connection = Secured(office.context, listener, stream, "", "")
        office.poller.pollables[connection.fd] = connection
        connection.take_up(b"", 0.0)

    office.done(arrive)
    client.send(peer.records(POST + b"o"))
    office.done(office.connections[0].on_event)
    office.done(office.loop.retire)
    if over:
        advance(office, TERM + 1)
    client.send(peer.records(b"k"))
    head = read(peer).partition(b"\r\n\r\n")[0]
    assert (b"Connection: close" in head) == over
    if not over:
        message, fd = office.received()
        os.close(fd)
        assert (message.ferried, message.term) == (True, TERM)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def read(peer: Peer) -> bytes:
    """Read a response that ends with ``ok``."""
    peer.sock.settimeout(DEADLINE)
    data = b""
    while not data.endswith(b"ok"):
        received = peer.sock.recv(1 << 16)
        assert received
        peer._from.write(received)
        with contextlib.suppress(ssl.SSLWantReadError):
            while content := peer.session.read(1 << 16):
                data += content
    return data
