"""Heads of responses: what is written, what is refused before a byte is sent, and the fields of every response."""

from collections.abc import Iterable
from typing import Any

import pytest

from spawning.http.response import Clock, chunk, encode_head, error_response, http_date
from unit.exchanges import TEXT, Environ, StartResponse, answering, run


def test_a_head_is_written_as_it_is_said() -> None:
    head = encode_head("404 Not Found", [("X-B", "2"), ("x-a", "caf\u00e9 \u00ff"), ("X-Empty", "")])
    assert head.start == b"HTTP/1.1 404 Not Found\r\nX-B: 2\r\nx-a: caf\xe9 \xff\r\nX-Empty: \r\n"
    assert (head.code, head.content_length, head.bodiless) == (404, -1, False)


def test_a_str_of_another_class_is_a_str() -> None:
    class Text(str):
        __slots__ = ()

    assert encode_head("200 OK", [("X-A", Text("b"))]).start.endswith(b"X-A: b\r\n")


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("200", []),
        ("200OK", []),
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
        ("200 OK", (TEXT,)),
        ("200 OK", {"a": "b"}),
        ("200 OK", None),
        ("200 OK", [("X-A", "a\r\nX-B: b")]),
        ("200 OK", [("X-A", "a\n")]),
        ("200 OK", [("X-A", "a\rb")]),
        ("200 OK", [("X-A", "a\0b")]),
        ("200 OK", [("X-A", "\u20ac")]),
        ("200 OK", [("X-A", b"bytes")]),
        ("200 OK", [("X-A", 1)]),
        ("200 OK", [("X-A", None)]),
        ("200 OK", [(b"X-A", "b")]),
        ("200 OK", [("", "b")]),
        ("200 OK", [("X A", "b")]),
        ("200 OK", [("X-A:", "b")]),
        ("200 OK", [("X\u00e9", "b")]),
        ("200 OK", [("X-A\r\nX-B", "b")]),
        ("200 OK", [("Connection", "close")]),
        ("200 OK", [("keep-alive", "1")]),
        ("200 OK", [("Transfer-Encoding", "chunked")]),
        ("200 OK", [("TE", "trailers")]),
        ("200 OK", [("Upgrade", "x")]),
        ("200 OK", [("Content-Length", "-1")]),
        ("200 OK", [("Content-Length", "five")]),
        ("200 OK", [("Content-Length", "\u00b2")]),
        ("200 OK", [("Content-Length", "")]),
        ("200 OK", [("Content-Length", "5"), ("content-length", "5")]),
        ("200 OK", [("X-A",)]),
        ("200 OK", ["X-A"]),
    ],
)
def test_a_malformed_head_is_refused(status: Any, fields: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode_head(status, fields)
    with pytest.raises((TypeError, ValueError)):
        encode_head(status, fields)  # the refusal is not forgotten either


@pytest.mark.parametrize("status", [b"200 OK", 200, ["200 OK"]])
def test_a_status_that_is_no_str_is_told(status: Any) -> None:
    with pytest.raises(TypeError, match=f"^status must be str, not {type(status).__name__}$"):
        encode_head(status, [])


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
