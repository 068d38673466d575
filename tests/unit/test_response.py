"""Heads of responses: what is written, what is refused before a byte is sent, and the fields of every response."""

from collections import deque
from collections.abc import Iterable
from enum import Enum
from http import HTTPStatus
from typing import Any, NamedTuple

import pytest

from spawning.http.response import Clock, chunk, early_hints, encode_head, error_response, http_date
from unit.exchanges import Environ, StartResponse, answering, run


def test_a_head_is_written_as_it_is_said() -> None:
    head = encode_head("404 Not Found", [("X-B", "2"), ("x-a", "caf\u00e9 \u00ff"), ("X-Empty", "")])
    assert head.start == b"HTTP/1.1 404 Not Found\r\nX-B: 2\r\nx-a: caf\xe9 \xff\r\nX-Empty: \r\n"
    assert (head.code, head.content_length, head.bodiless) == (404, -1, False)


class Text(str):
    """A text that shows something else than it holds, and holds its own idea of what it is like."""

    __slots__ = ()

    def __str__(self) -> str:
        return "shown"

    __repr__ = __str__

    def __format__(self, _spec: str) -> str:
        return "shown"

    def __getitem__(self, _key: object) -> str:
        return "shown"

    def __hash__(self) -> int:
        return 7


class Choice(str, Enum):  # noqa: UP042 - what Python 3.11's StrEnum is not: it shows its name
    FOUND = "404 Not Found"
    FIELD = "X-A"
    VALUE = "b"
    LENGTH = "content-length"


@pytest.mark.parametrize(
    ("status", "name", "value"),
    [(Text("404 Not Found"), Text("X-A"), Text("b")), (Choice.FOUND, Choice.FIELD, Choice.VALUE)],
)
def test_of_a_subclass_of_str_what_it_holds_is_sent(status: str, name: str, value: str) -> None:
    for pairs in ([(name, "b")], [("X-A", value)], [(name, value)], [("X-A", "b")]):
        head = encode_head(status, pairs)
        assert (head.code, head.start) == (404, b"HTTP/1.1 404 Not Found\r\nX-A: b\r\n")
    assert encode_head("200 OK", [(Choice.LENGTH, Text("5"))]).content_length == 5
    assert early_hints([(name, value)]).startswith(b"HTTP/1.1 103 Early Hints\r\nX-A: b\r\n")


def test_a_reason_may_be_missing_and_its_space_is_there() -> None:
    for status in ("404", "404 "):
        head = encode_head(status, [])
        assert (head.code, head.start) == (404, b"HTTP/1.1 404 \r\n")


class Pair(NamedTuple):
    name: str
    value: str


PAIRS = [("X-A", "1"), ("X-B", "2")]


@pytest.mark.parametrize(
    "headers",
    [
        tuple(PAIRS), iter(PAIRS), dict(PAIRS).items(), (pair for pair in PAIRS),
        list(map(list, PAIRS)), [Pair(*pair) for pair in PAIRS], deque(PAIRS), type("Headers", (list,), {})(PAIRS),
    ],
)  # fmt: skip
def test_any_iterable_of_pairs_will_do(headers: Any) -> None:
    assert encode_head("200 OK", headers).start == b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\n"


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("", []),
        ("20", []),
        ("200OK", []),
        ("2000", []),
        ("20 OK", []),
        ("abc OK", []),
        ("\u00b2\u00b2\u00b2 OK", []),
        ("099 OK", []),
        ("101 Switching Protocols", []),
        (b"200 OK", []),
        (200, []),
        (None, []),
        (["200 OK"], []),
        ("200 OK\r\nX-A: b", []),
        ("200 OK\n", []),
        ("200 \u20ac", []),
        ("200 OK\x1b", []),
        ("200 OK", [("X-A", "a\r\nX-B: b")]),
        ("200 OK", [("X-A", "a\n")]),
        ("200 OK", [("X-A", "a\rb")]),
        ("200 OK", [("X-A", "a\0b")]),
        ("200 OK", [("X-A", "\u20ac")]),
        *[("200 OK", [("X-A", f"a{control}b")]) for control in "\x01\x07\x08\x0b\x0c\x0e\x1b\x1f\x7f"],
        ("200 OK", [("", "b")]),
        ("200 OK", [("X A", "b")]),
        ("200 OK", [("X-A:", "b")]),
        ("200 OK", [("X\u00e9", "b")]),
        ("200 OK", [("X-A\r\nX-B", "b")]),
        ("200 OK", [("Content-Length", "-1")]),
        ("200 OK", [("Content-Length", "five")]),
        ("200 OK", [("Content-Length", "\u00b2")]),
        ("200 OK", [("Content-Length", "")]),
        ("200 OK", [("Content-Length", "1" * 5000)]),
        ("200 OK", [("Content-Length", "5, 5")]),
        ("200 OK", [("Content-Length", "5"), ("content-length", "6")]),
    ],
)
def test_a_malformed_head_is_refused(status: Any, fields: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode_head(status, fields)
    with pytest.raises((TypeError, ValueError)):
        encode_head(status, fields)  # the refusal is not forgotten either


@pytest.mark.parametrize("status", [b"200 OK", 200, ["200 OK"], None, HTTPStatus.OK])
def test_a_status_that_is_no_str_is_told(status: Any) -> None:
    with pytest.raises(TypeError) as told:
        encode_head(status, [])
    assert str(told.value) == f"status is {status!r} ({type(status).__name__}), and must be str, such as '200 OK'"


class Unshowable:
    def __repr__(self) -> str:
        raise LookupError("no text")


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([("X-A", 1)], "value of response header X-A is 1 (int), and must be str"),
        ([("X-A", None)], "value of response header X-A is None (NoneType), and must be str"),
        ([("X-A", b"b")], "value of response header X-A is b'b' (bytes), and must be str"),
        ([("X-A", ["b"])], "value of response header X-A is ['b'] (list), and must be str"),
        ([("Content-Length", 5)], "value of response header Content-Length is 5 (int), and must be str"),
        ([("Connection", None)], "value of response header Connection is None (NoneType), and must be str"),
        ([("X-A", b"b" * 200)], f"value of response header X-A is b'{'b' * 98}... (bytes), and must be str"),
        (
            [("X-A", Unshowable())],
            "value of response header X-A is something that cannot be shown (Unshowable), and must ",
        ),
        ([(b"X-A", "b")], "name of a response header is b'X-A' (bytes), and must be str; its value is 'b' (str)"),
        ([(1, "b")], "name of a response header is 1 (int), and must be str; its value is 'b' (str)"),
        ([(None, "b")], "name of a response header is None (NoneType), and must be str; its value is 'b' (str)"),
        ([([], "b")], "name of a response header is [] (list), and must be str; its value is 'b' (str)"),
        ([("X-A",)], "response header ('X-A',) (tuple) is not a pair of name and value"),
        ([("X-A", "b", "c")], "response header ('X-A', 'b', 'c') (tuple) is not a pair of name and value"),
        ([["X-A"]], "response header ['X-A'] (list) is not a pair of name and value"),
        (["ab"], "response header 'ab' (str) is not a pair of name and value"),
        ([b"ab"], "response header b'ab' (bytes) is not a pair of name and value"),
        ([None], "response header None (NoneType) is not a pair of name and value"),
        (
            {"ab": "c"},
            "response headers are {'ab': 'c'} (dict), and must be a list of pairs, such as those of its items()",
        ),
        (None, "response headers are None (NoneType), and must be a list of pairs"),
        (7, "response headers are 7 (int), and must be a list of pairs"),
        ("", "response headers are '' (str), and must be a list of pairs"),
    ],
)
def test_field_value_and_type_of_what_is_wrong_are_named(headers: Any, message: str) -> None:
    for encode in (lambda: encode_head("200 OK", headers), lambda: early_hints(headers)):
        with pytest.raises((TypeError, ValueError)) as told:
            encode()
        assert str(told.value).startswith(message) or (
            encode.__code__.co_names[0] == "early_hints" and "cannot be among early hints" in str(told.value)
        )
        assert told.value.__suppress_context__ or told.value.__context__ is None  # the log has one traceback


@pytest.mark.parametrize(
    ("status", "value", "message"),
    [
        ("200 OK", "a\x07b", "value of response header X-Bad has a control character: 'a\\x07b'"),
        ("200 OK", "a\r\nX-B: b", "value of response header X-Bad has a control character: 'a\\r\\nX-B: b'"),
        ("200 OK", "\u20ac", "value of response header X-Bad has a character outside latin-1: '\u20ac'"),
        ("200 OK", "x" * 4096 + "\x1b", f"value of response header X-Bad has a control character: '{'x' * 50}\\x1b'"),
        ("200 OK\x1b", "b", "status has a control character: '200 OK\\x1b'"),
    ],
)
def test_a_field_with_a_forbidden_character_is_named_wherever_it_is(status: str, value: str, message: str) -> None:
    for fields in ([("X-Bad", value)], [("X-Long", "y" * 4096), ("X-Bad", value), ("X-More", "z")]):
        with pytest.raises(ValueError, match=r"^(status|value)") as told:
            encode_head(status, fields)
        assert str(told.value) == message


def test_a_tab_and_bytes_above_127_are_no_control_characters() -> None:
    assert encode_head("200 OK", [("X-A", "a\tb \x80\x9f\xff")]).start.endswith(b"X-A: a\tb \x80\x9f\xff\r\n")


# Fields that are not the application's -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["Connection", "keep-alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"]
)
def test_hop_by_hop_fields_are_dropped(name: str) -> None:
    head = encode_head("200 OK", [("X-A", "b"), (name, "keep-alive"), ("X-B", "c")])
    assert (head.start, head.dropped, head.closes) == (b"HTTP/1.1 200 OK\r\nX-A: b\r\nX-B: c\r\n", name, False)
    head = encode_head("200 OK", [(name, "x"), ("Connection", "X-A")])
    assert (head.start, head.dropped) == (b"HTTP/1.1 200 OK\r\n", f"{name},Connection")


@pytest.mark.parametrize(
    ("value", "closes", "dropped"),
    [
        ("close", True, ""), ("Close ", True, ""), ("keep-alive", False, "Connection"), ("", False, "Connection"),
        ("X-A, close", True, "Connection"), ("closed", False, "Connection"), ("close,close", True, "Connection"),
    ],
)  # fmt: skip
def test_of_the_connection_an_application_may_say_that_it_closes(value: str, closes: bool, dropped: str) -> None:
    head = encode_head("200 OK", [("Connection", value)])
    assert (head.closes, head.dropped, head.start) == (closes, dropped, b"HTTP/1.1 200 OK\r\n")
    response = run(answering([b"x"], ("Connection", value), ("Content-Length", "1")))
    assert (response.keep_alive, "Connection: close" in response.head) == (not closes, closes)


def test_426_says_what_to_upgrade_to_and_no_other_status_does() -> None:
    fields = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
    head = encode_head("426 Upgrade Required", fields)
    assert head.start.endswith(b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    assert (head.closes, head.dropped) == (False, "")
    head = encode_head("426 Upgrade Required", [("Connection", "close"), ("Keep-Alive", "5")])
    assert (head.closes, head.dropped) == (True, "Keep-Alive")
    assert encode_head("400 Bad Request", fields).dropped == "Upgrade,Connection"


def test_who_wants_to_switch_protocols_is_told_how() -> None:
    with pytest.raises(ValueError, match=r"not final.*; 101 is sent through environ\['spawning.socket'\]$"):
        encode_head("101 Switching Protocols", [])


@pytest.mark.parametrize("name", ["Proxy-Authenticate", "Proxy-Authorization"])
def test_what_is_between_a_proxy_and_its_client_passes(name: str) -> None:
    assert encode_head("407 No", [(name, "Basic")]).start == f"HTTP/1.1 407 No\r\n{name}: Basic\r\n".encode()


def test_a_length_may_be_said_twice_and_with_spaces() -> None:
    head = encode_head("200 OK", [("Content-Length", " 5"), ("X-A", "b"), ("content-length", "5\t")])
    assert (head.content_length, head.start) == (5, b"HTTP/1.1 200 OK\r\nContent-Length:  5\r\nX-A: b\r\n")


def test_a_malformed_head_is_answered_500() -> None:
    response = run(answering([b"never"], ("X-A", "a\r\nX-B: b")))
    assert response.head[0] == "HTTP/1.1 500 Internal Server Error"
    assert b"X-B" not in response.data
    assert b"never" not in response.data


def test_a_response_is_not_mistaken_for_the_one_before() -> None:
    """The last head is remembered; what is equal and what only looks so must not be confused."""
    pair = ["X-A", "1"]

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [pair])
        return [b"x"]

    assert "X-A: 1" in run(application).head
    pair[1] = "2"
    assert "X-A: 2" in run(application).head
    fields = [("X-A", "3")]
    for number in ("4", "5"):
        fields[0] = ("X-A", number)
        assert f"X-A: {number}" in run(answering([b"x"], *fields)).head
    assert run(answering([b"x"], status="201 Created")).head[0] == "HTTP/1.1 201 Created"


# What every response carries -----------------------------------------------------------------------------------------


def test_a_date_does_not_depend_on_the_locale() -> None:
    assert http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"  # RFC 9110 section 5.6.7
    assert http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"


def test_the_clock_writes_its_fields_once_a_second() -> None:
    clock = Clock("test")
    clock.set(784111777.0)
    fields = clock.fields
    assert fields == b"Server: test\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    clock.set(784111777.9)
    assert clock.fields is fields
    clock.set(784111778.0)
    assert clock.fields.endswith(b":38 GMT\r\n")
    assert clock.end == clock.fields + b"\r\n"


def test_an_error_is_small_closes_and_has_its_length() -> None:
    head, _, body = error_response(431, "request head too large", Clock("test")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"\r\nConnection: close\r\n" in head
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
    assert body == b"431 Request Header Fields Too Large: request head too large\n"
    assert error_response(400, "x", Clock("test"), with_body=False).endswith(b"\r\n\r\n")


def test_a_chunk() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
