"""Clients that mean harm, or do not know better: bytes that are nearly HTTP, and connections reset at any moment.

What a mutated input is to be answered with is what the reader alone makes of it (``unit.requests.story``), so a server
that answers differently over a socket is wrong, whatever the bytes mean.
"""

import contextlib
import random
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from integration.apps.fingerprint import fingerprint
from integration.client import Client, Closed, Response, request
from spawning.errors import NotHTTP
from unit.requests import cold

CORPUS = Path(__file__).parents[1] / "corpus"
TLS = NotHTTP("TLS")  # is not answered
RESET = b"\1\0\0\0\0\0\0\0"  # struct linger: on, zero seconds

_PIECES = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b"/", b"\xff", b"0\r\n\r\n", b"1\r\nx\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"Host: b\r\n", b" HTTP/1.0", b"fffffffffffffff", b"x" * 300,
]  # fmt: skip


class Mutator:
    """Makes inputs, the same ones for the same `seed`: cases of the corpus with a few changes, and plain noise."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._cases = [path.read_bytes() for path in sorted(CORPUS.rglob("*.http"))]

    def input(self) -> bytes:
        """Make the next input; one in ten is noise."""
        choose = self._random
        if choose.random() < 0.1:
            return choose.randbytes(choose.randrange(1, 400))
        data = b"".join(choose.choices(self._cases, k=choose.choice((1, 1, 1, 2, 3))))
        for _ in range(choose.randrange(6)):
            data = self._edited(data)
        return data or b"\r\n"

    def pieces(self, data: bytes) -> list[bytes]:
        """Split an input at up to two places."""
        places = sorted(self._random.randrange(len(data) + 1) for _ in range(self._random.randrange(3)))
        return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]

    def _edited(self, data: bytes) -> bytes:
        choose = self._random
        start = choose.randrange(len(data) + 1)
        end = min(len(data), start + choose.choice((0, 0, 1, 2, 10)))
        kind = choose.randrange(5)
        if kind == 0:
            return data[:start]
        if kind == 1:
            return data[:start] + data[start:end] * 3 + data[end:]
        middle = choose.choice(_PIECES) if kind < 4 else choose.randbytes(choose.randrange(4))
        return data[:start] + middle + data[end:]


@dataclass(frozen=True, slots=True)
class Expected:
    """What an input is to be answered with: requests as (method, content of the answer), then an error's status."""

    answers: list[tuple[str, bytes]]
    status: int
    persists: bool  # the last request leaves the connection open
    refused_head: bool = False  # the error is the answer to HEAD

    @classmethod
    def of(cls, data: bytes) -> "Expected":
        """Ask the reader; a request that ends the connection is the last one that counts."""
        story = cold([data])
        answers = []
        for seen in story.requests:
            hosts = [seen["host"], *(value for name, value in seen["fields"] if name.lower() == "host")]
            host = next(filter(None, hosts), "")
            content = fingerprint(seen["method"], seen["target"], host, seen["body"].encode("latin-1"))
            answers.append((seen["method"], content))
            if not seen["keep_alive"]:
                return cls(answers, 0, persists=False)
        answered = 0 if story.reason == TLS.reason else story.status
        return cls(answers, answered, persists=True, refused_head=story.is_head)


def check(where: int | str, data: bytes, pieces: list[bytes]) -> None:
    """Send an input to ``fingerprint.application`` and half-close; raise if the answers are not the expected ones.

    :param where: as for a :class:`Client`.
    """
    expected = Expected.of(data)
    with Client(where) as client:
        # Who announces the end and goes on sending may miss the answer: such an input goes out in one piece.
        for piece in pieces if expected.persists else [data]:
            client.send(piece)
        socket.socket.shutdown(client.sock, socket.SHUT_WR)  # over TLS too, and without an alert
        for method, content in expected.answers:
            answer = _final(client, head=method == "HEAD")
            assert (answer.status, answer.body) == (200, b"" if method == "HEAD" else content)
        if expected.status:
            answer = _final(client, head=expected.refused_head)
            assert (answer.status, answer.closes) == (expected.status, True)
        left = client.read_eof()
        assert left in (b"", b"HTTP/1.1 100 Continue\r\n\r\n"), left


def _final(client: Client, *, head: bool = False) -> Response:
    while (answer := client.read(head=head)).status < 200:
        pass
    return answer


# TLS -----------------------------------------------------------------------------------------------------------------

_BEGINNINGS = (b"\x16\x03\x01", b"\x15\x03\x03\0\2\2\x28", b"\x17\x03\x03", b"\x80\x2e\1\3", b"\x14\3\3\0\1\1")


class Flights:
    """Makes what clients of TLS might send first, the same for the same `seed`: hellos and records with a few changes,
    records of any type and length, and HTTP.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._mutator = Mutator(seed)
        self._hellos = [_hello(version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]

    def flight(self) -> bytes:
        """Make the next one."""
        choose = self._random
        if choose.random() < 0.2:
            return self._mutator.input()
        data = bytearray(choose.choice(self._hellos))
        for _ in range(choose.randrange(4)):
            at = choose.randrange(len(data))
            data[at] = choose.randrange(256)
        if choose.random() < 0.4:
            del data[choose.randrange(1, len(data)) :]
        if choose.random() < 0.4:
            data += choose.choice(_BEGINNINGS) + choose.randbytes(choose.randrange(300))
        if choose.random() < 0.2:
            data[0:0] = choose.choice(_BEGINNINGS)
        return bytes(data)


def _hello(version: ssl.TLSVersion) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    return out.read()


def check_flight(port: int, flight: bytes) -> bytes:
    """Send it where TLS is spoken, and half-close; raise if what comes back is neither TLS nor the answer to HTTP."""
    with Client(port) as client:
        client.send(flight)
        client.sock.shutdown(socket.SHUT_WR)
        try:
            answer = client.read_eof()
        except (Closed, ConnectionResetError):  # it has sent more than is read behind what is wrong
            return b""
    begins = answer[:1]
    is_http = flight[:1].isalpha() and flight[:1].isupper()
    assert answer.startswith(b"HTTP/1.1 400 ") if is_http else begins in (b"", b"\x15", b"\x16"), answer
    return answer


# Resets --------------------------------------------------------------------------------------------------------------


def reset(client: Client) -> None:
    """Close so that the server gets a reset instead of an end."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()


def in_the_head(client: Client) -> None:
    client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\nX-Half: ")


def in_the_body(client: Client) -> None:
    client.send(request("/echo", "Content-Length: 1000000", "Expect: 100-continue", method="POST"))
    assert client.read().status == 100
    client.send(bytes(200_000))  # a part of it is in a file


def in_a_chunk(client: Client) -> None:
    client.send(request("/echo", "Transfer-Encoding: chunked", "Expect: 100-continue", method="POST"))
    assert client.read().status == 100
    client.send(b"ffff\r\n" + bytes(1000))


def in_the_response(client: Client) -> None:
    client.send(request("/repeat?bytes=20000000"))
    _begun(client)


def in_a_stream(client: Client) -> None:
    client.send(request("/endless?path=/dev/null"))
    _begun(client)


def _begun(client: Client) -> None:
    if not client.sock.recv(1000):
        raise Closed(b"")


def when_idle(client: Client) -> None:
    assert client.get("/hello").status == 200


def between_pipelined_requests(client: Client) -> None:
    client.send(request("/hello") * 20 + b"GET /he")
    assert client.read().status == 200


def while_the_server_lingers(client: Client) -> None:
    client.send(b"nonsense\r\n\r\n")
    assert client.read().status == 400
    client.send(b"more of it")


def at_once(client: Client) -> None:
    pass


PHASES: list[Callable[[Client], None]] = [
    at_once, in_the_head, in_the_body, in_a_chunk, in_the_response, in_a_stream, when_idle, between_pipelined_requests,
    while_the_server_lingers,
]  # fmt: skip
