"""The environ: PEP 3333's keys, what is dropped, and that requests with equal fields share nothing else."""

from collections.abc import Iterable
from typing import Any
from wsgiref.util import request_uri
from wsgiref.validate import validator

import pytest

from spawning.errors import ProtocolError
from spawning.http.limits import Limits
from spawning.http.request import RequestReader
from spawning.wsgi.environ import EnvironBase, connection_template, request_environ, set_line
from spawning.wsgi.files import FileWrapper
from spawning.wsgi.forwarded import Trust
from spawning.wsgi.input import BodyBuffer
from unit.exchanges import TEXT, Environ, run

PROXY = "10.0.0.1"
BEHIND_PROXY = EnvironBase(
    server_name="192.0.2.9", server_port="80", multithread=True, multiprocess=False, trust=Trust([PROXY])
)
BASE = EnvironBase(server_name="192.0.2.9", server_port="80", multithread=True, multiprocess=False)
GET = b"GET /a%20b?c HTTP/1.1\r\nHost: a.example\r\n"


def environs(*data: bytes, base: EnvironBase = BASE, peer: str = "192.0.2.1") -> list[Environ]:
    """Build the environs of requests that come one after the other on one connection."""
    source = RequestReader(BodyBuffer, Limits())
    found = []
    for one in data:
        assert source.receive(one)
        template = connection_template(base, source.fields, source.line, peer, "4711")
        found.append(request_environ(template, source.body))
    return found


def environ(fields: bytes = b"", *, base: EnvironBase = BASE, peer: str = "192.0.2.1") -> Environ:
    return environs(GET + fields + b"\r\n", base=base, peer=peer)[0]


def test_every_key_of_pep_3333() -> None:
    found = environ(b"X-A: 1\r\n")
    assert found.pop("wsgi.input").read() == b""
    assert found.pop("wsgi.errors").write
    assert found.pop("wsgi.early_hints") is None  # each exchange puts itself there
    assert found == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "c",
        "RAW_URI": "/a%20b?c",
        "SERVER_NAME": "192.0.2.9",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "spawning",
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_PORT": "4711",
        "HTTP_HOST": "a.example",
        "HTTP_X_A": "1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
    }


def test_an_ipv6_address_as_server_name_has_brackets() -> None:
    base = EnvironBase(server_name="::1", server_port="80", multithread=True, multiprocess=False)
    found = environs(b"GET / HTTP/1.0\r\n\r\n", base=base)[0]
    assert found["SERVER_NAME"] == "[::1]"
    assert request_uri(found) == "http://[::1]/"


def test_repeated_fields_are_joined_as_their_kind_wants() -> None:
    found = environ(b"X-A: 1\r\nCookie: a=b\r\nx-a: 2\r\ncookie: c=d\r\n")
    assert (found["HTTP_X_A"], found["HTTP_COOKIE"]) == ("1, 2", "a=b; c=d")


@pytest.mark.parametrize("field", [b"Proxy: http://b", b"X_A: 1", b"Content_Length: 7", b"Host_: b", b"_: 1"])
def test_fields_that_could_pose_as_others_are_dropped(field: bytes) -> None:
    assert environ(field + b"\r\n").keys() == environ().keys()


FORWARDED = b"X-Forwarded-For: 203.0.113.9\r\nx-forwarded-proto: https\r\nX-Forwarded-User: ann\r\n"


@pytest.mark.parametrize(("base", "peer"), [(BASE, "192.0.2.1"), (BASE, PROXY), (BEHIND_PROXY, "192.0.2.1")])
def test_forwarded_fields_of_a_peer_that_is_not_trusted_are_gone(base: EnvironBase, peer: str) -> None:
    assert environ(FORWARDED + b"Forwarded: =\r\n", base=base, peer=peer).keys() == environ().keys()


def test_those_of_a_trusted_peer_count_and_stay() -> None:
    found = environ(FORWARDED, base=BEHIND_PROXY, peer=PROXY)
    assert (found["REMOTE_ADDR"], found["REMOTE_PORT"], found["wsgi.url_scheme"]) == ("203.0.113.9", "", "https")
    assert (found["HTTP_X_FORWARDED_FOR"], found["HTTP_X_FORWARDED_USER"]) == ("203.0.113.9", "ann")
    assert (found["HTTP_HOST"], found["SERVER_PORT"]) == ("a.example", "443")


def test_a_block_that_came_from_both_counts_for_the_trusted_peer_only() -> None:
    for _ in range(2):
        assert environ(FORWARDED, base=BEHIND_PROXY, peer=PROXY)["REMOTE_ADDR"] == "203.0.113.9"
        assert environ(FORWARDED, base=BEHIND_PROXY)["REMOTE_ADDR"] == "192.0.2.1"


def test_repeated_forwarded_fields_are_one_list_and_names_with_an_underscore_none() -> None:
    fields = b"X-Forwarded-For: 203.0.113.66\r\nx-forwarded-for: 203.0.113.9\r\nX_Forwarded_For: 203.0.113.67\r\n"
    found = environ(fields, base=BEHIND_PROXY, peer=PROXY)
    assert (found["REMOTE_ADDR"], found["HTTP_X_FORWARDED_FOR"]) == ("203.0.113.9", "203.0.113.66, 203.0.113.9")


def test_a_forwarded_host_beats_that_of_an_absolute_target() -> None:
    get = GET.replace(b" /a%20b", b" http://b.example/a") + b"X-Forwarded-Host: c.example\r\n\r\n"
    assert environs(get, base=BEHIND_PROXY, peer=PROXY)[0]["HTTP_HOST"] == "c.example"
    assert environs(get, base=BEHIND_PROXY)[0]["HTTP_HOST"] == "b.example"


def test_a_malformed_one_refuses_the_request_of_a_trusted_peer() -> None:
    with pytest.raises(ProtocolError):
        environ(b"X-Forwarded-For: nobody\r\n", base=BEHIND_PROXY, peer=PROXY)


IDENTIFIED = EnvironBase(
    server_name="192.0.2.9",
    server_port="80",
    multithread=True,
    multiprocess=False,
    trust=Trust([PROXY]),
    request_id_header="X-Request-ID",
)


def test_a_trusted_peer_gives_the_id_of_a_request() -> None:
    found = environ(b"x-request-id: 0a-Z_9\r\n", base=IDENTIFIED, peer=PROXY)
    assert (found["REQUEST_ID"], found["HTTP_X_REQUEST_ID"]) == ("0a-Z_9", "0a-Z_9")


def test_it_may_be_in_a_forwarded_field() -> None:
    base = EnvironBase(
        server_name="a", server_port="80", multithread=True, multiprocess=False, trust=Trust(["*"]),
        request_id_header="X-Forwarded-Id",
    )  # fmt: skip
    assert environ(b"X-Forwarded-Id: one\r\n", base=base)["REQUEST_ID"] == "one"


@pytest.mark.parametrize(
    ("field", "peer"),
    [
        (b"X-Request-ID: one", "192.0.2.1"),
        (b"X-Request-ID:", PROXY),
        (b"X-Request-ID: " + b"x" * 129, PROXY),
        (b"X-Request-ID: a b", PROXY),
        (b'X-Request-ID: a"', PROXY),
        (b"X-Request-ID: \xe9", PROXY),
        (b"X-Request-ID: one\r\nX-Request-ID: two", PROXY),
        (b"X-Other: one", PROXY),
    ],
)
def test_nobody_else_does_and_nothing_unreasonable_is_taken(field: bytes, peer: str) -> None:
    assert "REQUEST_ID" not in environ(field + b"\r\n", base=IDENTIFIED, peer=peer)


def test_the_length_is_that_of_the_body_and_the_coding_is_gone() -> None:
    post = b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Type: text/x\r\n"
    (known,) = environs(post + b"Content-Length: 05\r\n\r\nhello")
    (chunked,) = environs(post + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    for found in (known, chunked):
        assert (found["CONTENT_LENGTH"], found["CONTENT_TYPE"]) == ("5", "text/x")
        assert found["wsgi.input"].read() == b"hello"
        assert not {"HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_TRANSFER_ENCODING"} & found.keys()


def test_the_host_of_an_absolute_target_beats_the_field_for_that_request_only() -> None:
    absolute = GET.replace(b" /a%20b", b" http://b.example/a")
    first, second, third = environs(GET + b"\r\n", absolute + b"\r\n", GET + b"\r\n")
    assert [found["HTTP_HOST"] for found in (first, second, third)] == ["a.example", "b.example", "a.example"]


def test_a_template_takes_another_request_line() -> None:
    source = RequestReader(BodyBuffer, Limits())
    assert source.receive(GET + b"\r\n")
    template = connection_template(BASE, source.fields, source.line, "192.0.2.1", "4711")
    before = request_environ(template, None)
    assert source.receive(b"DELETE /d HTTP/1.1\r\nHost: a.example\r\n\r\n")
    set_line(template, source.line)
    after = request_environ(template, None)
    keys = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "RAW_URI")
    assert [before[key] for key in keys] == ["GET", "/a b", "c", "/a%20b?c"]
    assert [after[key] for key in keys] == ["DELETE", "/d", "", "/d"]


def test_what_an_application_does_to_its_environ_is_not_seen_by_the_next() -> None:
    first = environ(b"X-A: 1\r\n")
    first.clear()
    assert environ(b"X-A: 1\r\n")["HTTP_X_A"] == "1"


def validated(environ: Environ, start_response: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read(-1) + environ["wsgi.input"].readline()
    environ["wsgi.errors"].flush()
    start_response("200 OK", [TEXT, ("Content-Length", str(len(body)))])
    return [body]


@pytest.mark.parametrize(
    "data",
    [
        b"GET /path?query HTTP/1.1\r\nHost: a.example\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"OPTIONS /x HTTP/1.0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n",
    ],
)
def test_what_the_application_gets_passes_wsgiref_validate(data: bytes) -> None:
    (of,) = environs(data)
    response = run(validator(validated), of=of)
    assert response.head[0] == "HTTP/1.1 200 OK", response.data
    assert not response.cut
