"""Access lines in JSON and in formats of the user's: what they say, and nothing that a client could forge."""

import json
import os
import re
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from opentelemetry.semconv._incubating.attributes import http_attributes as incubating
from opentelemetry.semconv._incubating.attributes import user_attributes
from opentelemetry.semconv.attributes import (
    client_attributes,
    http_attributes,
    network_attributes,
    server_attributes,
    url_attributes,
    user_agent_attributes,
)

from spawning.logs.formats import make
from spawning.logs.streams import open_file
from spawning.settings import values

DEADLINE = 30.0  # seconds

ENVIRON = {
    "REMOTE_ADDR": "192.0.2.1",
    "REQUEST_METHOD": "GET",
    "RAW_URI": "/a%20b?c=d",
    "PATH_INFO": "/a b",
    "QUERY_STRING": "c=d",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8080",
    "wsgi.url_scheme": "http",
    "HTTP_HOST": "a.example:8080",
    "HTTP_REFERER": "http://a.example/",
    "HTTP_USER_AGENT": "probe/1",
    "CONTENT_TYPE": "text/plain",
}
EVIL = 'x" 200\r\n{"a":1}\n\x1b[31m\x7f\x85\\'

NAMES = {
    str(value)
    for module in (
        client_attributes, http_attributes, network_attributes, server_attributes, url_attributes,
        user_agent_attributes, user_attributes, incubating,
    )
    for value in vars(module).values()
}  # fmt: skip


def lines(
    tmp_path: Path,
    form: str,
    environ: dict[str, Any] | None = ENVIRON,
    begun: bytes = b"",
    code: int = 200,
    sent: int = 5,
    with_ids: bool = False,
    **changes: object,
) -> list[str]:
    """Write one record in a format, and read what was written; `environ` None is a request of which only that came."""
    path = tmp_path / "access.log"
    log = make(form, open_file(str(path)), with_ids=with_ids)
    if environ is None:
        log.record(log.begun_entry("192.0.2.1", begun), {"REMOTE_ADDR": "192.0.2.1"}, code, sent, monotonic())
    else:
        log.record(log.entry(environ), {**environ, **changes}, code, sent, monotonic() - 0.25)
    log.end(DEADLINE)
    text = path.read_bytes().decode("ascii")
    assert text.endswith("\n")
    return text[:-1].split("\n")


def line(tmp_path: Path, form: str, environ: dict[str, Any] | None = ENVIRON, **more: Any) -> str:
    (found,) = lines(tmp_path, form, environ, **more)
    assert found.isprintable()
    return found


# JSON ----------------------------------------------------------------------------------------------------------------


def test_an_object_has_the_names_of_opentelemetry(tmp_path: Path) -> None:
    found = json.loads(line(tmp_path, "json", REMOTE_USER="ann", with_ids=True, REQUEST_ID="7-1"))
    at = datetime.fromisoformat(found.pop("timestamp"))
    assert at.tzinfo is not None
    assert abs(at.timestamp() - datetime.now().timestamp()) < 60
    assert found.pop("http.server.request.duration") >= 0.25
    assert found == {
        "client.address": "192.0.2.1",
        "user.name": "ann",
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/a%20b",
        "url.query": "c=d",
        "network.protocol.version": "1.1",
        "server.address": "a.example",
        "server.port": 8080,
        "http.response.status_code": 200,
        "http.response.body.size": 5,
        "user_agent.original": "probe/1",
        "http.request.header.referer": ["http://a.example/"],
        "spawning.request_id": "7-1",
    }
    names = set(found) - {"spawning.request_id", "http.request.header.referer"}
    assert names <= NAMES
    assert incubating.HTTP_REQUEST_HEADER_TEMPLATE == "http.request.header"


@pytest.mark.parametrize(
    ("environ", "members"),
    [
        ({"REMOTE_ADDR": "", "REQUEST_METHOD": "GET", "RAW_URI": "/"}, {"url.path": "/", "http.request.method": "GET"}),
        ({"REMOTE_ADDR": "::1", "HTTP_HOST": "[::1]:80"}, {"server.address": "[::1]", "server.port": 80}),
        ({"REMOTE_ADDR": "::1", "HTTP_HOST": "a:999999"}, {"server.address": "a"}),
        ({"REMOTE_ADDR": "::1", "RAW_URI": "http://b/c?d"}, {"url.full": "http://b/c?d"}),
        ({"REMOTE_ADDR": "::1", "RAW_URI": "*"}, {"url.path": "*"}),
        ({"REMOTE_ADDR": "::1", "RAW_URI": "/login?next=http://b/"}, {"url.path": "/login", "url.query": "next=http://b/"}),
        ({"REMOTE_ADDR": "::1", "HTTP_USER_AGENT": "Gr\xc3\xbc\xc3\x9fe"}, {"user_agent.original": "Gr\xfc\xdfe"}),
        ({"REMOTE_ADDR": "::1", "HTTP_USER_AGENT": "a\xff"}, {"user_agent.original": "a\\xff"}),
    ],
)  # fmt: skip
def test_an_object_has_what_is_known(tmp_path: Path, environ: dict[str, Any], members: dict[str, object]) -> None:
    found = json.loads(line(tmp_path, "json", environ))
    kept = {name for name in found if name.startswith(("url.", "http.request.", "server.", "user_agent."))}
    assert {name: found[name] for name in kept} == members


def test_a_request_without_a_response_has_no_status(tmp_path: Path) -> None:
    assert "http.response.status_code" not in json.loads(line(tmp_path, "json", code=0))


def test_a_request_that_has_only_begun_is_an_object_too(tmp_path: Path) -> None:
    found = json.loads(line(tmp_path, "json", None, begun=b'GET "\x1b\xff', code=400))
    assert (found["spawning.request_line"], found["http.response.status_code"]) == ('GET "\x1b\\xff', 400)
    assert "spawning.request_line" not in json.loads(lines(tmp_path, "json", None)[1])


@pytest.mark.parametrize("key", ["RAW_URI", "HTTP_HOST", "HTTP_USER_AGENT", "HTTP_REFERER", "REQUEST_METHOD"])
def test_nothing_that_a_client_sends_ends_an_object(tmp_path: Path, key: str) -> None:
    found = json.loads(line(tmp_path, "json", {**ENVIRON, key: EVIL}))
    shown = [*found.values(), *found["http.request.header.referer"]]
    assert any("\x1b[31m" in value for value in shown if isinstance(value, str))
    assert "a" not in found


class Awkward:
    """An object that cannot be shown."""

    def __str__(self) -> str:
        raise LookupError


@pytest.mark.parametrize(
    "value", [EVIL, "\u20ac\ud800", Awkward(), 7, b"x"], ids=["evil", "wide", "awkward", "number", "bytes"]
)
@pytest.mark.parametrize("key", ["REMOTE_USER", "REMOTE_ADDR", "REQUEST_ID"])
@pytest.mark.parametrize("form", ["json", "%({REMOTE_USER}e)s %h %L", "combined"])
def test_what_an_application_has_put_there_ends_no_line(tmp_path: Path, form: str, key: str, value: Any) -> None:
    changes: dict[str, Any] = {key: value}
    assert line(tmp_path, form, with_ids=True, **changes)


# Atoms ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        # gunicorn's default and the words of its documentation
        ('%(h)s %(l)s %(u)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"',
         '192.0.2.1 - ann "GET /a%20b?c=d HTTP/1.1" 200 5 "http://a.example/" "probe/1"'),
        ("%(m)s %(U)s %(q)s %(H)s %(B)s %(p)s", "GET /a b c=d HTTP/1.1 5 <PID>"),
        ("%({Host}i)s %({user-agent}i)s %({X-None}i)s", "a.example:8080 probe/1 -"),
        ("%({REMOTE_USER}e)s %({wsgi.url_scheme}e)s %({none}e)s", "ann http -"),
        # Apache's
        ('%h %l %u "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
         '192.0.2.1 - ann "GET /a%20b?c=d HTTP/1.1" 200 5 "http://a.example/" "probe/1"'),
        ("%a %m %U%q %H %s %B %v:%p %P", "192.0.2.1 GET /a b?c=d HTTP/1.1 200 5 127.0.0.1:8080 PID"),
        ("%{Content-Type}i %L %{%Y}t %% %<s", f"text/plain 7-1 {datetime.now().year} % 200"),
        ("a\t%m", "a\tGET"),
    ],
)  # fmt: skip
def test_a_format_says_what_its_atoms_mean(tmp_path: Path, form: str, wanted: str) -> None:
    (found,) = lines(tmp_path, values.access_log_format(form), REMOTE_USER="ann", REQUEST_ID="7-1")
    assert found == wanted.replace("PID", str(os.getpid()))


@pytest.mark.parametrize(
    ("form", "pattern", "least"),
    [
        ("%(T)s", r"\d+", 0), ("%(M)s", r"\d+", 250), ("%(D)s", r"\d+", 250_000), ("%(L)s", r"\d+\.\d{6}", 0.25),
        ("%T", r"\d+", 0), ("%D", r"\d+", 250_000), ("%{ms}T", r"\d+", 250), ("%{us}T", r"\d+", 250_000),
        ("%{s}T", r"\d+", 0),
    ],
)  # fmt: skip
def test_durations_have_their_units(tmp_path: Path, form: str, pattern: str, least: float) -> None:
    found = line(tmp_path, form)
    assert re.fullmatch(pattern, found)
    assert float(found) >= least


@pytest.mark.parametrize("form", ["%(t)s", "%t"])
def test_the_time_is_apaches(tmp_path: Path, form: str) -> None:
    assert re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", line(tmp_path, form))


def test_nothing_sent_is_a_dash_or_a_zero(tmp_path: Path) -> None:
    assert line(tmp_path, "%(b)s %(B)s %b %B", sent=0) == "- 0 - 0"


def test_atoms_of_a_request_that_has_only_begun_are_dashes(tmp_path: Path) -> None:
    assert line(tmp_path, '%h "%r" %s %m %U%q %{Host}i', None, begun=b"GET \xff", code=400) == (
        '192.0.2.1 "GET \\xff" 400 - - -'
    )


@pytest.mark.parametrize("form", ["%r", "%U", "%q", "%(q)s", "%m", "%{Host}i", "%{Referer}i", "%(a)s", "%(f)s", "%H"])
def test_nothing_that_a_client_sends_ends_a_line(tmp_path: Path, form: str) -> None:
    environ = {key: EVIL if isinstance(value, str) else value for key, value in ENVIRON.items()}
    found = line(tmp_path, form, environ)
    assert "\\x0d\\x0a" in found
    assert not set('"\x1b\x7f') & set(found)


@pytest.mark.parametrize(
    ("form", "named"),
    [
        ("%(z)s", "'%(z)s'"), ("%Z", "'%Z'"), ("%({content-type}o)s", "'%({content-type}o)s'"), ("%{X}o", "'%{X}o'"),
        ("%(h)", "'%(h)'"), ("100%", "'%'"), ("%{ns}T", "'%{ns}T'"), ("%(h)d", "'%(h)d'"), ("% h", "'% h'"),
    ],
)  # fmt: skip
def test_what_is_no_atom_is_named(form: str, named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"look at {named}")):
        values.access_log_format(form)


@pytest.mark.parametrize("form", ["", "jsno", "Combined", "%h\n", "%h\x1b[1m", 7, None])
def test_what_is_no_format_is_refused(form: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        values.access_log_format(form)
