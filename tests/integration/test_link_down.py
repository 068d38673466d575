"""Clients whose link is down: they send no FIN and no RST, and acknowledge nothing. It ends all the same, and in time.

The link is cut by a filter on the client's own socket that lets no packet in, so what the server sends is neither
acknowledged nor refused. That needs no privileges and no program.
"""

import ctypes
import socket
import struct
from collections.abc import Callable

import pytest

from integration.client import Client, request
from integration.clients import serves
from integration.server import Server, until

SO_ATTACH_FILTER = 26  # socket(7); the module has no name for it
DROP = struct.pack("HBBI", 0x06, 0, 0, 0)  # struct sock_filter: BPF_RET | BPF_K, 0 bytes of each packet

OPTIONS = ("-s", "1", "-t", "2", "-l", "/dev/null", "--response-timeout", "1")


def cut(client: Client) -> None:
    """Let nothing in any more, whatever arrives."""
    filters = ctypes.create_string_buffer(DROP, len(DROP))
    client.sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(filters)))


def held(server: Server, client: Client) -> bool:
    """Return whether the worker still holds its end of the client's connection."""
    port = client.sock.getsockname()[1]
    return any(at.raddr and at.raddr.port == port for each in server.processes() for at in each.net_connections("tcp"))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("reloads", [0, 1])
def test_an_event_stream_ends(host: str, reloads: int) -> None:
    """Each event fits into the kernel's buffer, which gives up after a quarter of an hour only."""
    with Server("events.application", *OPTIONS, "--host", host) as server, Client(server.port, host) as client:
        assert client.get("/").status == 200
        for _ in range(reloads):
            assert server.reload()
        client.send(request("/events"))
        while b"tick" not in client.sock.recv(1000):
            pass
        cut(client)
        server.wait_for_log("the stream has ended")
        until(lambda: not held(server, client), "the end of the connection")


# Each begins with an answer, so the worker holds the connection then.


def small_response(client: Client) -> None:
    assert client.get("/").status == 200
    cut(client)
    client.send(request("/"))


def idle(client: Client) -> None:
    assert client.get("/").status == 200
    cut(client)


def upload(client: Client) -> None:
    client.send(request("/", "Content-Length: 100", "Expect: 100-continue", method="POST"))
    assert client.read().status == 100
    cut(client)
    client.send(b"b")


@pytest.mark.parametrize(
    ("begin", "option"),
    [(small_response, "--keepalive-timeout=1"), (idle, "--keepalive-timeout=1"), (upload, "--body-timeout=1")],
)
def test_whatever_is_under_way_ends_in_its_time(begin: Callable[[Client], None], option: str) -> None:
    """Other times are those of the defaults, which are longer than this test waits, or than its client does."""
    with Server("events.application", "-s", "1", "-l", "/dev/null", option) as server:
        with Client(server.port) as client:
            begin(client)
            until(lambda: not held(server, client), "the end of the connection")
        assert serves(server)
