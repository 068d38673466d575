"""PEP 3333 between an application and a transport that records: what goes out, what is closed, what is logged."""

import contextlib
import errno
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from spawning.http.response import ResponseHead, TunnelHead
from spawning.wsgi.exchange import Exchange, WSGIApplication
from spawning.wsgi.responder import ClientGone
from unit.exchanges import GET, TEXT, Body, Environ, Recorder, StartResponse, answering, run


def each(*blocks: Any) -> Iterator[Any]:
    """Be a generator: nobody knows before which blocks there will be."""
    yield from blocks


class Prepared:
    """A response as Django's: its iterator is that of a list."""

    def __init__(self, *blocks: bytes) -> None:
        self._blocks = list(blocks)
        self.closes = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._blocks)

    def close(self) -> None:
        self.closes += 1


# Framing -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", [[b"hello"], [b"he", b"", b"llo"], (b"he", b"llo"), (b"hello",)])
def test_a_list_or_tuple_gets_its_length(result: Iterable[bytes]) -> None:
    response = run(answering(result, TEXT))
    assert response.head == ["HTTP/1.1 200 OK", "Content-Type: text/plain", "Content-Length: 5"]
    assert (response.body, response.sent, response.keep_alive, response.cut) == (b"hello", 5, True, False)
    assert len(response.sends) == 1


@pytest.mark.parametrize("blocks", [[b"hello"], [b"he", b"", b"llo"], []])
@pytest.mark.parametrize("announces", [True, False])
def test_what_only_has_to_be_taken_out_of_a_list_goes_out_whole(blocks: list[bytes], announces: bool) -> None:
    size = len(b"".join(blocks))
    for keep_alive in (True, False):
        body = Prepared(*blocks)
        fields = [("Content-Length", str(size))] if announces else []
        response = run(answering(body, *fields), keep_alive=keep_alive)
        assert f"Content-Length: {size}" in response.head
        assert (response.body, response.sent, body.closes) == (b"".join(blocks), size, 1)
        assert (len(response.sends), response.lasts) == (1, not keep_alive)


@pytest.mark.parametrize(
    ("fields", "status"), [([TEXT], "200 OK"), ([TEXT, ("Content-Length", "5")], "200 OK"), ([], "304 Not Modified")]
)
def test_a_response_in_one_piece_is_the_last_of_a_connection_that_closes(
    fields: list[tuple[str, str]], status: str
) -> None:
    for minor, keep_alive, lasts in ((1, True, 0), (1, False, 1), (0, False, 1), (0, True, 0)):
        response = run(answering([b"hello"], *fields, status=status), minor=minor, keep_alive=keep_alive)
        assert (len(response.sends), response.lasts, response.keep_alive) == (1, lasts, keep_alive)
        assert ("Connection: close" in response.head) == (not keep_alive)


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 100_000])
def test_a_body_of_any_size_goes_out_whole(size: int) -> None:
    for fields in ([TEXT], [TEXT, ("Content-Length", str(size))]):
        response = run(answering([b"x" * size], *fields))
        assert response.head[-1] == f"Content-Length: {size}"
        assert (response.body, response.sent) == (b"x" * size, size)


@pytest.mark.parametrize("result", [[], (), [b""], each()])
def test_nothing_has_length_zero(result: Iterable[bytes]) -> None:
    response = run(answering(result))
    assert response.head == ["HTTP/1.1 200 OK", "Content-Length: 0"]
    assert response.body == b""


def test_a_generator_is_sent_in_chunks_as_it_goes() -> None:
    response = run(answering(each(b"he", b"", b"llo")))
    assert "Transfer-Encoding: chunked" in response.head
    assert response.body == b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    assert (response.sent, response.keep_alive) == (5, True)
    assert len(response.sends) == 3


def test_a_generator_with_a_length_is_not_chunked() -> None:
    response = run(answering(each(b"he", b"llo"), ("Content-Length", "5")))
    assert response.head == ["HTTP/1.1 200 OK", "Content-Length: 5"]
    assert response.body == b"hello"


def test_for_http_1_0_the_end_of_the_connection_is_the_end() -> None:
    response = run(answering(each(b"he", b"llo")), minor=0)
    assert response.head == ["HTTP/1.1 200 OK", "Connection: close"]
    assert response.body == b"hello"
    assert not response.keep_alive


def test_http_1_0_is_kept_alive_when_the_length_is_known() -> None:
    response = run(answering([b"hello"]), minor=0)
    assert response.head == ["HTTP/1.1 200 OK", "Content-Length: 5", "Connection: keep-alive"]
    assert response.keep_alive


def test_the_client_is_told_that_the_connection_closes() -> None:
    response = run(answering([b"hello"], ("Content-Length", "5")), keep_alive=False)
    assert response.head[-1] == "Connection: close"
    assert not response.keep_alive


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("length", [[], [("Content-Length", "5")], [("Content-Length", "0"), ("X-A", "b")]])
@pytest.mark.parametrize("result", [[b"hello"], [b"he", b"llo"], [], each(b"he", b"llo"), each(), (b"hello",)])
def test_205_has_no_content_and_says_so(result: Iterable[bytes], length: list[tuple[str, str]], minor: int) -> None:
    """RFC 9110 section 15.3.6; unlike 204 and 304 it has to be framed (RFC 9112 section 6.3)."""
    response = run(answering(result, *length, status="205 Reset Content"), minor=minor)
    expected = ["HTTP/1.1 205 Reset Content", *[f"{n}: {v}" for n, v in length if n == "X-A"], "Content-Length: 0"]
    assert response.head == expected if minor else [*expected, "Connection: keep-alive"]
    assert (response.body, response.sent, response.cut, response.keep_alive) == (b"", 0, False, True)


@pytest.mark.parametrize("result", [[b"hello"], each(b"he", b"llo"), (b"hello",)])
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_content_sends_none(status: str, result: Iterable[bytes]) -> None:
    response = run(answering(result, status=status))
    assert response.head == [f"HTTP/1.1 {status}"]
    assert (response.body, response.sent, response.cut) == (b"", 0, False)


def test_304_may_tell_the_length_and_204_may_not() -> None:
    length = ("Content-Length", "5")
    assert run(answering([], length, status="304 Not Modified")).head[-1] == "Content-Length: 5"
    assert run(answering([], length, status="204 No Content")).head == ["HTTP/1.1 204 No Content"]


def test_head_tells_what_get_would() -> None:
    assert run(answering([b"hello"]), method="HEAD").head[-1] == "Content-Length: 5"
    assert run(answering([], ("Content-Length", "5")), method="HEAD").head[-1] == "Content-Length: 5"
    assert run(answering([]), method="HEAD").head == ["HTTP/1.1 200 OK"]
    for result in ([b"hello"], each(b"hello")):
        response = run(answering(result), method="HEAD")
        assert (response.body, response.cut, response.keep_alive) == (b"", False, True)


def test_an_endless_body_is_not_read_for_head() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x"

    body = Body(endless())
    run(answering(body), method="HEAD")
    assert (body.taken, body.closes) == (1, 1)


def test_date_and_server_are_the_applications_if_it_sets_them() -> None:
    response = run(answering([b"x"], ("date", "today"), ("Server", "mine")))
    assert response.data.lower().count(b"\r\ndate: ") == 1
    assert response.data.count(b"\r\nServer: mine\r\n") == response.data.count(b"\r\nServer: ") == 1
    for field in (("Date", "today"), ("Server", "mine")):
        data = run(answering([b"x"], field)).data
        assert data.count(b"\r\nDate: ") == data.count(b"\r\nServer: ") == 1


# Lengths that are wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [0, 4, 6, 10**12])
@pytest.mark.parametrize("result", [[b"hello"], [b"he", b"llo"], (b"he", b"llo"), Prepared(b"hello")])
def test_a_wrong_length_that_is_known_before_the_head_is_answered_500(
    result: Iterable[bytes], announced: int, caplog: pytest.LogCaptureFixture
) -> None:
    response = run(answering(result, ("Content-Length", str(announced))))
    assert response.head[0] == "HTTP/1.1 500 Internal Server Error"
    assert (response.cut, response.keep_alive) == (False, False)
    assert [record.message for record in caplog.records] == [
        f"response {'longer' if announced < 5 else 'shorter'} than its Content-Length "
        f"announced={announced} found=5 method=GET path='/path'"
    ]


@pytest.mark.parametrize("result", [[], (), [b""], each(), each(b"", b"")])
def test_nothing_where_something_was_announced_is_answered_500(
    result: Iterable[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    response = run(answering(result, ("Content-Length", "5")))
    assert response.head[0] == "HTTP/1.1 500 Internal Server Error"
    assert "response shorter than its Content-Length announced=5 found=0 " in caplog.text
    assert caplog.text.count("Traceback") == 0


@pytest.mark.parametrize("result", [each(b"hello world"), each(b"hel", b"lo world", b"!")])
def test_what_is_longer_than_announced_is_cut_and_logged(
    result: Iterable[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    response = run(answering(result, ("Content-Length", "5")))
    assert (response.body, response.sent, response.cut, response.keep_alive) == (b"hello", 5, False, True)
    assert [record.message for record in caplog.records] == [
        "response longer than its Content-Length method=GET path='/path'"
    ]


def test_an_endless_body_is_not_read_beyond_its_length(caplog: pytest.LogCaptureFixture) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"xx"

    body = Body(endless())
    response = run(answering(body, ("Content-Length", "5")))
    assert (response.body, body.taken, body.closes, response.cut) == (b"xxxxx", 3, 1, False)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("result", [each(b"hel"), each(b"h", b"el"), each(b"", b"h", b"", b"el")])
def test_what_is_shorter_than_announced_cuts_the_connection(
    result: Iterable[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    response = run(answering(result, ("Content-Length", "5")))
    assert response.cut
    assert response.body == b"hel"
    assert "shorter than its Content-Length announced=5 sent=3 " in caplog.text


# CONNECT -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", [[b"bytes"], [b"by", b"tes"], each(b"by", b"tes")])
def test_what_accepts_connect_is_sent_as_it_is_until_the_end_of_the_connection(result: Iterable[bytes]) -> None:
    response = run(answering(result), method="CONNECT", keep_alive=False)
    assert response.head == ["HTTP/1.1 200 OK", "Connection: close"]
    assert response.body == b"bytes"


def test_what_accepts_connect_has_no_length(caplog: pytest.LogCaptureFixture) -> None:
    response = run(answering([b"hello"], ("Content-Length", "5")), method="CONNECT", keep_alive=False)
    assert response.head[0] == "HTTP/1.1 500 Internal Server Error"
    assert "a response that accepts CONNECT has no Content-Length" in caplog.text


def test_what_refuses_connect_is_a_response_like_others() -> None:
    response = run(answering([b"no"], status="403 Forbidden"), method="CONNECT", keep_alive=False)
    assert response.head == ["HTTP/1.1 403 Forbidden", "Content-Length: 2", "Connection: close"]


# start_response and write --------------------------------------------------------------------------------------------


def test_start_response_may_be_late() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("201 Created", [])
        yield b"made"

    response = run(application)
    assert response.head[0] == "HTTP/1.1 201 Created"
    assert response.body.startswith(b"4\r\nmade\r\n")


def silent(result: Iterable[bytes]) -> WSGIApplication:
    """Make an application that does not call start_response."""
    return lambda environ, start_response: result


def test_without_start_response_there_is_500(caplog: pytest.LogCaptureFixture) -> None:
    for result in ([b"x"], [], each(b"x"), each()):
        response = run(silent(result))
        assert response.head[0] == "HTTP/1.1 500 Internal Server Error"
    assert "did not call start_response" in caplog.text


def test_a_second_start_response_needs_exc_info() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    assert run(application).head[0] == "HTTP/1.1 500 Internal Server Error"


def test_exc_info_replaces_a_head_that_has_not_gone_out() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("X-First", "1")])
        try:
            int("no number")
        except ValueError:
            start_response("503 Service Unavailable", [], sys.exc_info())
        return [b"sorry"]

    response = run(application)
    assert response.head == ["HTTP/1.1 503 Service Unavailable", "Content-Length: 5"]
    assert response.keep_alive


def test_exc_info_is_raised_when_the_head_has_gone_out(caplog: pytest.LogCaptureFixture) -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"begun"
        try:
            int("no number")
        except ValueError:
            start_response("503 Service Unavailable", [], sys.exc_info())

    response = run(application)
    assert response.cut
    assert response.body == b"5\r\nbegun\r\n"
    assert "ValueError: invalid literal" in caplog.text


def test_write_goes_out_before_what_is_returned() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Length", "12")])
        assert not transport_of(write).sends
        write(b"")
        assert not transport_of(write).sends
        write(b"hello ")
        assert transport_of(write).body == b"hello "
        return [b"world", b"!"]

    def transport_of(write: Any) -> Recorder:
        recorder: Recorder = write.__self__.responder
        return recorder

    response = run(application)
    assert (response.body, response.sent, response.cut) == (b"hello world!", 12, False)


def test_write_alone_is_chunked() -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])(b"hello")
        return []

    assert run(application).body == b"5\r\nhello\r\n0\r\n\r\n"


# Early hints ---------------------------------------------------------------------------------------------------------


def hinting(*fields: tuple[Any, Any]) -> Recorder:
    """Send hints before the head and behind it, by way of the environ."""

    def application(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        environ["wsgi.early_hints"](list(fields))
        start_response("200 OK", [("Content-Length", "1")])
        yield b"x"
        environ["wsgi.early_hints"](list(fields))

    return run(application)


def test_hints_are_an_interim_response() -> None:
    response = hinting(("Link", "</a>"), ("X-Cafe", "caf\u00e9"))
    assert response.sends[0] == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Cafe: caf\xe9\r\n\r\n"
    assert response.sends[1].startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(response.sends) == 2
    assert (response.keep_alive, response.cut, response.sent) == (True, False, 1)


def test_no_hints_are_nothing_and_http_1_0_gets_none() -> None:
    assert len(hinting().sends) == 1
    response = Recorder(minor=0)
    Exchange(response, {})([("Link", "</a>")])
    assert not response.sends


@pytest.mark.parametrize(
    "field",
    [
        ("X-A", "a\r\nb"), ("X-A", "a\n"), ("X-A", "\0"), ("X A", "a"), ("X-A\r\n", "a"), ("X-A", "\u20ac"), ("", "a"),
        ("X-A", 1), (1, "a"), ("X-A", None), ("Connection", "close"), ("Content-Length", "0"), ("X-A", "\x1b"),
    ],
)  # fmt: skip
def test_hints_that_would_break_something_are_the_applications_error(field: tuple[Any, Any]) -> None:
    response = hinting(field)
    assert response.data.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")


# What the application does wrong -------------------------------------------------------------------------------------


def test_an_exception_before_the_head_is_answered_500(caplog: pytest.LogCaptureFixture) -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        raise LookupError("on purpose")

    response = run(application)
    assert response.head[0] == "HTTP/1.1 500 Internal Server Error"
    assert not response.keep_alive
    assert not response.cut
    assert caplog.text.count("Traceback") == caplog.text.count("LookupError: on purpose") == 1
    assert "method=GET path='/path'" in caplog.text
    assert run(application, method="HEAD").body == b""


def test_sys_exit_concerns_its_request_only() -> None:
    response = run(lambda environ, start_response: sys.exit(1))
    assert response.head[0] == "HTTP/1.1 500 Internal Server Error"


def test_an_exception_behind_the_head_cuts_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"begun"
        raise LookupError("on purpose")

    body = Body(blocks())
    response = run(answering(body))
    assert response.cut
    assert response.body == b"5\r\nbegun\r\n"
    assert caplog.text.count("Traceback") == body.closes == 1


class Blob(bytes):
    """A block with ideas of its own, as numpy's and BSON's are."""

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def __bytes__(self) -> bytes:
        return b"shown"

    def __getitem__(self, _key: object) -> Any:
        return b"shown"

    def __radd__(self, _before: object) -> bytes:
        return b"added"

    __add__ = __radd__


WAYS: list[Any] = [list, tuple, iter, lambda blocks: Prepared(*blocks), lambda blocks: each(*blocks), None]


def written_or_returned(blocks: list[Any], way: Any, fields: list[tuple[str, str]]) -> WSGIApplication:
    """Make an application that returns blocks in a way, or writes them."""

    def application(environ: Environ, start_response: StartResponse) -> Any:
        write = start_response("200 OK", fields)
        if way:
            return way(blocks)
        for block in blocks:
            write(block)
        return []

    return application


@pytest.mark.parametrize("blocks", [[Blob(b"lob")], [Blob(b"l"), b"", b"ob"], [b"lob", Blob()], [b"lob"]])
@pytest.mark.parametrize("fields", [[], [("Content-Length", "3")]])
@pytest.mark.parametrize("way", WAYS)
def test_of_a_subclass_of_bytes_what_it_holds_is_sent(
    blocks: list[bytes], fields: list[tuple[str, str]], way: Any
) -> None:
    response = run(written_or_returned(blocks, way, fields))
    assert response.sent == 3
    assert response.data.partition(b"\r\n\r\n")[2] in (
        b"lob", b"3\r\nlob\r\n0\r\n\r\n", b"1\r\nl\r\n2\r\nob\r\n0\r\n\r\n",
    )  # fmt: skip
    assert all(type(sent) is bytes for sent in response.sends)


NO_BLOCKS: dict[str, list[Any]] = {
    "str": ["text", ""], "NoneType": [None], "int": [7, 0], "bytearray": [bytearray(b"x"), bytearray()],
    "memoryview": [memoryview(b"x"), memoryview(b"")], "list": [[], [b"x"]], "float": [0.0], "bool": [False],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "block"), [(kind, block) for kind in NO_BLOCKS for block in NO_BLOCKS[kind]])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("before", "behind"), [(0, 0), (1, 0), (0, 1), (2, 2)])
def test_what_is_not_bytes_is_answered_500_or_cut_and_its_type_named(
    kind: str, block: Any, way: Any, before: int, behind: int, caplog: pytest.LogCaptureFixture
) -> None:
    """One rule, however many blocks there are, however they come, and whether there is anything in them."""
    blocks = [*[b"a"] * before, block, *[b"z"] * behind]
    response = run(written_or_returned(blocks, way, []))
    if response.head_sent and response.head[0] == "HTTP/1.1 200 OK":
        assert before
        assert response.cut
        assert b"z" not in response.body
        assert not response.body.endswith(b"0\r\n\r\n")
    else:
        assert response.head[0] == "HTTP/1.1 500 Internal Server Error"
    (record,) = caplog.records
    assert record.message.startswith(f"a block of the response is {kind}, not bytes (PEP 3333)")
    assert record.message.endswith(" method=GET path='/path'")
    assert record.exc_info is None


class Broken:
    def __iter__(self) -> Iterator[bytes]:
        raise TypeError("of its own")


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "the application returned NoneType, not an iterable of bytes (PEP 3333)"),
        (7, "the application returned int, not an iterable of bytes (PEP 3333)"),
        (
            b"text",
            "a block of the response is int, not bytes (PEP 3333); bytes that are to be one block belong into a list",
        ),
        ("text", "a block of the response is str, not bytes (PEP 3333)"),
        (Broken(), "application raised"),
    ],
)
def test_what_is_no_iterable_of_bytes_is_answered_500(
    result: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(answering(result)).head[0] == "HTTP/1.1 500 Internal Server Error"
    assert [record.message for record in caplog.records] == [f"{message} method=GET path='/path'"]


# close() -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("blocks", "arguments"),
    [
        ([b"a", b"b"], {}),
        ([], {}),
        ([b"a", b"b"], {"method": "HEAD"}),
        ([b"a", "text"], {}),
        ([b"a", b"b", b"c"], {"gone_after": 0}),
        ([b"a", b"b", b"c"], {"gone_after": 1}),
        ([b"a", b"b"], {"minor": 0}),
    ],
)
def test_close_is_called_exactly_once(blocks: Any, arguments: dict[str, Any]) -> None:
    body = Body(blocks)
    run(answering(body), **arguments)
    assert body.closes == 1


def test_close_is_called_when_start_response_never_was() -> None:
    body = Body([b"a"])
    run(silent(body))
    assert body.closes == 1


def test_nothing_more_is_asked_of_a_body_whose_client_has_gone() -> None:
    body = Body([b"a", b"b", b"c", b"d"])
    response = run(answering(body), gone_after=2)
    assert response.cut
    assert (body.taken, body.closes) == (3, 1)


def test_an_exception_in_close_does_not_harm_a_complete_response(caplog: pytest.LogCaptureFixture) -> None:
    class Unclosable(Body):
        def close(self) -> None:
            super().close()
            raise LookupError("cannot close")

    body = Unclosable([b"a"])
    response = run(answering(body))
    assert response.body == b"1\r\na\r\n0\r\n\r\n"
    assert (body.closes, response.cut) == (1, False)
    assert caplog.text.count("Traceback") == 1


@pytest.mark.parametrize("how", ["from", "from None", "exc_info", "swallowed", "swallowed and returned"])
@pytest.mark.parametrize("gone_after", [0, 2])
def test_what_an_application_makes_of_a_client_that_has_gone_is_no_error(
    how: str, gone_after: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        try:
            while True:
                write(b"x")
        except ClientGone as error:
            if how == "from":
                raise LookupError("hung up") from error
            if how == "from None":
                raise LookupError("hung up") from None
            if how == "exc_info":
                start_response("500 Oh", [], sys.exc_info())
            if how == "swallowed":
                write(b"y")
        return [b"z"]

    response = run(application, gone_after=gone_after)
    assert response.cut
    assert b"z" not in response.data
    levels = [(record.levelname, record.message) for record in caplog.records]
    if how.startswith("from"):
        said = "client gone, the application raised error=LookupError method=GET path='/path'"
        assert levels == [("INFO", said)]
    else:
        assert levels == []


def test_behind_a_piece_that_was_not_sent_nothing_is() -> None:
    """Whatever the application does: what followed would look like the whole response."""

    class Once(Recorder):
        def send(self, data: bytes) -> None:
            if b"lost" in data and not self.looks:
                self.looks = 1
                raise ClientGone("for once")
            super().send(data)

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        write(b"first")
        for _ in range(2):
            with contextlib.suppress(ClientGone):
                write(b"lost")
        return [b"last"]

    response = Once()
    Exchange(response, {}).run(application)
    assert response.cut
    assert response.body == b"5\r\nfirst\r\n"


def test_a_client_that_has_gone_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    for result in ([b"x"], each(b"x")):
        assert run(answering(result), gone_after=0).cut
    assert not caplog.records


# What outlives its request, and what cannot be shown ------------------------------------------------------------------


def test_what_is_kept_of_a_request_that_has_ended_reaches_nobody() -> None:
    kept: list[Any] = []

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        kept.extend([start_response("200 OK", []), environ["wsgi.early_hints"]])
        return [b"x"]

    response = run(application)
    sent = len(response.sends)
    write, hint = kept
    with pytest.raises(RuntimeError, match="after the response has ended"):
        write(b"late")
    hint([("Link", "</late>")])
    assert len(response.sends) == sent


class Unruly:
    """An object that raises whatever is asked of it."""

    def __str__(self) -> str:
        raise LookupError("no text")

    __repr__ = __str__


class UnrulyText(str):
    """A text that cannot be formatted."""

    __slots__ = ()

    def __format__(self, _spec: str) -> str:
        raise LookupError("no format")

    def __repr__(self) -> str:
        raise LookupError("no text")


@pytest.mark.parametrize("name", ["PATH_INFO", "REQUEST_METHOD", "REQUEST_ID"])
@pytest.mark.parametrize("value", [Unruly(), UnrulyText("x"), None, b"\xff", 7])
def test_a_failure_is_logged_whatever_the_application_has_put_into_the_environ(
    name: str, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[name] = value
        raise ValueError("on purpose")

    assert run(application).head[0] == "HTTP/1.1 500 Internal Server Error"
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().startswith("application raised method=")


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), ValueError("on purpose")])
@pytest.mark.parametrize("whole", [True, False])
def test_a_response_is_complete_whatever_its_close_raises(
    error: BaseException, whole: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Result(Body):
        def close(self) -> None:
            raise error

    body = Result([b"hello"]) if whole else Result(each(b"he", b"llo"))
    response = run(answering(body, ("Content-Length", "5")))
    assert (response.body, response.cut, response.keep_alive) == (b"hello", False, True)
    assert caplog.records[0].getMessage().startswith("close() of the response raised")


def test_logging_that_raises_costs_the_line_and_not_the_answer() -> None:
    """``logging.setLogRecordFactory`` is the application's to call."""

    def factory(*_: object, **__: object) -> logging.LogRecord:
        raise LookupError("no record")

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(factory)
    try:

        def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            raise ValueError("on purpose")

        assert run(application).head[0] == "HTTP/1.1 500 Internal Server Error"
    finally:
        logging.setLogRecordFactory(before)


# A connection that the application has taken --------------------------------------------------------------------------


class Taken(Recorder):
    """As ``tunnelling`` leaves a responder whose connection has been taken; see there."""

    def take(self) -> None:
        self.head_sent = self.cut = True
        self.keep_alive = False

    def tunnel_head(self) -> ResponseHead | None:
        return TunnelHead(101) if self.cut else None


def run_tunnel(then: Callable[[StartResponse], Iterable[bytes]]) -> tuple[Taken, Exchange]:
    """Run an application that takes its connection and then does something."""

    def application(_: Environ, start_response: StartResponse) -> Iterable[bytes]:
        responder.take()
        return then(start_response)

    responder = Taken(GET)
    exchange = Exchange(responder, {"REQUEST_METHOD": "GET", "PATH_INFO": "/"})
    exchange.run(application)
    return responder, exchange


def behind_tunnels() -> dict[str, Callable[[StartResponse], Iterable[bytes]]]:
    def answers(start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return iter([b"a", b"b"])

    def generates(start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield b"a"

    def writes(start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])(b"a")
        return []

    return {
        "nothing": lambda _: [],
        "an empty block": lambda _: [b""],
        "blocks": lambda _: [b"a", b"b"],
        "an iterator": lambda _: iter(()),
        "an answer": answers,
        "a generator": generates,
        "writes": writes,
    }


@pytest.mark.parametrize("what", behind_tunnels())
def test_what_is_answered_behind_a_tunnel_is_dropped(what: str, caplog: pytest.LogCaptureFixture) -> None:
    responder, exchange = run_tunnel(behind_tunnels()[what])
    assert responder.sends == []
    assert exchange.head is not None
    assert exchange.head.code == 101
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StopIteration(), False),
        (ConnectionError(), False),
        (BrokenPipeError(errno.EPIPE, "gone"), False),
        (OSError(errno.EBADF, "closed"), False),
        (FileNotFoundError(errno.ENOENT, "a bug"), True),
        (ConnectionRefusedError(errno.ECONNREFUSED, "by a database"), True),
        (TimeoutError("of something else"), True),
        (LookupError("a bug"), True),
        (SystemExit(), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_end_of_a_client_is_no_error_and_a_bug_is(
    error: BaseException, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: StartResponse) -> Iterable[bytes]:
        raise error

    responder, exchange = run_tunnel(fails)
    assert responder.sends == []
    assert exchange.head is not None
    assert exchange.head.code == 101
    assert [record.levelname for record in caplog.records if record.levelname != "DEBUG"] == ["ERROR"] * told
