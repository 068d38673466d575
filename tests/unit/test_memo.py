"""Memories: bounded in entries and bytes, whatever clients send, and honest about what they take."""

import gc
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from spawning.http import request
from spawning.http.fields import Field, Fields
from spawning.http.limits import Limits
from spawning.http.line import RequestLine
from spawning.http.request import Head, RequestReader
from spawning.http.response import encode_head
from spawning.logs.access import AccessLog
from spawning.memo import Memo
from spawning.worker.routes import Routes
from spawning.wsgi.environ import EnvironBase, connection_template
from spawning.wsgi.forwarded import Origin, Trust
from spawning.wsgi.input import BodyBuffer
from unit.requests import forget

# One memory.


def test_what_was_put_in_is_got() -> None:
    memo: Memo[str, int] = Memo(2, 1000, 500)
    assert memo.get("a") is None
    memo.put("a", 1, 10)
    assert memo == {"a": 1}


def test_one_more_than_its_entries_empties_it_first() -> None:
    memo: Memo[int, int] = Memo(2, 1000, 500)
    for key in range(3):
        memo.put(key, key, 10)
    assert memo == {2: 2}
    assert memo.left == 500


def test_one_byte_more_than_its_size_empties_it_first() -> None:
    memo: Memo[int, int] = Memo(100, 1000, 500)
    memo.put(1, 1, 500)
    memo.put(2, 2, 490)
    memo.put(3, 3, 10)
    assert memo == {1: 1, 2: 2, 3: 3}
    assert memo.left == 0
    memo.put(4, 4, 300)
    assert memo == {4: 4}
    assert memo.left == 700


def test_what_is_too_large_is_not_remembered_and_empties_nothing() -> None:
    memo: Memo[str, int] = Memo(10, 1000, 500)
    memo.put("fits", 1, 500)
    memo.put("does not", 2, 501)
    assert memo == {"fits": 1}


def test_what_is_put_in_again_counts_again() -> None:
    memo: Memo[str, int] = Memo(10, 1000, 500)
    memo.put("a", 1, 500)
    memo.put("a", 2, 500)
    assert memo == {"a": 2}
    memo.put("b", 1, 1)
    assert memo == {"b": 1}


def test_it_may_be_emptied() -> None:
    memo: Memo[str, int] = Memo(10, 1000, 500)
    memo.put("a", 1, 500)
    memo.clear()
    assert memo == {}
    assert memo.left == memo.size


# All memories of the server, and clients who try to fill them.

LIMITS = Limits(max_line=65536, max_fields=10_000)
EMPTY = 128  # bytes of a memory without entries
MANY = 1500  # requests of one kind: more than any memory has entries
KEPT = (str, bytes, dict, tuple, list, Field, Fields, RequestLine, Head, Origin)  # what a memory can keep alive


def memories() -> list[Memo[Any, Any]]:
    """List all memories there are: a new one is found here as well."""
    return [each for each in gc.get_objects() if type(each) is Memo]


def of_modules() -> list[Memo[Any, Any]]:
    """List those that belong to no object."""
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "spawning"]
    return [value for module in modules for value in vars(module).values() if type(value) is Memo]


class Site:
    """What a worker does with a request before the application has it, but for its sockets."""

    def __init__(self) -> None:
        before = memories()
        elsewhere = {id(memo) for memo in before} - {id(memo) for memo in of_modules()}
        self._base = EnvironBase(
            server_name="", server_port="80", multithread=True, multiprocess=True, trust=Trust(["10.0.0.1"])
        )
        self._routes = Routes(enabled=True)
        self._log = AccessLog()
        self.memories = [memo for memo in memories() if id(memo) not in elsewhere]
        for memo in self.memories:
            memo.clear()

    def ask(self, head: bytes, peer: str = "10.0.0.1") -> None:
        """Read a head on a connection of its own, and make an environ and an entry of it."""
        reader = RequestReader(BodyBuffer, LIMITS)
        reader.receive(head)
        template = connection_template(self._base, reader.fields, reader.line, peer, "4711")
        self._routes.sensor(reader.line)
        self._log.entry(template)
        encode_head("200 OK", [("A-" + field.name, field.value) for field in reader.fields.all[2:]])


def get(target: str = "/", *fields: str) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: a.example", "User-Agent: probe/1", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def long(number: int, length: int) -> str:
    """Make a token of a length, another one for each number."""
    return f"{number:x}".ljust(length, "x")


def many(number: int, count: int, value: str) -> list[str]:
    return [f"{number:x}-{each:x}: {value}" for each in range(count)]


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "short targets": lambda n: get(f"/{n}"),
    "long targets": lambda n: get("/" + long(n, 240)),
    "very long targets": lambda n: get("/" + long(n, 16_000)),
    "targets that are decoded": lambda n: get(f"/{n}" + 80 * "%ff"),
    "long methods": lambda n: long(n, 200).encode() + get()[3:],
    "very long methods": lambda n: long(n, 16_000).encode() + get()[3:],
    "names": lambda n: get("/", f"{n}: a"),
    "long names": lambda n: get("/", f"{long(n, 250)}: a"),
    "very long names": lambda n: get("/", f"{long(n, 16_000)}: a"),
    "values": lambda n: get("/", f"A: {long(n, 250)}"),
    "very long values": lambda n: get("/", f"A: {long(n, 16_000)}"),
    "user agents": lambda n: get("/", f"Referer: {long(n, 250)}").replace(b"probe", long(n, 250).encode()),
    "user agents that are escaped": lambda n: get("/", f"Referer: {n}" + 200 * "\xff").replace(b"probe", b"%d\xfe" % n),
    "many short fields": lambda n: get("/", *many(n, 40, "")),
    "as many short fields as fit": lambda n: get("/", *many(n, 400, "")),
    "repeated fields": lambda n: get("/", *(200 * [f"A{n:x}: b"])),
    "repeated forwarded fields": lambda n: get("/", *(100 * [f"X-Forwarded-A{n:x}: b"])),
    "options of a connection": lambda n: get("/", f"Connection: {n}" + 60 * ",ab"),
    "options of a connection, large": lambda n: get("/", f"Connection: {n}" + 1000 * ",ab"),
    "forwarded": lambda n: get("/", f"X-Forwarded-For: 192.0.2.1, {n % 256}.{n // 256}.0.1"),
    "forwarded, long": lambda n: get("/", "X-Forwarded-For: " + 20 * "10.0.0.1, " + f"{n % 256}.{n // 256}.0.1"),
    "forwarded of long names": lambda n: get("/", f"X-Forwarded-{long(n, 16_000)}: a"),
    "forwarded of many names": lambda n: get("/", *(f"X-Forwarded-{name}" for name in many(n, 50, "a"))),
    "forms": lambda n: get("/", f"Content-Length: {n + 1}"),
}


def taken(memo: Memo[Any, Any]) -> int:
    """Count the bytes that a memory keeps alive."""
    seen = {id(request._NO_BLOCK)}  # a constant
    waiting: list[object] = [memo]
    total = 0
    while waiting:
        each = waiting.pop()
        if id(each) not in seen and isinstance(each, (Memo, *KEPT)):
            seen.add(id(each))
            total += sys.getsizeof(each)
            waiting += gc.get_referents(each)
    return total


def other_dictionaries() -> Iterator[tuple[str, int]]:
    """Name what the modules of the server have beside memories that could grow, and how large it is."""
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] == "spawning" and isinstance(module, ModuleType):
            for key, value in vars(module).items():
                if isinstance(value, dict | list | set) and type(value) is not Memo and not key.startswith("__"):
                    yield f"{name}.{key}", len(value)


@pytest.fixture
def site() -> Iterator[Site]:
    yield Site()
    forget()


@pytest.mark.parametrize("kind", HOSTILE)
def test_clients_cannot_make_memories_grow_beyond_their_bounds(site: Site, kind: str) -> None:
    assert len(site.memories) >= 11
    head = HOSTILE[kind]
    others = dict(other_dictionaries())
    for number in range(MANY if len(head(0)) < 1000 else MANY // 8):
        for _ in range(1 + number % 2):  # some are not remembered before they come again
            site.ask(head(number))
        if number % 128 == 127:
            for memo in site.memories:
                assert taken(memo) <= memo.size - memo.left + EMPTY
                assert memo.left >= 0
    assert sum(memo.size for memo in site.memories) <= 16 << 20
    assert dict(other_dictionaries()) == others


def test_what_is_usual_is_remembered(site: Site) -> None:
    for number in range(100):
        for _ in range(2):
            site.ask(get(f"/books/{number}", *(f"X-{name}: {'v' * 60}" for name in range(15))))
    for memo in site.memories:
        assert memo.left > memo.size / 2


@pytest.mark.parametrize("fields", [[], ["Content-Length: 10"]])
def test_heads_with_and_without_a_body_are_remembered(site: Site, fields: list[str]) -> None:
    site.ask(get("/", *fields))
    assert get("/", *fields) in request._heads
