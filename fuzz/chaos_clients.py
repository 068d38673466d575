"""The clients of the chaos: each asks without pause in its own way, checks each answer, and notes what it saw.

The application answers with the process that made the answer (``X-Worker``), so that it can be told afterwards whether
an answer came from older code than one before it.
"""

import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from integration.client import Client, Closed, Response, request
from integration.hostile import reset

SITE = """
import hashlib, os, time
BIG = b"x" * 1_000_000

def application(environ, start_response):
    path = environ["PATH_INFO"]
    fields = [("X-Worker", str(os.getpid())), ("Content-Type", "text/plain")]
    if path == "/digest":
        body = hashlib.sha256(environ["wsgi.input"].read()).hexdigest().encode()
    elif path == "/wait":
        time.sleep(0.02)
        body = b"waited"
    elif path == "/big":
        body = BIG
    elif path == "/stream":
        start_response("200 OK", fields)
        return (b"block %d\\n" % number for number in range(20))
    else:
        body = b"hello"
    start_response("200 OK", [*fields, ("Content-Length", str(len(body)))])
    return [body]
"""
STREAM = b"".join(b"block %d\n" % number for number in range(20))
PATHS = {"/": b"hello", "/wait": b"waited", "/stream": STREAM}
PATIENCE = 20.0  # seconds; longer than any stall
LARGEST = 1_000_000  # bytes of a page


class Wrong(Exception):
    """An answer is not the one to this request."""


@dataclass(frozen=True, slots=True, order=True)
class Answer:
    """When a request was sent and answered (monotonic seconds), and by which process."""

    started: float
    ended: float
    worker: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A request failed: since when its connection may have been broken, when that was seen, and how."""

    since: float
    at: float
    what: str


@dataclass
class Story:
    """What one client saw."""

    kind: str
    answers: list[Answer] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    since: float = 0.0  # the last time that the connection was known to be good

    def note(self, started: float, response: Response, body: bytes) -> None:
        """Note a good answer.

        :raises Wrong: it is none.
        """
        if response.status != 200 or response.body != body:
            raise Wrong(f"status {response.status}, {response.body[:80]!r}")
        self.since = time.monotonic()
        self.answers.append(Answer(started, self.since, int(response["x-worker"])))


def fresh(client: Client, story: Story, choose: random.Random) -> None:
    """Ask once a connection."""
    ask(client, story, choose, "Connection: close")


def kept(client: Client, story: Story, choose: random.Random) -> None:
    """Ask a few times on a connection, with pauses in which it may be handed to newer code."""
    for _ in range(choose.randrange(1, 40)):
        if ask(client, story, choose).closes:
            return
        time.sleep(choose.choice((0, 0, 0.01, 0.3)))


def ask(client: Client, story: Story, choose: random.Random, *fields: str) -> Response:
    path, started = choose.choice(list(PATHS)), time.monotonic()
    response = client.get(path, *fields)
    story.note(started, response, PATHS[path])
    return response


def pipelining(client: Client, story: Story, choose: random.Random) -> None:
    """Send several requests at once."""
    for _ in range(choose.randrange(1, 10)):
        paths, started = choose.choices(list(PATHS), k=5), time.monotonic()
        client.send(b"".join(request(path) for path in paths))
        responses = [client.read() for _ in paths]
        for path, response in zip(paths, responses, strict=True):
            story.note(started, response, PATHS[path])
        if responses[-1].closes:
            return


def http_1_0(client: Client, story: Story, choose: random.Random) -> None:
    path, started = choose.choice(["/", "/wait"]), time.monotonic()
    client.send(request(path, version="HTTP/1.0"))
    story.note(started, client.read(), PATHS[path])


def half_closing(client: Client, story: Story, choose: random.Random) -> None:
    """Announce the end behind the request."""
    started = time.monotonic()
    client.send(request("/wait"))
    client.sock.shutdown(socket.SHUT_WR)
    story.note(started, client.read(), b"waited")


def slow_body(client: Client, story: Story, choose: random.Random) -> None:
    """Send a body in pieces, with pauses."""
    body, started = choose.randbytes(20_000), time.monotonic()
    client.send(request("/digest", f"Content-Length: {len(body)}", method="POST"))
    for start in range(0, len(body), 2000):
        client.send(body[start : start + 2000])
        time.sleep(choose.random() / 20)
    story.note(started, client.read(), digest(body))


def upload(client: Client, story: Story, choose: random.Random) -> None:
    """Send a body as fast as it goes, its length announced or in chunks; it may go to a file."""
    body, started = choose.randbytes(choose.randrange(1_500_000)), time.monotonic()
    if choose.random() < 0.5:
        response = client.post("/digest", body)
    else:
        client.send(request("/digest", "Transfer-Encoding: chunked", method="POST"))
        for start in range(0, len(body), 70_000):
            piece = body[start : start + 70_000]
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
        response = client.read()
    story.note(started, response, digest(body))


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


def slow_reader(client: Client, story: Story, choose: random.Random) -> None:
    """Read a large page in small pieces, with pauses."""
    started, data = time.monotonic(), b""
    client.send(request("/big", "Connection: close"))
    while piece := client.sock.recv(50_000):
        data += piece
        time.sleep(choose.random() / 50)
    head, _, body = data.partition(b"\r\n\r\n")
    if len(body) != LARGEST:
        raise Closed(data[:200])
    fields = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
    worker = next(value for name, value in fields.items() if name.lower() == "x-worker")
    story.since = time.monotonic()
    story.answers.append(Answer(started, story.since, int(worker)))


def resetting(client: Client, story: Story, choose: random.Random) -> None:
    """Reset in the middle of a request or a response."""
    if choose.random() < 0.5:
        client.send(request("/digest", "Content-Length: 100000", method="POST") + b"x" * 1000)
    else:
        client.send(request("/big"))
        client.sock.recv(1000)
    reset(client)


KINDS: list[Callable[[Client, Story, random.Random], None]] = [
    fresh, kept, kept, pipelining, http_1_0, half_closing, slow_body, upload, slow_reader, resetting,
]  # fmt: skip


class Crowd:
    """One client of each kind, from entry to exit; none retries."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._seed = seed
        self._over = threading.Event()
        self.stories = [Story(kind.__name__) for kind in KINDS]
        self._threads = [
            threading.Thread(target=self._drive, args=(number, kind, story))
            for number, (kind, story) in enumerate(zip(KINDS, self.stories, strict=True))
        ]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _drive(self, number: int, kind: Callable[[Client, Story, random.Random], None], story: Story) -> None:
        choose = random.Random(f"{self._seed} {kind.__name__} {number}")
        while not self._over.is_set():
            story.since = time.monotonic()
            try:
                with Client(self._port, timeout=PATIENCE) as client:
                    kind(client, story, choose)
            except (Closed, OSError, Wrong, ValueError, StopIteration, AssertionError) as error:
                story.failures.append(Failure(story.since, time.monotonic(), f"{story.kind}: {error!r}"[:300]))
